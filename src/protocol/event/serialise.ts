import { isJsonObject, JsonText, stringify, stringifyAscii, type Json, type JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "./event.ts";

/**
 * `client`: as /sync, /messages and the rest of the client-server API show events; `client-without-room`: the same within a room
 * of /sync; `client-v1`: the form of the old /events and /initialSync, which repeats parts of `unsigned` at top level;
 * `federation`: the PDU.
 */
export type EventFormat = "client" | "client-without-room" | "client-v1" | "federation";

/** Who asks: decides whether `transaction_id` and `delay_id` are shown. */
export interface EventReader {
  readonly userId: string;
  readonly deviceId?: string | undefined;
  readonly accessTokenId?: number | undefined;
  readonly isGuest?: boolean | undefined;
  readonly isAppService?: boolean | undefined;
}

export interface ClientEventOptions {
  /** Milliseconds since the epoch, for `age`. */
  readonly now: number;
  readonly format?: EventFormat;
  readonly reader?: EventReader;
  /** The reader's membership when the event was sent (MSC4115). */
  readonly membership?: string | undefined;
  /** `prev_content` and `prev_sender` of a state event, or what modules add; never replaces what the event has itself. */
  readonly unsigned?: JsonObject | undefined;
  /** Bundled aggregations by relation type, already in client format. */
  readonly relations?: JsonObject | undefined;
  /** `event_fields` of a filter, split by `parseEventFields`; all fields when empty. */
  readonly fields?: readonly (readonly string[])[] | undefined;
  /** Keeps `invite_room_state` and `knock_room_state`. */
  readonly strippedState?: boolean;
  /** Adds what only server admins see. */
  readonly adminMetadata?: boolean;
  /** Adds the remaining time of sticky events (MSC4354). */
  readonly stickyEvents?: boolean;
  /** Id of the redaction where `event.redactedBecause` is not loaded. */
  readonly redactedBy?: string | undefined;
}

const NOT_FOR_CLIENTS: ReadonlySet<string> = new Set(["auth_events", "prev_events", "hashes", "signatures", "depth", "origin", "prev_state"]);
const V1_COPIES = ["age", "redacted_because", "replaces_state", "prev_content", "invite_room_state", "knock_room_state"];
const STICKY_LIMIT_MS = 3_600_000;

/** The event as the client-server API shows it to one reader. The event is not changed; nested values are shared with it. */
export function clientEvent(event: MatrixEvent, options: ClientEventOptions): JsonObject {
  const out = withoutUnsigned(event, options.format ?? "client");
  const unsigned = clientUnsigned(event, options);
  out.unsigned = unsigned;
  if (options.format === "client-v1") addV1Copies(out, event, unsigned);
  if (options.fields !== undefined && options.fields.length > 0) return onlyFields(out, options);
  if (options.relations !== undefined) unsigned["m.relations"] = options.relations;
  return out;
}

function addV1Copies(out: JsonObject, event: MatrixEvent, unsigned: JsonObject): void {
  out.user_id = event.sender;
  for (const key of V1_COPIES) if (unsigned[key] !== undefined) out[key] = unsigned[key];
}

/**
 * `clientEvent` as text. All but `unsigned` is serialised once for each event and format and shared by all readers; use this
 * where an event goes to many.
 */
export function clientEventText(event: MatrixEvent, options: ClientEventOptions): JsonText {
  const format = options.format ?? "client";
  if (format === "client-v1" || (options.fields !== undefined && options.fields.length > 0)) return new JsonText(stringify(clientEvent(event, options)));
  const unsigned = clientUnsigned(event, options);
  if (options.relations !== undefined) unsigned["m.relations"] = options.relations;
  const texts = (event.sharedText ??= {});
  const shared = (texts[format] ??= stringify(withoutUnsigned(event, format)).slice(0, -1));
  return new JsonText(`${shared},"unsigned":${stringify(unsigned)}}`);
}

function withoutUnsigned(event: MatrixEvent, format: EventFormat): JsonObject {
  const out: JsonObject = {};
  for (const key of Object.keys(event.json)) {
    if (key === "unsigned" || (format !== "federation" && NOT_FOR_CLIENTS.has(key))) continue;
    out[key] = event.json[key];
  }
  out.event_id = event.eventId;
  if (format === "client-without-room") delete out.room_id;
  // v12: the create event has no room_id of its own, clients are told it always.
  if (event.type === "m.room.create" && event.roomVersion.roomIdIsCreateHash) out.room_id = event.roomId;
  if (event.redacts !== undefined) {
    // Clients may look in either place, whatever the room version.
    if (event.roomVersion.redactsInContent) out.redacts = event.redacts;
    else out.content = { ...event.content, redacts: event.redacts };
  }
  return out;
}

function clientUnsigned(event: MatrixEvent, options: ClientEventOptions): JsonObject {
  const out = ownUnsigned(event, options);
  if (options.membership !== undefined) out.membership = options.membership;
  const because = event.redactedBecause;
  const redactedBy = because?.eventId ?? options.redactedBy;
  if (redactedBy !== undefined) out.redacted_by = redactedBy;
  // The redaction goes without its own redaction: two may redact each other.
  if (because !== undefined) {
    const shown: JsonObject = { ...withoutUnsigned(because, options.format ?? "client"), unsigned: ownUnsigned(because, options) };
    if (options.format === "client-v1") addV1Copies(shown, because, shown.unsigned as JsonObject);
    out.redacted_because = shown;
  }
  for (const key of Object.keys(options.unsigned ?? {})) if (out[key] === undefined) out[key] = options.unsigned![key];
  return out;
}

/** What follows from the event, the time and the reader. */
function ownUnsigned(event: MatrixEvent, options: ClientEventOptions): JsonObject {
  const { now, reader } = options;
  const internal = event.internal;
  const out: JsonObject = { ...event.unsigned };
  if (typeof out.age_ts === "number") {
    out.age = now - out.age_ts;
    delete out.age_ts;
  }
  if (!options.strippedState) {
    delete out.invite_room_state;
    delete out.knock_room_state;
  }
  if (reader !== undefined && reader.userId === event.sender) {
    if (internal.txn_id !== undefined && isSameSession(event, reader)) out.transaction_id = internal.txn_id;
    if (internal.delay_id !== undefined) out["org.matrix.msc4140.delay_id"] = internal.delay_id;
  }
  if (options.adminMetadata) {
    if (internal.soft_failed) out["io.element.synapse.soft_failed"] = true;
    if (internal.policy_server_spammy) out["io.element.synapse.policy_server_spammy"] = true;
  }
  if (options.stickyEvents) {
    const left = stickyUntil(event, now) - now;
    if (left > 0) out.msc4354_sticky_duration_ttl_ms = left;
  }
  return out;
}

/** The session that sent an event is known by its device; where none is stored, by the access token, or is taken for granted. */
function isSameSession(event: MatrixEvent, reader: EventReader): boolean {
  if (event.internal.device_id !== undefined) return event.internal.device_id === reader.deviceId;
  const token = event.internal.token_id;
  return (token !== undefined && token === reader.accessTokenId) || reader.isGuest === true || reader.isAppService === true;
}

/** Milliseconds since the epoch until which an event is sticky (MSC4354); 0 when it never was. */
export function stickyUntil(event: MatrixEvent, now: number): number {
  const sticky = event.json.msc4354_sticky;
  const duration = isJsonObject(sticky) ? sticky.duration_ms : undefined;
  if (typeof duration !== "number" || !Number.isSafeInteger(duration) || duration < 0) return 0;
  return Math.min(event.originServerTs, now) + Math.min(duration, STICKY_LIMIT_MS);
}

/** Aggregations are given whatever the fields that were asked for. */
function onlyFields(full: JsonObject, options: ClientEventOptions): JsonObject {
  const out = pickFields(full, options.fields!);
  if (options.relations !== undefined) out.unsigned = { ...(isJsonObject(out.unsigned) ? out.unsigned : {}), "m.relations": options.relations };
  return out;
}

/** Paths of `event_fields`: split at dots, `\.` and `\\` standing for the characters (client-server API, "Filtering"). */
export function parseEventFields(fields: readonly string[]): string[][] {
  return fields.map((field) => {
    const path: string[] = [];
    let part = "";
    for (let i = 0; i < field.length; i++) {
      const char = field[i]!;
      const next = field[i + 1];
      if (char === "\\" && (next === "." || next === "\\")) {
        part += next;
        i++;
      } else if (char === ".") {
        path.push(part);
        part = "";
      } else {
        part += char;
      }
    }
    return [...path, part];
  });
}

/** A copy with only those paths; paths that are not there are passed over. */
export function pickFields(object: JsonObject, fields: readonly (readonly string[])[]): JsonObject {
  const out: JsonObject = {};
  for (const path of fields) copyField(object, out, path);
  return out;
}

function copyField(from: JsonObject, to: JsonObject, path: readonly string[]): void {
  let source: Json | undefined = from;
  for (const key of path) {
    // Assigning this key would set a prototype; no event has a use for it.
    if (!isJsonObject(source) || !Object.hasOwn(source, key) || key === "__proto__") return;
    source = source[key];
  }
  if (source === undefined) return;
  let target = to;
  for (const key of path.slice(0, -1)) {
    const inner: Json | undefined = Object.hasOwn(target, key) ? target[key] : undefined;
    // A copy: what is there may be shared with the event.
    target = target[key] = isJsonObject(inner) ? { ...inner } : {};
  }
  target[path.at(-1)!] = source;
}

/** The PDU as it goes to other servers at that time: `age_ts` becomes `age`; our own `replaces_state` and the like stay, as Synapse sends them. */
export function federationPdu(event: MatrixEvent, now: number): JsonObject {
  if (event.json.unsigned === undefined) return event.json;
  const { redacted_because: _because, age_ts, ...unsigned } = event.unsigned;
  if (typeof age_ts === "number") unsigned.age = now - age_ts;
  return { ...event.json, unsigned };
}

/** A PDU that another server is to complete and sign (make_join and its like). */
export function templatePdu(json: JsonObject): JsonObject {
  const { signatures: _signatures, hashes: _hashes, unsigned: _unsigned, ...template } = json;
  return template;
}

/** Text for `event_json.json`. */
export const storedEventJson = (event: MatrixEvent): string => stringifyAscii(event.json);

/** Text for `event_json.internal_metadata`. */
export const storedInternalMetadata = (event: MatrixEvent): string => stringifyAscii(event.internal);

/** A state event as invitees and knockers see it; the create event of room version 12 as a whole PDU (MSC4311). */
export function strippedState(event: MatrixEvent): JsonObject {
  if (event.roomVersion.roomIdIsCreateHash && event.type === "m.room.create" && event.stateKey === "") return event.json;
  return { type: event.type, state_key: event.stateKey ?? "", content: event.content, sender: event.sender };
}

export interface StrippedState {
  readonly type: string;
  readonly stateKey: string;
  readonly sender: string;
  readonly content: JsonObject;
}

/** An entry of `invite_room_state` or `knock_room_state`, which come from other servers and may be anything; undefined when it is not one. */
export function parseStrippedState(value: Json | undefined): StrippedState | undefined {
  if (!isJsonObject(value)) return undefined;
  const { type, state_key, sender, content } = value;
  if (typeof type !== "string" || typeof state_key !== "string" || typeof sender !== "string" || !isJsonObject(content)) return undefined;
  return { type, stateKey: state_key, sender, content };
}
