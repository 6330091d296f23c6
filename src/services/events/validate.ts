import type { Config } from "../../config/config.ts";
import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { canonicalJson, canonicalProblem, isJsonInteger } from "../../protocol/canonical-json.ts";
import { badJson, invalidParam, MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { byteLimitProblem, MAX_PDU_BYTES } from "../../protocol/event/format.ts";
import { MAX_ID_BYTES } from "../../protocol/ids.ts";
import { ServerAcl } from "../../protocol/server-acl.ts";

/** Checks of what local clients send, stricter than what is accepted from other servers; the same as Synapse's, with its error codes. */
const bad = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);
const tooLarge = (message: string): MatrixError => new MatrixError(413, "M_TOO_LARGE", message);

const MEMBERSHIPS = new Set(["invite", "join", "knock", "leave", "ban"]);

/** @throws MatrixError 400 or 413 */
export function validateNewEvent(config: Pick<Config, "server">, event: MatrixEvent): void {
  for (const text of [event.type, event.stateKey ?? "", event.redacts ?? ""]) {
    if (text.includes("\u0000")) throw bad("Event type, state key and redacted event must not contain NUL characters"); // Postgres cannot hold them (risk 47)
  }
  checkType(event);
  if (event.roomVersion.strictCanonicalJson) {
    const problem = canonicalProblem(event.json);
    if (problem !== undefined) throw badJson(problem);
  }
  checkByType(config, event);
  if (event.content["m.mentions"] !== undefined) checkMentions(event.content["m.mentions"]);
}

/** The limits of the specification, "Size limits". `text`: the event as stored, which is never shorter than its canonical form. */
export function checkSize(event: MatrixEvent, text: string): void {
  const problem = byteLimitProblem(event.json) ?? (Buffer.byteLength(event.roomId) > MAX_ID_BYTES ? "'room_id' too large" : undefined);
  if (problem !== undefined) throw tooLarge(problem);
  if (text.length > MAX_PDU_BYTES && Buffer.byteLength(canonicalJson(event.json)) > MAX_PDU_BYTES) throw tooLarge("event too large");
}

function checkType(event: MatrixEvent): void {
  const { content } = event;
  switch (event.type) {
    case "m.room.message":
      return requireStrings(content, ["body", "msgtype"]);
    case "m.room.topic":
      requireStrings(content, ["topic"]);
      return requireState(event);
    case "m.room.name":
      requireStrings(content, ["name"]);
      return requireState(event);
    case "m.room.member":
      if (content.membership === undefined) throw bad("Content has not membership key");
      if (typeof content.membership !== "string" || !MEMBERSHIPS.has(content.membership)) throw bad("Invalid membership key");
      return requireState(event);
    case "m.room.tombstone":
      if (content.replacement_room === undefined) throw bad("Content has no replacement_room key");
      if (content.replacement_room === event.roomId) throw bad("Tombstone cannot reference the room it was sent in");
      return requireState(event);
  }
}

function requireStrings(content: JsonObject, keys: readonly string[]): void {
  for (const key of keys) {
    if (content[key] === undefined) throw bad(`'${key}' not in content`);
    if (typeof content[key] !== "string") throw bad(`'${key}' not a string type`);
  }
}

function requireState(event: MatrixEvent): void {
  if (event.stateKey === undefined) throw bad(`'${event.type}' must be state events`);
}

function checkByType(config: Pick<Config, "server">, event: MatrixEvent): void {
  switch (event.type) {
    case "m.room.aliases":
      return checkAliasLengths(event.content.aliases);
    case "m.room.retention":
      return checkRetention(event);
    case "m.room.server_acl":
      if (!new ServerAcl(event.content).allows(config.server.serverName)) throw bad("Can't create an ACL event that denies the local server");
      return;
    case "m.room.power_levels":
      return checkPowerLevels(event.content);
  }
}

function checkAliasLengths(aliases: Json | undefined): void {
  if (aliases === undefined) return;
  if (!Array.isArray(aliases)) throw bad("aliases must be a list");
  for (const alias of aliases) {
    if (typeof alias !== "string") throw bad("aliases must be strings");
    if (alias.length > MAX_ID_BYTES) throw invalidParam(`Can't create aliases longer than ${MAX_ID_BYTES} characters`);
  }
}

function checkRetention(event: MatrixEvent): void {
  if (event.stateKey === undefined) throw bad("must be a state event");
  const { min_lifetime: min, max_lifetime: max } = event.content;
  for (const [name, value] of [
    ["min_lifetime", min],
    ["max_lifetime", max],
  ] as const) {
    if (value !== undefined && value !== null && !isJsonInteger(value)) throw badJson(`'${name}' must be an integer`);
  }
  if (min !== undefined && min !== null && max !== undefined && max !== null && (min as number) > (max as number))
    throw badJson("'min_lifetime' can't be greater than 'max_lifetime");
}

const LEVELS = ["ban", "events_default", "invite", "kick", "redact", "state_default", "users_default"];
const LEVEL_MAPS = ["events", "notifications", "users"];

function checkPowerLevels(content: JsonObject): void {
  for (const key of LEVELS) if (content[key] !== undefined) checkLevel(key, content[key]);
  for (const key of LEVEL_MAPS) {
    const map = content[key];
    if (map === undefined) continue;
    if (!isJsonObject(map)) throw badJson(`"${key}": must be an object`);
    for (const [name, level] of Object.entries(map)) checkLevel(name, level!);
  }
}

function checkLevel(key: string, value: Json): void {
  if (!isJsonInteger(value)) throw badJson(`"${key}": must be an integer`);
  if (canonicalProblem(value) !== undefined) throw badJson(`"${key}": is out of range`);
}

function checkMentions(mentions: Json): void {
  if (!isJsonObject(mentions)) throw badJson("m.mentions must be an object");
  const { user_ids: userIds, room } = mentions;
  if (userIds !== undefined && (!Array.isArray(userIds) || !userIds.every((id) => typeof id === "string")))
    throw badJson('"user_ids": must be a list of strings');
  if (room !== undefined && typeof room !== "boolean") throw badJson('"room": must be a boolean');
}
