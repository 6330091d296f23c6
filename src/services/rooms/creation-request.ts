import type { RoomPreset } from "../../config/sections/room.ts";
import { isJsonObject, type Json, type JsonObject, stringify } from "../../lib/json.ts";
import { badJson, MatrixError } from "../../protocol/errors.ts";
import { byteLengthWithin, isUserId, MAX_ID_BYTES } from "../../protocol/ids.ts";
import { roomVersion, type RoomVersion, SUPPORTED_ROOM_VERSIONS } from "../../protocol/room-versions.ts";
import type { Context } from "../context.ts";
import { isPreset } from "./presets.ts";

/** A /createRoom body, read and checked. */
export interface CreationRequest {
  readonly version: RoomVersion;
  readonly preset: RoomPreset;
  readonly isPublic: boolean;
  readonly aliasLocalpart: string | undefined;
  readonly name: Json | undefined;
  readonly topic: Json | undefined;
  readonly invite: readonly string[];
  readonly inviteThreepids: readonly ThreepidInvite[];
  readonly creationContent: JsonObject;
  /** In order; of two entries with the same key the later one counts, in the place of the first. */
  readonly initialState: ReadonlyMap<string, InitialState>;
  readonly powerLevels: JsonObject | undefined;
  readonly isDirect: Json | undefined;
  readonly inviteReason: string | undefined;
}

export interface InitialState {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

export interface ThreepidInvite {
  readonly medium: string;
  readonly address: string;
  readonly idServer: string;
  readonly idAccessToken: string;
}

const bad = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);

/** @throws MatrixError 400 */
export function parseCreation(ctx: Pick<Context, "config">, creator: string, body: JsonObject): CreationRequest {
  const inviteThreepids = parseThreepids(body.invite_3pid);
  const version = parseVersion(ctx, body.room_version);
  const aliasLocalpart = parseAlias(body.room_alias_name);
  const invite = parseInvites(body.invite);
  const powerLevels = parsePowerLevels(body.power_level_content_override, version, creator);
  const visibility = body.visibility ?? "private";
  const preset = body.preset ?? (visibility === "private" ? "private_chat" : "public_chat");
  if (!isPreset(preset)) throw badJson(`'${String(preset)}' is not a valid preset`);
  const creationContent = body.creation_content ?? {};
  if (!isJsonObject(creationContent)) throw badJson("creation_content must be an object");
  const reason = ctx.config.experimental.msc4491Enabled ? body["uk.timedout.msc4491.invite_reason"] : undefined;
  return {
    version,
    preset,
    isPublic: visibility === "public",
    aliasLocalpart,
    name: body.name,
    topic: body.topic,
    invite,
    inviteThreepids,
    creationContent,
    initialState: parseInitialState(body.initial_state),
    powerLevels,
    isDirect: body.is_direct,
    inviteReason: typeof reason === "string" && reason !== "" ? reason : undefined,
  };
}

/** A version that this server makes rooms of. @throws MatrixError 400 M_UNSUPPORTED_ROOM_VERSION */
export function parseVersion(ctx: Pick<Context, "config">, id: Json | undefined): RoomVersion {
  const wanted = id ?? ctx.config.server.defaultRoomVersion;
  if (typeof wanted !== "string") throw badJson("room_version must be a string");
  const { msc1767Enabled, msc4242Enabled } = ctx.config.experimental;
  const offered =
    SUPPORTED_ROOM_VERSIONS.includes(wanted) ||
    (msc1767Enabled && wanted === "org.matrix.msc1767.10") ||
    (msc4242Enabled && wanted === "org.matrix.msc4242.12");
  const version = offered ? roomVersion(wanted) : undefined;
  if (version === undefined) throw new MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "Your homeserver does not support this room version");
  return version;
}

/** `additional_creators` (room version 12). @throws MatrixError 400 */
export function parseCreators(value: Json): string[] {
  if (!Array.isArray(value)) throw badCreators("additional_creators must be an array");
  return value.map((entry) => {
    if (typeof entry !== "string") throw badCreators("entry in additional_creators is not a string");
    if (!byteLengthWithin(entry, MAX_ID_BYTES)) throw badCreators("entry in additional_creators too long");
    if (!isUserId(entry)) throw badCreators("entry in additional_creators is not a valid user ID");
    return entry;
  });
}
const badCreators = (message: string): MatrixError => new MatrixError(400, "M_FORBIDDEN", message);

function parseAlias(value: Json | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw badJson("room_alias_name must be a string");
  if (/[ \t\n\r\v\f\0]/.test(value)) throw bad("Invalid characters in room alias");
  if (value.includes(":")) {
    throw bad("':' is not permitted in the room alias name. Please note this expects a local part — 'wombat', not '#wombat:example.com'.");
  }
  return value;
}

function parseInvites(value: Json | undefined): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw badJson("invite must be a list");
  for (const userId of value) if (!isUserId(userId)) throw bad(`Invalid user_id: ${typeof userId === "string" ? userId : stringify(userId)}`);
  return [...new Set(value as string[])];
}

function parseThreepids(value: Json | undefined): ThreepidInvite[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw badJson("invite_3pid must be a list");
  return value.map((entry) => {
    const { medium, address, id_server: idServer, id_access_token: idAccessToken } = isJsonObject(entry) ? entry : {};
    if (typeof medium !== "string" || typeof address !== "string" || typeof idServer !== "string" || typeof idAccessToken !== "string") {
      throw new MatrixError(400, "M_MISSING_PARAM", "all of `medium`, `address`, `id_server` and `id_access_token` are required when making a 3pid invite");
    }
    return { medium, address, idServer, idAccessToken };
  });
}

function parsePowerLevels(value: Json | undefined, version: RoomVersion, creator: string): JsonObject | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isJsonObject(value)) throw badJson("power_level_content_override must be an object");
  if (!version.creatorsHavePower && isJsonObject(value.users) && !Object.hasOwn(value.users, creator)) {
    throw bad(`Not a valid power_level_content_override: 'users' did not contain ${creator}`);
  }
  return value;
}

function parseInitialState(value: Json | undefined): Map<string, InitialState> {
  const state = new Map<string, InitialState>();
  if (value === undefined) return state;
  if (!Array.isArray(value)) throw badJson("initial_state must be a list");
  for (const entry of value) {
    if (!isJsonObject(entry)) throw badJson("Entries of initial_state must be objects");
    const { type, state_key: stateKey = "", content } = entry;
    if (typeof type !== "string" || typeof stateKey !== "string" || !isJsonObject(content))
      throw badJson("Entries of initial_state need a type, a content and a string as state key");
    state.set(`${type}\0${stateKey}`, { type, stateKey, content });
  }
  return state;
}
