import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { canonicalJson, canonicalProblem, isJsonInteger } from "../canonical-json.ts";
import { MAX_ID_BYTES, byteLengthWithin, parseUserId } from "../ids.ts";
import { roomVersion, type RoomVersion } from "../room-versions.ts";
import { MatrixEvent, type InternalMetadata } from "./event.ts";
import { eventIdOf } from "./hash.ts";

/** Bytes of canonical JSON that a PDU may have, signatures included (client-server API, "Size limits"). */
export const MAX_PDU_BYTES = 65_536;
/** The greatest depth there is; this server never builds a greater one. */
export const MAX_DEPTH = 9_223_372_036_854_775_807n;
const MAX_PREV_EVENTS = 20;
const MAX_AUTH_EVENTS = 10;

export type ParsedPdu = { readonly event: MatrixEvent; readonly problem?: undefined } | { readonly event?: undefined; readonly problem: string };

/**
 * The event of a PDU as another server sent it, or why it must be dropped. Checks the format of its room version and the limits
 * that every server enforces, no signature and no hash. Of `unsigned` only `age` (turned into `age_ts` when the time of receipt
 * is given) and, in memberships, the stripped state are kept: the rest is nothing another server has a say in.
 */
export function parsePdu(pdu: Json, version: RoomVersion, receivedAt?: number): ParsedPdu {
  if (!isJsonObject(pdu)) return { problem: "PDU is not an object" };
  const problem = formatProblem(pdu, version);
  if (problem !== undefined) return { problem };
  const json = pdu.unsigned === undefined ? pdu : { ...pdu, unsigned: allowedUnsigned(pdu, receivedAt) };
  try {
    if (Buffer.byteLength(canonicalJson(json)) > MAX_PDU_BYTES) return { problem: "event too large" };
    return { event: makeEventFromJson(json, version) };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

/**
 * The event of a PDU, its id computed from it (read from it in room versions 1 and 2). For PDUs from elsewhere use `parsePdu`.
 * @throws CanonicalJsonError when it has no canonical form
 */
export function makeEventFromJson(json: JsonObject, version: RoomVersion, internal?: InternalMetadata): MatrixEvent {
  return new MatrixEvent(json, version, eventIdOf(json, version), internal);
}

function allowedUnsigned(pdu: JsonObject, receivedAt: number | undefined): JsonObject {
  const out: JsonObject = {};
  if (!isJsonObject(pdu.unsigned)) return out;
  const { age, invite_room_state, knock_room_state } = pdu.unsigned;
  if (typeof age === "number" && Number.isSafeInteger(age) && receivedAt !== undefined) out.age_ts = receivedAt - age;
  if (pdu.type === "m.room.member") {
    if (invite_room_state !== undefined) out.invite_room_state = invite_room_state;
    if (knock_room_state !== undefined) out.knock_room_state = knock_room_state;
  }
  return out;
}

/** Why a PDU does not have the format of its room version; undefined when it has. Never stricter than the specification. */
export function formatProblem(pdu: JsonObject, version: RoomVersion): string | undefined {
  if (version.strictCanonicalJson) {
    const problem = canonicalProblem(pdu);
    if (problem !== undefined) return problem;
  }
  if (typeof pdu.type !== "string") return "'type' is not a string";
  if (typeof pdu.sender !== "string" || parseUserId(pdu.sender) === undefined) return "'sender' is not a user ID";
  if (pdu.state_key !== undefined && typeof pdu.state_key !== "string") return "'state_key' is not a string";
  if (!isJsonObject(pdu.content)) return "'content' is not an object";
  if (!isJsonInteger(pdu.depth) || pdu.depth < 0 || pdu.depth > MAX_DEPTH) return "'depth' is not an integer from 0 to 2^63-1";
  if (!isJsonInteger(pdu.origin_server_ts)) return "'origin_server_ts' is not an integer";
  if (!isJsonObject(pdu.hashes)) return "'hashes' is not an object";
  if (pdu.signatures !== undefined && !isJsonObject(pdu.signatures)) return "'signatures' is not an object";
  return referencesProblem(pdu, version) ?? idsProblem(pdu, version) ?? fieldLimitProblem(pdu, codePointsWithin);
}

function referencesProblem(pdu: JsonObject, version: RoomVersion): string | undefined {
  const isReference = version.eventFormat === 1 ? isHashedReference : (item: Json): boolean => typeof item === "string";
  const lists: [name: string, most: number][] = [["prev_events", MAX_PREV_EVENTS]];
  if (version.stateDag) {
    if (pdu.auth_events !== undefined) return "'auth_events' must not be there";
    lists.push(["prev_state_events", MAX_PREV_EVENTS]);
  } else {
    lists.push(["auth_events", MAX_AUTH_EVENTS]);
  }
  for (const [name, most] of lists) {
    const list = pdu[name];
    if (!Array.isArray(list) || !list.every(isReference)) return `'${name}' is not a list of event references`;
    if (list.length > most) return `Too many ${name}`;
  }
  return undefined;
}

/** Room versions 1 and 2: `[event id, {algorithm: hash}]`. */
function isHashedReference(item: Json): boolean {
  return Array.isArray(item) && item.length === 2 && typeof item[0] === "string" && isJsonObject(item[1]);
}

function idsProblem(pdu: JsonObject, version: RoomVersion): string | undefined {
  if (version.eventFormat === 1) {
    if (typeof pdu.event_id !== "string") return "'event_id' is not a string";
  } else if (pdu.event_id !== undefined) {
    return "'event_id' must not be there";
  }
  if (version.roomIdIsCreateHash && pdu.type === "m.room.create" && pdu.state_key === "") {
    return pdu.room_id === undefined ? undefined : "a create event must not have a room ID";
  }
  if (typeof pdu.room_id !== "string") return "'room_id' is not a string";
  if (!version.roomIdIsCreateHash) return undefined;
  if (pdu.room_id[0] !== "!") return "'room_id' does not begin with '!'";
  // v12: the room id names the create event, so that auth_events need not and must not.
  const create = "$" + pdu.room_id.slice(1);
  return Array.isArray(pdu.auth_events) && pdu.auth_events.includes(create) ? "auth_events must not contain the create event" : undefined;
}

/**
 * Which field is over 255 bytes of UTF-8. Room versions with `strictByteLimits` drop such events; in older ones servers have
 * accepted them when they were within 255 code points (`formatProblem` sees to that), so there they are stored as rejected.
 */
export function byteLimitProblem(json: JsonObject): string | undefined {
  return fieldLimitProblem(json, byteLengthWithin);
}

function fieldLimitProblem(json: JsonObject, within: (text: string, limit: number) => boolean): string | undefined {
  for (const key of ["sender", "room_id", "state_key", "type", "event_id"]) {
    const value = json[key];
    if (typeof value === "string" && !within(value, MAX_ID_BYTES)) return `'${key}' too large`;
  }
  return undefined;
}

function codePointsWithin(text: string, limit: number): boolean {
  if (text.length <= limit) return true;
  if (text.length > 2 * limit) return false;
  let count = 0;
  for (const _ of text) count++;
  return count <= limit;
}

/** A row of `event_json` joined with what the reader selects of `events` and `rooms`. */
export interface StoredEventRow {
  readonly event_id: string;
  /** Parsed text of the columns. */
  readonly json: Json;
  readonly internal_metadata: Json;
  /** NULL in very old rows: room version 1 or 2. */
  readonly format_version: number | null;
  /** `rooms.room_version`; null when the room is unknown or from before the column. */
  readonly room_version: string | null;
  /** Position in the stream; a number, or the text or bigint that the driver makes of a bigint column. */
  readonly stream_ordering?: number | bigint | string | null;
  readonly outlier?: boolean | null;
  /** `rejections.reason`. */
  readonly rejection_reason?: string | null;
}

/**
 * The event of a stored row. Undefined when it cannot be read: not an object, an unknown room version, or a format other than
 * that of its room; Synapse skips such rows too. The stored id is trusted.
 */
export function parseStoredEvent(row: StoredEventRow): MatrixEvent | undefined {
  if (!isJsonObject(row.json)) return undefined;
  const version = storedVersion(row, row.json);
  if (version === undefined || version.eventFormat !== (row.format_version ?? 1)) return undefined;
  const event = new MatrixEvent(row.json, version, row.event_id, isJsonObject(row.internal_metadata) ? (row.internal_metadata as InternalMetadata) : {});
  if (row.stream_ordering !== undefined && row.stream_ordering !== null) event.streamOrdering = Number(row.stream_ordering);
  event.outlier = row.outlier ?? false;
  event.rejectedReason = row.rejection_reason ?? undefined;
  return event;
}

function storedVersion(row: StoredEventRow, json: JsonObject): RoomVersion | undefined {
  if (row.room_version !== null && row.room_version !== "") return roomVersion(row.room_version);
  // Invites from before rooms had a version here: the format tells enough. The create event always says it.
  if (json.type === "m.room.create" && isJsonObject(json.content) && row.format_version !== null) {
    const stated = json.content.room_version ?? "1";
    return typeof stated === "string" ? roomVersion(stated) : undefined;
  }
  return roomVersion({ 1: "1", 2: "3", 3: "5", 4: "12", 5: "org.matrix.msc4242.12" }[row.format_version ?? 1] ?? "");
}
