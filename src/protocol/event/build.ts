import type { Json, JsonObject } from "../../lib/json.ts";
import type { RoomVersion } from "../room-versions.ts";
import { MatrixEvent, type InternalMetadata } from "./event.ts";
import { contentHash, eventIdOfSignedText, signedText } from "./hash.ts";
import { MAX_DEPTH } from "./format.ts";
import { signText, withSignature, type SigningKey } from "./sign.ts";

/** What a new event is made of. */
export interface NewEvent {
  readonly roomVersion: RoomVersion;
  /** Undefined for the create event of a room version that names the room after it. */
  readonly roomId: string | undefined;
  readonly type: string;
  readonly sender: string;
  /** Undefined for a message event. */
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
  /** Milliseconds since the epoch. */
  readonly originServerTs: number;
  /** One more than the greatest depth of the previous events; capped at 2^63-1. */
  readonly depth: number | bigint;
  readonly prevEventIds: readonly string[];
  /** With or without the create event in room version 12: the PDU leaves it out. */
  readonly authEventIds: readonly string[];
  /** MSC4242 only. */
  readonly prevStateEventIds?: readonly string[];
  /** The event to redact; written where the room version has it. */
  readonly redacts?: string | undefined;
  /** Beside `age_ts`, which is set to the event's time. */
  readonly unsigned?: JsonObject;
  /** Further top-level keys, such as `msc4354_sticky`. */
  readonly extra?: JsonObject;
  /** Room versions 1 and 2 only: the id chosen for the event. */
  readonly eventId?: string;
  /** Room versions 1 and 2 only: the reference hash (`referenceHash`) of each previous and auth event. */
  readonly referenceHash?: (eventId: string) => string | undefined;
  readonly internal?: InternalMetadata;
}

/** The new event, hashed and signed by this server. */
export function buildEvent(input: NewEvent, serverName: string, keys: readonly SigningKey[]): MatrixEvent {
  const internal = input.roomVersion.stateDag ? { ...input.internal, calculated_auth_event_ids: [...input.authEventIds] } : input.internal;
  return hashAndSign(pduFields(input), input.roomVersion, serverName, keys, internal);
}

/** The PDU of a new event without hashes and signatures: also the template that make_join and its like hand out. */
export function pduFields(input: NewEvent): JsonObject {
  const version = input.roomVersion;
  const references = (ids: readonly string[]): Json[] => (version.eventFormat === 1 ? ids.map((id) => hashedReference(id, input)) : [...ids]);
  const pdu: JsonObject = {};
  if (version.eventFormat === 1 && input.eventId !== undefined) pdu.event_id = input.eventId;
  if (version.stateDag) {
    pdu.prev_state_events = [...(input.prevStateEventIds ?? [])];
  } else {
    pdu.auth_events = references(withoutCreate(input));
  }
  pdu.prev_events = references(input.prevEventIds);
  pdu.type = input.type;
  if (input.roomId !== undefined) pdu.room_id = input.roomId;
  pdu.sender = input.sender;
  if (input.stateKey !== undefined) pdu.state_key = input.stateKey;
  pdu.content = input.redacts !== undefined && version.redactsInContent ? { ...input.content, redacts: input.redacts } : input.content;
  if (input.redacts !== undefined && !version.redactsInContent) pdu.redacts = input.redacts;
  pdu.depth = input.depth > MAX_DEPTH ? MAX_DEPTH : input.depth;
  pdu.origin_server_ts = input.originServerTs;
  Object.assign(pdu, input.extra);
  pdu.unsigned = { age_ts: input.originServerTs, ...input.unsigned };
  return pdu;
}

/** Room version 12: the room id stands for the create event, which the PDU must not list. */
function withoutCreate(input: NewEvent): readonly string[] {
  if (!input.roomVersion.roomIdIsCreateHash || input.roomId === undefined) return input.authEventIds;
  const create = "$" + input.roomId.slice(1);
  return input.authEventIds.filter((id) => id !== create);
}

function hashedReference(id: string, input: NewEvent): Json {
  const hash = input.referenceHash?.(id);
  return [id, hash === undefined ? {} : { sha256: hash }];
}

/** The event of a PDU that this server vouches for: content hash and signatures are set, others' signatures kept. */
export function hashAndSign(pdu: JsonObject, version: RoomVersion, serverName: string, keys: readonly SigningKey[], internal?: InternalMetadata): MatrixEvent {
  let json: JsonObject = { ...pdu, hashes: { sha256: contentHash(pdu) } };
  // The signed text is what the event id is the hash of, too.
  const text = signedText(json, version);
  for (const key of keys) json = withSignature(json, serverName, key.keyId, signText(text, key));
  const eventId = version.eventFormat === 1 ? String(json.event_id) : eventIdOfSignedText(text, version);
  return new MatrixEvent(json, version, eventId, internal);
}
