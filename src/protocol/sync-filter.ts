import { isJsonObject, toNumber, type Json, type JsonObject } from "../lib/json.ts";
import { parseEventFields } from "./event/serialise.ts";
import { matchPieces } from "./glob.ts";
import { isRoomId, isUserId } from "./ids.ts";

/** Filters of /sync, /messages and the like (client-server API, "Filtering"). */

/** What a filter looks at; a `MatrixEvent` will do. Account data and ephemeral events have no sender, account data may have no room. */
export interface Filterable {
  readonly type: string;
  readonly sender?: string | undefined;
  readonly roomId?: string | undefined;
  /** Account data may have any content. */
  readonly content?: Json | undefined;
}

/** A compiled filter of one kind of events. */
export interface EventFilter {
  /** Events to return at most. */
  readonly limit: number;
  /** True when no event can pass. */
  readonly blocksAll: boolean;
  /**
   * Set when only events pass that others relate to (`related_by_senders`, `related_by_rel_types`): asked of the database after
   * `accepts`. An empty list means any.
   */
  readonly relatedBy: { readonly senders: readonly string[]; readonly relTypes: readonly string[] } | undefined;
  accepts(event: Filterable): boolean;
}

/** A compiled filter of /sync. */
export interface SyncFilter {
  readonly eventFormat: "client" | "federation";
  /** For `ClientEventOptions.fields`. */
  readonly eventFields: readonly (readonly string[])[] | undefined;
  readonly includeLeave: boolean;
  readonly timeline: EventFilter;
  readonly state: EventFilter;
  readonly ephemeral: EventFilter;
  readonly roomAccountData: EventFilter;
  readonly accountData: EventFilter;
  readonly presence: EventFilter;
  readonly blocksAllRooms: boolean;
  /** Fields of profiles whose changes are wanted (MSC4429). */
  readonly profileFields: readonly string[];
  /** From the state filter. */
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  /** From the timeline filter. */
  readonly unreadThreadNotifications: boolean;
  acceptsRoom(roomId: string): boolean;
}

export interface FilterFeatures {
  /** The unstable name of `unread_thread_notifications`. */
  readonly msc3773?: boolean;
  /** `rel_types` and `not_rel_types`. */
  readonly msc3874?: boolean;
}

const DEFAULT_LIMIT = 10;
/** Where nothing else bounds a list. */
const MAX_LIMIT = 10_000;

/**
 * Compiles a filter; what is malformed counts as absent, as filters stored long ago may hold anything. `timelineLimit` bounds the
 * events of a timeline (Synapse's `filter_timeline_limit`), negative for no bound.
 */
export function compileSyncFilter(definition: JsonObject, timelineLimit: number, features: FilterFeatures = {}): SyncFilter {
  const room = object(definition.room);
  const acceptsRoom = roomTest(room);
  const compile = (part: Json | undefined, maxLimit = -1): EventFilter => compileEventFilter(object(part), acceptsRoom, maxLimit, features);
  const state = object(room.state);
  const timeline = object(room.timeline);
  return {
    eventFormat: definition.event_format === "federation" ? "federation" : "client",
    eventFields: Array.isArray(definition.event_fields) && definition.event_fields.length > 0 ? parseEventFields(strings(definition.event_fields)) : undefined,
    includeLeave: room.include_leave === true,
    timeline: compile(room.timeline, timelineLimit),
    state: compile(room.state),
    ephemeral: compile(room.ephemeral),
    roomAccountData: compile(room.account_data),
    accountData: compileEventFilter(object(definition.account_data), undefined, -1, features),
    presence: compileEventFilter(object(definition.presence), undefined, -1, features),
    blocksAllRooms: blocksAllOf(room, "rooms"),
    profileFields: strings(object(definition["org.matrix.msc4429.profile_fields"]).ids),
    lazyLoadMembers: state.lazy_load_members === true,
    includeRedundantMembers: state.include_redundant_members === true,
    unreadThreadNotifications:
      timeline.unread_thread_notifications === true || (features.msc3773 === true && timeline["org.matrix.msc3773.unread_thread_notifications"] === true),
    acceptsRoom: acceptsRoom ?? (() => true),
  };
}

