import { isJsonObject, type Json, type JsonObject, toNumber } from "../../lib/json.ts";
import { parseEventFields } from "../../protocol/event/serialise.ts";

/** What a filter looks at in an event of any kind. */
export interface Filterable {
  readonly type: string;
  readonly sender?: string | undefined;
  readonly roomId?: string | undefined;
  readonly content?: JsonObject | undefined;
}

/** A compiled filter of events (client-server API, "Filtering"). */
export interface EventFilter {
  readonly limit: number;
  /** True when no event can pass. */
  readonly blocksAll: boolean;
  accepts(event: Filterable): boolean;
}

/** A compiled sync filter. */
export interface SyncFilter {
  readonly eventFormat: "client" | "federation";
  readonly eventFields: readonly (readonly string[])[] | undefined;
  readonly includeLeave: boolean;
  readonly timeline: EventFilter;
  readonly state: EventFilter;
  readonly ephemeral: EventFilter;
  readonly roomAccountData: EventFilter;
  readonly accountData: EventFilter;
  readonly presence: EventFilter;
  readonly blocksAllRooms: boolean;
  /** From the state filter. */
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  /** From the timeline filter. */
  readonly unreadThreadNotifications: boolean;
  acceptsRoom(roomId: string): boolean;
}

const DEFAULT_LIMIT = 10;
/** Where nothing else bounds a list. */
const MAX_LIMIT = 10_000;

/** Compiles a filter that `checkFilter` has accepted. `timelineLimit` bounds the number of timeline events (Synapse's `filter_timeline_limit`). */
export function compileSyncFilter(definition: JsonObject, timelineLimit: number): SyncFilter {
  const room = object(definition.room);
  const rooms = roomMatcher(room);
  const timeline = compileEventFilter(object(room.timeline), rooms, timelineLimit);
  const state = object(room.state);
  return {
    eventFormat: definition.event_format === "federation" ? "federation" : "client",
    eventFields: Array.isArray(definition.event_fields) ? parseEventFields(strings(definition.event_fields)) : undefined,
    includeLeave: room.include_leave === true,
    timeline,
    state: compileEventFilter(state, rooms, Infinity),
    ephemeral: compileEventFilter(object(room.ephemeral), rooms, Infinity),
    roomAccountData: compileEventFilter(object(room.account_data), rooms, Infinity),
    accountData: compileEventFilter(object(definition.account_data), undefined, Infinity),
    presence: compileEventFilter(object(definition.presence), undefined, Infinity),
    blocksAllRooms: Array.isArray(room.rooms) && room.rooms.length === 0,
    lazyLoadMembers: state.lazy_load_members === true,
    includeRedundantMembers: state.include_redundant_members === true,
    unreadThreadNotifications: object(room.timeline).unread_thread_notifications === true,
    acceptsRoom: rooms ?? (() => true),
  };
}

/** Compiles the filter of one kind of events; also the `filter` of /messages and /context. */
export function compileEventFilter(definition: JsonObject, rooms: ((roomId: string) => boolean) | undefined, maxLimit: number): EventFilter {
  const types = optionalStrings(definition.types);
  const senders = optionalStrings(definition.senders);
  const ownRooms = roomMatcher(definition);
  const labels = optionalStrings(definition["org.matrix.labels"]);
  const notLabels = strings(definition["org.matrix.not_labels"]);
  const notTypes = patterns(strings(definition.not_types));
  const wantedTypes = types === undefined ? undefined : patterns(types);
  const wantedSenders = senders === undefined ? undefined : new Set(senders);
  const notSenders = new Set(strings(definition.not_senders));
  const containsUrl = typeof definition.contains_url === "boolean" ? definition.contains_url : undefined;
  const asked = toNumber(definition.limit) ?? DEFAULT_LIMIT;
  // A negative limit means none.
  const limit = asked < 0 ? MAX_LIMIT : Math.floor(asked);

  const accepts = (event: Filterable): boolean => {
    if (wantedTypes !== undefined && !wantedTypes(event.type)) return false;
    if (notTypes(event.type)) return false;
    const sender = event.sender ?? "";
    if (wantedSenders !== undefined && !wantedSenders.has(sender)) return false;
    if (notSenders.has(sender)) return false;
    if (event.roomId !== undefined && ((rooms !== undefined && !rooms(event.roomId)) || (ownRooms !== undefined && !ownRooms(event.roomId)))) return false;
    if (containsUrl !== undefined && (typeof event.content?.url === "string") !== containsUrl) return false;
    if (labels !== undefined || notLabels.length > 0) {
      const own = strings(event.content?.["org.matrix.labels"]);
      if (labels !== undefined && !labels.some((label) => own.includes(label))) return false;
      if (notLabels.some((label) => own.includes(label))) return false;
    }
    return true;
  };
  const blocksAll = types?.length === 0 || senders?.length === 0 || limit === 0 || strings(definition.not_types).includes("*") || (Array.isArray(definition.rooms) && definition.rooms.length === 0);
  return { limit: Math.min(limit, maxLimit < 0 ? MAX_LIMIT : maxLimit), blocksAll, accepts };
}

function roomMatcher(definition: JsonObject): ((roomId: string) => boolean) | undefined {
  const wanted = optionalStrings(definition.rooms);
  const unwanted = strings(definition.not_rooms);
  if (wanted === undefined && unwanted.length === 0) return undefined;
  const in_ = wanted === undefined ? undefined : new Set(wanted);
  const out = new Set(unwanted);
  return (roomId) => (in_ === undefined || in_.has(roomId)) && !out.has(roomId);
}

/** Matches event types against patterns in which `*` stands for any characters. Linear: pieces are searched from left to right. */
function patterns(list: readonly string[]): (type: string) => boolean {
  const exact = new Set(list.filter((pattern) => !pattern.includes("*")));
  const globs = list.filter((pattern) => pattern.includes("*")).map((pattern) => pattern.split("*"));
  return (type) => exact.has(type) || globs.some((pieces) => matchesPieces(pieces, type));
}

function matchesPieces(pieces: readonly string[], text: string): boolean {
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  const end = text.length - last.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

const object = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {});
const strings = (value: Json | undefined): string[] => (Array.isArray(value) ? value.filter((item) => typeof item === "string") : []);
const optionalStrings = (value: Json | undefined): string[] | undefined => (Array.isArray(value) ? strings(value) : undefined);
