import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import type { RoomVersion } from "../room-versions.ts";

/**
 * What the server knows of an event beyond its PDU; stored as JSON in `event_json.internal_metadata` with these snake_case keys
 * (absent = false or none).
 */
export interface InternalMetadata {
  out_of_band_membership?: boolean;
  send_on_behalf_of?: string;
  recheck_redaction?: boolean;
  soft_failed?: boolean;
  proactively_send?: boolean;
  policy_server_spammy?: boolean;
  spam_checker_spammy?: boolean;
  txn_id?: string;
  delay_id?: string;
  token_id?: number;
  device_id?: string;
  /** MSC4242: the auth events found from the state before the event, which does not list them. */
  calculated_auth_event_ids?: string[];
}

/**
 * One event (PDU) with what is derived from it. `json` is the PDU as hashed and signed, with `unsigned` as stored; it and
 * everything read from it is treated as immutable. Bodies come from other servers too: fields of `content` have any type, so
 * readers check what they read.
 */
export class MatrixEvent {
  readonly eventId: string;
  readonly roomId: string;
  readonly type: string;
  readonly sender: string;
  /** undefined for message events; the empty string is a state key. */
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
  /** At most 2^63-1, so a bigint where a number would not be exact. */
  readonly depth: number | bigint;
  /** Milliseconds since the epoch, as the sending server says. */
  readonly originServerTs: number;
  /**
   * With the create event also where the PDU does not list it because the room id implies it (room version 12), as Synapse stores
   * it in `event_auth`. The list as signed is `json.auth_events`.
   */
  readonly authEventIds: readonly string[];
  readonly prevEventIds: readonly string[];
  /** The event that this one redacts: `redacts` at top level, or in content from room version 11. */
  readonly redacts: string | undefined;
  readonly unsigned: JsonObject;

  /** Position in the events stream once persisted; negative for backfilled events. */
  streamOrdering: number | undefined;
  /** True when the server has the event without the state before it. */
  outlier = false;
  /** Why the event was rejected by the auth rules; undefined when it was accepted. */
  rejectedReason: string | undefined;
  /** Set by readers when a redaction applies and `json` is the pruned form. */
  redactedBecause: MatrixEvent | undefined;
  /** What `clientEventText` has serialised already, by format: all but `unsigned`, which differs from reader to reader. */
  sharedText: { [format: string]: string } | undefined;

  constructor(
    readonly json: JsonObject,
    readonly roomVersion: RoomVersion,
    /** From the reference hash, or from `json.event_id` in room versions 1 and 2. */
    eventId: string,
    readonly internal: InternalMetadata = {},
  ) {
    this.eventId = eventId;
    this.type = str(json.type);
    this.sender = str(json.sender);
    this.stateKey = typeof json.state_key === "string" ? json.state_key : undefined;
    this.content = obj(json.content);
    this.depth = typeof json.depth === "bigint" ? json.depth : typeof json.depth === "number" ? json.depth : 0;
    this.originServerTs = Number(json.origin_server_ts ?? 0);
    this.prevEventIds = eventIds(json.prev_events);
    const redacts = roomVersion.redactsInContent ? this.content.redacts : json.redacts;
    this.redacts = this.type === "m.room.redaction" && typeof redacts === "string" ? redacts : undefined;
    this.unsigned = obj(json.unsigned);
    // Room versions with hashed room ids: the create event carries no room_id, the room is named after it.
    this.roomId = roomVersion.roomIdIsCreateHash && this.type === "m.room.create" && this.stateKey === "" ? "!" + eventId.slice(1) : str(json.room_id);
    this.authEventIds = authEventIds(this, json.auth_events);
  }

  isState(): this is this & { readonly stateKey: string } {
    return this.stateKey !== undefined;
  }

  /** MSC4242: the state events that this one follows; empty in other room versions. */
  get prevStateEventIds(): readonly string[] {
    return this.roomVersion.stateDag ? eventIds(this.json.prev_state_events) : [];
  }

  /** `membership` of a member event, else undefined. */
  get membership(): string | undefined {
    return this.type === "m.room.member" && typeof this.content.membership === "string" ? this.content.membership : undefined;
  }
}

/** Key of the state maps: type and state key, which may hold any character but are joined unambiguously. */
export type StateKey = `${string}\u0000${string}`;
export const stateKeyOf = (type: string, stateKey: string): StateKey => `${type}\u0000${stateKey}`;
/** Type and state key of a key of a state map. */
export function splitStateKey(key: StateKey): [type: string, stateKey: string] {
  const at = key.indexOf("\u0000");
  return [key.slice(0, at), key.slice(at + 1)];
}

/** State of a room at a point: (type, state key) to event id. */
export type StateMap<T = string> = ReadonlyMap<StateKey, T>;

const str = (value: Json | undefined): string => (typeof value === "string" ? value : "");
const obj = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {});

function authEventIds(event: MatrixEvent, listed: Json | undefined): readonly string[] {
  if (event.roomVersion.stateDag) return event.internal.calculated_auth_event_ids ?? [];
  const ids = eventIds(listed);
  if (event.roomVersion.roomIdIsCreateHash && !(event.type === "m.room.create" && event.stateKey === "") && event.roomId !== "") {
    ids.push("$" + event.roomId.slice(1));
  }
  return ids;
}

/** Room versions 1 and 2 hold `[event id, hashes]` pairs, later ones plain ids. */
function eventIds(value: Json | undefined): string[] {
  if (!Array.isArray(value)) return [];
  const ids: string[] = [];
  for (const item of value) {
    const id = Array.isArray(item) ? item[0] : item;
    if (typeof id === "string") ids.push(id);
  }
  return ids;
}