/** Compiles the filter of one kind of events; also the `filter` of /messages, /context and /search. `rooms` is a further test of the room. */
export function compileEventFilter(definition: JsonObject, rooms?: (roomId: string) => boolean, maxLimit = -1, features: FilterFeatures = {}): EventFilter {
  const tests = [
    definition.types === undefined && definition.not_types === undefined ? undefined : typeTest(definition),
    listTest(definition, "senders", senderOf),
    roomsTest(definition, rooms),
    urlTest(definition.contains_url),
    labelTest(definition),
    features.msc3874 ? listTest(definition, "org.matrix.msc3874.rel_types", relationType, "org.matrix.msc3874.not_rel_types") : undefined,
  ].filter((test) => test !== undefined);
  const asked = toNumber(definition.limit) ?? DEFAULT_LIMIT;
  const limit = Math.min(asked < 0 ? MAX_LIMIT : Math.floor(asked), maxLimit < 0 ? MAX_LIMIT : maxLimit);
  const senders = strings(definition.related_by_senders);
  const relTypes = strings(definition.related_by_rel_types);
  return {
    limit,
    blocksAll: limit === 0 || blocksAllOf(definition, "types") || blocksAllOf(definition, "senders") || blocksAllOf(definition, "rooms"),
    relatedBy: senders.length > 0 || relTypes.length > 0 ? { senders, relTypes } : undefined,
    accepts: (event) => tests.every((test) => test(event)),
  };
}

type Test = (event: Filterable) => boolean;

/** An empty list of what is wanted, or a star in the list of what is not. */
function blocksAllOf(definition: JsonObject, name: "types" | "senders" | "rooms"): boolean {
  const wanted = definition[name];
  return (Array.isArray(wanted) && wanted.length === 0) || strings(definition[`not_${name}`]).includes("*");
}

/** In types, and nowhere else, `*` stands for any characters. */
function typeTest(definition: JsonObject): Test {
  const wanted = Array.isArray(definition.types) ? patterns(strings(definition.types)) : undefined;
  const unwanted = patterns(strings(definition.not_types));
  return ({ type }) => !unwanted(type) && (wanted === undefined || wanted(type));
}

function patterns(list: readonly string[]): (type: string) => boolean {
  const exact = new Set(list.filter((pattern) => !pattern.includes("*")));
  const globs = list.filter((pattern) => pattern.includes("*")).map((pattern) => pattern.split(/\*+/));
  return (type) => exact.has(type) || globs.some((pieces) => matchPieces(pieces, type));
}

/** The value is in the list `name`, if there is one, and not in `not_<name>`. */
function listTest(definition: JsonObject, name: string, value: (event: Filterable) => string | undefined, notName = `not_${name}`): Test | undefined {
  const wanted = Array.isArray(definition[name]) ? new Set(strings(definition[name])) : undefined;
  const unwanted = new Set(strings(definition[notName]));
  if (wanted === undefined && unwanted.size === 0) return undefined;
  return (event) => {
    const own = value(event);
    return own === undefined ? wanted === undefined : !unwanted.has(own) && (wanted === undefined || wanted.has(own));
  };
}

/** Ephemeral events carry their sender, if any, in their content. */
function senderOf({ sender, content }: Filterable): string | undefined {
  const own = sender ?? (isJsonObject(content) ? content.user_id : undefined);
  return typeof own === "string" ? own : undefined;
}

function relationType({ content }: Filterable): string | undefined {
  const relation = isJsonObject(content) ? content["m.relates_to"] : undefined;
  return isJsonObject(relation) && typeof relation.rel_type === "string" && typeof relation.event_id === "string" ? relation.rel_type : undefined;
}

function roomTest(definition: JsonObject): ((roomId: string) => boolean) | undefined {
  const test = listTest(definition, "rooms", (event) => event.roomId);
  return test && ((roomId) => test({ type: "", roomId }));
}

function roomsTest(definition: JsonObject, further: ((roomId: string) => boolean) | undefined): Test | undefined {
  const own = roomTest(definition);
  if (own === undefined && further === undefined) return undefined;
  return ({ roomId }) => roomId === undefined || ((own === undefined || own(roomId)) && (further === undefined || further(roomId)));
}

function urlTest(wanted: Json | undefined): Test | undefined {
  if (typeof wanted !== "boolean") return undefined;
  return ({ content }) => (isJsonObject(content) && typeof content.url === "string") === wanted;
}

/** MSC2326 */
function labelTest(definition: JsonObject): Test | undefined {
  const wanted = Array.isArray(definition["org.matrix.labels"]) ? strings(definition["org.matrix.labels"]) : undefined;
  const unwanted = strings(definition["org.matrix.not_labels"]);
  if (wanted === undefined && unwanted.length === 0) return undefined;
  return ({ content }) => {
    const own = new Set(strings(isJsonObject(content) ? content["org.matrix.labels"] : undefined));
    return !unwanted.some((label) => own.has(label)) && (wanted === undefined || wanted.some((label) => own.has(label)));
  };
}

const object = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {});
const strings = (value: Json | undefined): string[] => (Array.isArray(value) ? value.filter((item) => typeof item === "string") : []);

type Shape = ((value: Json) => boolean) | { readonly [key: string]: Shape };

const isNumber = (value: Json): boolean => toNumber(value) !== undefined;
const isBoolean = (value: Json): boolean => typeof value === "boolean";
const listOf =
  (isItem: (item: Json) => boolean) =>
  (value: Json): boolean =>
    Array.isArray(value) && value.every(isItem);
const areStrings = listOf((item) => typeof item === "string");
const areUsers = listOf(isUserId);
const areRooms = listOf(isRoomId);

const ANY_FILTER: Shape = { limit: isNumber, senders: areUsers, not_senders: areUsers, types: areStrings, not_types: areStrings };
const ROOM_EVENT_FILTER: Shape = {
  ...ANY_FILTER,
  rooms: areRooms,
  not_rooms: areRooms,
  contains_url: isBoolean,
  lazy_load_members: isBoolean,
  include_redundant_members: isBoolean,
  unread_thread_notifications: isBoolean,
  "org.matrix.msc3773.unread_thread_notifications": isBoolean,
  "org.matrix.labels": areStrings,
  "org.matrix.not_labels": areStrings,
  related_by_senders: areStrings,
  related_by_rel_types: areStrings,
};
const FILTER: Shape = {
  presence: ANY_FILTER,
  account_data: ANY_FILTER,
  room: {
    rooms: areRooms,
    not_rooms: areRooms,
    include_leave: isBoolean,
    ephemeral: ROOM_EVENT_FILTER,
    state: ROOM_EVENT_FILTER,
    timeline: ROOM_EVENT_FILTER,
    account_data: ROOM_EVENT_FILTER,
  },
  event_format: (value) => value === "client" || value === "federation",
  event_fields: areStrings,
  "org.matrix.msc4429.profile_fields": { ids: areStrings },
};

/** The path of the first part of a filter that does not have its form, such as `room.timeline.limit`; undefined when all have. Unknown keys are let be. */
export function filterProblem(definition: Json): string | undefined {
  return shapeProblem(definition, FILTER, "");
}

/** As `filterProblem`, for the `filter` of /messages and the like. */
export function eventFilterProblem(definition: Json): string | undefined {
  return shapeProblem(definition, ROOM_EVENT_FILTER, "");
}

function shapeProblem(value: Json, shape: Shape, path: string): string | undefined {
  if (typeof shape === "function") return shape(value) ? undefined : path;
  if (!isJsonObject(value)) return path === "" ? "filter" : path;
  for (const [key, part] of Object.entries(shape)) {
    const item = Object.hasOwn(value, key) ? value[key] : undefined;
    const problem = item === undefined ? undefined : shapeProblem(item, part, path === "" ? key : `${path}.${key}`);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
