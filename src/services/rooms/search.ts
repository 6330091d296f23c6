import { isJsonObject, type Json, type JsonObject, type JsonText, toNumber } from "../../lib/json.ts";
import { normaliseText } from "../../lib/character-grams.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import { countSearchHits, highlightedWords, searchByRank, searchByTime, type SearchHit, type SearchQuery } from "../../storage/rooms/search.ts";
import type { Context } from "../context.ts";
import { type Bundles, bundleAggregations } from "../relations/bundle.ts";
import { presentEvent, presentEvents } from "../present.ts";
import type { Requester } from "../requester.ts";
import { currentToken, formatStreamToken } from "../streams/token.ts";
import { filterForUser, type VisibleEvent } from "../visibility.ts";
import { eventsAroundEach } from "./event-context.ts";
import { type RoomEventFilter, roomEventFilter } from "./event-filter.ts";
import { unspacedTerm } from "./message-index.ts";
import { predecessors } from "./predecessors.ts";

/** Search in the messages of the user's rooms (client-server API, "Server Side Search"). */
const KEYS = ["content.body", "content.name", "content.topic"];
const RANKED_HITS = 500;
const MAX_ROUNDS = 5;
const MAX_CONTEXT = 100;

type Needs = Pick<
  Context,
  | "config"
  | "read"
  | "clock"
  | "events"
  | "state"
  | "members"
  | "ignoredUsers"
  | "erasedUsers"
  | "accounts"
  | "isServerAdmin"
  | "modules"
  | "streams"
  | "typing"
>;

interface SearchRequest {
  readonly term: string;
  readonly keys: readonly string[];
  readonly filter: RoomEventFilter;
  readonly filterRooms: readonly string[] | undefined;
  readonly orderBy: "rank" | "recent";
  readonly includeState: boolean;
  readonly groupKeys: ReadonlySet<string>;
  readonly context: { readonly before: number; readonly after: number; readonly profiles: boolean } | undefined;
}

interface Batch {
  readonly group: string;
  readonly groupKey: string;
  readonly position: { readonly time: number; readonly stream: number };
}

interface Found {
  readonly events: readonly VisibleEvent[];
  readonly ranks: ReadonlyMap<string, number>;
  readonly count: number;
  readonly highlights: ReadonlySet<string>;
  /** Where the next page begins; undefined when there is none. */
  readonly next: string | undefined;
}

/** @throws MatrixError 400 */
export async function search(ctx: Needs, requester: Requester, body: JsonObject, batchToken: string | undefined): Promise<JsonObject> {
  if (!ctx.config.server.enableSearch) throw new MatrixError(400, "M_UNKNOWN", "Search is disabled on this homeserver");
  const batch = batchToken === undefined || batchToken === "" ? undefined : parseBatch(batchToken);
  const request = parseRequest(ctx, body);
  const rooms = await roomsToSearch(ctx, requester, request, batch);
  if (rooms === undefined) return { search_categories: { room_events: { results: [], count: 0, highlights: [] } } };

  const unspaced = ctx.config.myelin.search.unspacedLanguages ? unspacedTerm(request.term) : undefined;
  const query: SearchQuery = { term: request.term, rooms, keys: request.keys, unspaced };
  const found = request.orderBy === "rank" ? await findByRank(ctx, requester, query, request) : await findByTime(ctx, requester, query, request, batch);
  const contexts = request.context === undefined ? new Map<string, Around>() : await contextsOf(ctx, requester, found.events, request.context);
  const bundles = await bundleAggregations(
    ctx,
    requester.userId,
    [...found.events, ...[...contexts.values()].flatMap((around) => [...around.before, ...around.after])].map((item) => item.event),
  );

  const results: JsonObject[] = [];
  for (const item of found.events) {
    const id = item.event.eventId;
    const around = contexts.get(id);
    results.push({
      rank: found.ranks.get(id) ?? 0,
      result: (await presentEvent(ctx, requester, item, { bundles })) as unknown as Json,
      context: around === undefined ? {} : await presentAround(ctx, requester, around, bundles),
    });
  }
  const category: JsonObject = { results, count: found.count, highlights: [...found.highlights] };
  if (request.includeState && found.events.length > 0) category.state = await statesOf(ctx, requester, found.events);
  const groups = groupsOf(request, found);
  if (groups !== undefined) category.groups = groups;
  if (found.next !== undefined && request.orderBy === "recent") category.next_batch = formatBatch(batch?.group ?? "all", batch?.groupKey ?? "", found.next);
  return { search_categories: { room_events: category } };
}

/** The rooms to look in; undefined for none. */
async function roomsToSearch(ctx: Needs, requester: Requester, request: SearchRequest, batch: Batch | undefined): Promise<SearchQuery["rooms"] | undefined> {
  const { notRooms = [] } = request.filter.timeline;
  if (request.filterRooms === undefined && notRooms.length === 0 && batch?.group !== "room_id") return { joinedBy: requester.userId };
  const own = await ctx.members.roomsOf(requester.userId);
  let rooms = [...own].filter(([, room]) => room.membership === "join").map(([roomId]) => roomId);
  if (request.filterRooms !== undefined) {
    // What was upgraded is searched with what it was before.
    const wanted = new Set([...request.filterRooms, ...(await predecessors(ctx, request.filterRooms))]);
    rooms = rooms.filter((roomId) => wanted.has(roomId));
  }
  const unwanted = new Set(notRooms);
  rooms = rooms.filter((roomId) => !unwanted.has(roomId) && (batch?.group !== "room_id" || roomId === batch.groupKey));
  return rooms.length === 0 ? undefined : rooms;
}

async function findByRank(ctx: Needs, requester: Requester, query: SearchQuery, request: SearchRequest): Promise<Found> {
  const hits = await searchByRank(ctx.read, query, RANKED_HITS);
  const { events, highlights } = await loadHits(ctx, requester, query, request, hits, request.filter.limit);
  const ranks = new Map(hits.map((hit) => [hit.event_id, hit.rank]));
  return { events, ranks, count: hits[0]?.total ?? 0, highlights, next: undefined };
}

async function findByTime(ctx: Needs, requester: Requester, query: SearchQuery, request: SearchRequest, batch: Batch | undefined): Promise<Found> {
  const limit = request.filter.limit;
  let count: number | undefined;
  const ranks = new Map<string, number>();
  const positions = new Map<string, string>();
  const highlights = new Set<string>();
  const found: VisibleEvent[] = [];
  let before = batch?.position;
  for (let round = 0; round < MAX_ROUNDS && found.length < limit; round++) {
    const hits = await searchByTime(ctx.read, query, before, limit * 2);
    count ??= hits[0]?.total;
    const loaded = await loadHits(ctx, requester, query, request, hits, Infinity);
    for (const word of loaded.highlights) highlights.add(word);
    for (const hit of hits) {
      ranks.set(hit.event_id, hit.rank);
      positions.set(hit.event_id, `${hit.origin_server_ts ?? 0},${hit.stream_ordering ?? 0}`);
    }
    found.push(...loaded.events);
    const last = hits.at(-1);
    if (hits.length < limit * 2 || last === undefined) break;
    before = { time: last.origin_server_ts ?? 0, stream: last.stream_ordering ?? 0 };
  }
  // Nothing is older than the page before: that does not say how many there are.
  count ??= batch === undefined ? 0 : await countSearchHits(ctx.read, query);
  const events = found.slice(0, limit);
  const lastEvent = events.length >= limit ? events.at(-1) : undefined;
  return { events, ranks, count, highlights, next: lastEvent === undefined ? undefined : positions.get(lastEvent.event.eventId) };
}

/** The events that the user may see, in the order of the hits, at least `enough` of them where there are so many; and the words found in any hit. */
async function loadHits(
  ctx: Needs,
  requester: Requester,
  query: SearchQuery,
  request: SearchRequest,
  hits: readonly SearchHit[],
  enough: number,
): Promise<{ events: VisibleEvent[]; highlights: Set<string> }> {
  const loaded = [...(await ctx.events.get(hits.map((hit) => hit.event_id))).values()].filter((event) => event.redactedBecause === undefined);
  const [highlights, events] = await Promise.all([
    highlightedWords(
      ctx.read,
      query.term,
      loaded.map(searchedText).filter((text) => text !== ""),
    ),
    firstVisible(ctx, requester.userId, loaded.filter(request.filter.accepts), enough),
  ]);
  const texts = query.unspaced === undefined ? [] : loaded.map((event) => normaliseText(searchedText(event)));
  for (const piece of query.unspaced?.wanted ?? []) if (texts.some((text) => text.includes(piece))) highlights.add(piece);
  return { events, highlights };
}

/** The first so many of the events that the user may see: no more are looked at than it takes. */
async function firstVisible(ctx: Needs, userId: string, events: readonly MatrixEvent[], wanted: number): Promise<VisibleEvent[]> {
  const visible: VisibleEvent[] = [];
  for (let from = 0, step = wanted; from < events.length && visible.length < wanted; from += step, step *= 2)
    visible.push(...(await filterForUser(ctx, userId, events.slice(from, from + step))));
  return visible.slice(0, wanted);
}

const searchedText = (event: MatrixEvent): string =>
  ["body", "name", "topic"].flatMap((key) => (typeof event.content[key] === "string" ? [event.content[key]] : [])).join(" ");

interface Around {
  readonly before: readonly VisibleEvent[];
  readonly after: readonly VisibleEvent[];
  readonly start: string;
  readonly end: string;
  readonly profiles?: JsonObject;
}

async function contextsOf(
  ctx: Needs,
  requester: Requester,
  events: readonly VisibleEvent[],
  wanted: NonNullable<SearchRequest["context"]>,
): Promise<Map<string, Around>> {
  const now = currentToken(ctx.streams, ctx.typing.serial);
  const ids = events.map(({ event }) => event.eventId);
  const arounds = await eventsAroundEach(ctx, ids, { before: wanted.before, after: wanted.after });
  const visible = await filterForUser(
    ctx,
    requester.userId,
    [...arounds.values()].flatMap(({ before, after }) => [...before, ...after]),
  );
  const byId = new Map(visible.map((item) => [item.event.eventId, item]));
  const contexts = new Map<string, Around>();
  for (const { event } of events) {
    const around = arounds.get(event.eventId);
    if (around === undefined) continue;
    const pick = (list: readonly MatrixEvent[]): VisibleEvent[] => list.flatMap((one) => byId.get(one.eventId) ?? []);
    const [before, after] = [pick(around.before), pick(around.after)];
    contexts.set(event.eventId, {
      before,
      after,
      start: formatStreamToken({ ...now, room: around.start }),
      end: formatStreamToken({ ...now, room: around.end }),
    });
  }
  return wanted.profiles ? await withProfiles(ctx, events, contexts) : contexts;
}

/** Names and pictures of the senders as they were then. */
async function withProfiles(ctx: Needs, found: readonly VisibleEvent[], contexts: ReadonlyMap<string, Around>): Promise<Map<string, Around>> {
  const asked = found.flatMap(({ event }) => {
    const around = contexts.get(event.eventId);
    if (around === undefined) return [];
    const beside = [...around.before, ...around.after].map((item) => item.event);
    const senders = [...new Set([event, ...beside].map(({ sender }) => sender))];
    return [{ eventId: event.eventId, around, senders, at: beside.at(-1)?.eventId ?? event.eventId }];
  });
  const everybody = [...new Set(asked.flatMap(({ senders }) => senders))];
  const states = await ctx.state.afterEvents(
    new Set(asked.map(({ at }) => at)),
    everybody.map((sender): [string, string] => ["m.room.member", sender]),
  );
  const idsOf = ({ at, senders }: { at: string; senders: readonly string[] }): string[] =>
    senders.flatMap((sender) => states.get(at)?.get(stateKeyOf("m.room.member", sender)) ?? []);
  const members = await ctx.events.get(asked.flatMap(idsOf));
  return new Map(
    asked.map((one) => {
      const profiles: JsonObject = Object.create(null) as JsonObject;
      for (const id of idsOf(one)) {
        const member = members.get(id);
        if (member !== undefined)
          profiles[member.stateKey!] = { displayname: member.content.displayname ?? null, avatar_url: member.content.avatar_url ?? null };
      }
      return [one.eventId, { ...one.around, profiles: { ...profiles } }];
    }),
  );
}

async function presentAround(ctx: Needs, requester: Requester, around: Around, bundles: Bundles): Promise<JsonObject> {
  const present = async (events: readonly VisibleEvent[]): Promise<Json> =>
    (await presentEvents(ctx, requester, events, { bundles, previous: true })) as readonly JsonText[] as unknown as Json;
  return {
    events_before: await present(around.before),
    events_after: await present(around.after),
    start: around.start,
    end: around.end,
    ...(around.profiles === undefined ? {} : { profile_info: around.profiles }),
  };
}

async function statesOf(ctx: Needs, requester: Requester, events: readonly VisibleEvent[]): Promise<JsonObject> {
  const states: JsonObject = {};
  for (const roomId of new Set(events.map((item) => item.event.roomId))) {
    const state = await ctx.state.current(roomId);
    states[roomId] = (await presentEvents(ctx, requester, [...state.values()])) as unknown as Json;
  }
  return states;
}

function groupsOf(request: SearchRequest, found: Found): JsonObject | undefined {
  const group = (keyOf: (event: MatrixEvent) => string, more: (key: string, first: MatrixEvent) => JsonObject): JsonObject => {
    const groups = new Map<string, { ids: string[]; first: MatrixEvent }>();
    for (const { event } of found.events) {
      const entry = groups.get(keyOf(event));
      if (entry === undefined) groups.set(keyOf(event), { ids: [event.eventId], first: event });
      else entry.ids.push(event.eventId);
    }
    return Object.fromEntries([...groups].map(([key, { ids, first }]) => [key, { results: ids, ...more(key, first) }]));
  };
  const out: JsonObject = {};
  const ranked = request.orderBy === "rank";
  const order = (_: string, first: MatrixEvent): JsonObject => (ranked ? { order: found.ranks.get(first.eventId) ?? 0 } : {});
  if (request.groupKeys.has("room_id") && found.events.length > 0) {
    out.room_id = group(
      (event) => event.roomId,
      (key, first) => ({ ...order(key, first), ...(found.next === undefined ? {} : { next_batch: formatBatch("room_id", key, found.next) }) }),
    );
  }
  if (request.groupKeys.has("sender") && ranked && found.events.length > 0) out.sender = group((event) => event.sender, order);
  return Object.keys(out).length === 0 ? undefined : out;
}

function parseRequest(ctx: Needs, body: JsonObject): SearchRequest {
  const invalid = (): MatrixError => new MatrixError(400, "M_UNKNOWN", "Invalid search query");
  const categories = isJsonObject(body.search_categories) ? body.search_categories : undefined;
  const room = isJsonObject(categories?.room_events) ? categories.room_events : undefined;
  if (room === undefined || typeof room.search_term !== "string") throw invalid();
  const orderBy = room.order_by ?? "rank";
  if (orderBy !== "rank" && orderBy !== "recent") throw new MatrixError(400, "M_UNKNOWN", `Invalid order by: '${String(orderBy)}'`);
  const grouping = isJsonObject(room.groupings) ? room.groupings.group_by : undefined;
  const groupKeys = new Set<string>();
  for (const entry of Array.isArray(grouping) ? grouping : []) {
    if (!isJsonObject(entry) || typeof entry.key !== "string") throw invalid();
    if (entry.key !== "room_id" && entry.key !== "sender") throw new MatrixError(400, "M_UNKNOWN", `Invalid group by keys: {'${entry.key}'}`);
    groupKeys.add(entry.key);
  }
  // The rooms are chosen beforehand: there may be more than the filter names.
  const { rooms: filterRooms, ...definition } = isJsonObject(room.filter) ? room.filter : {};
  const context = isJsonObject(room.event_context) ? room.event_context : undefined;
  const bound = (value: Json | undefined): number => Math.max(0, Math.min(toNumber(value) ?? 5, MAX_CONTEXT));
  const keys = Array.isArray(room.keys) ? room.keys.filter((key) => typeof key === "string") : KEYS;
  return {
    term: room.search_term.replaceAll("\0", " "),
    keys,
    filter: roomEventFilter(ctx, definition),
    filterRooms: Array.isArray(filterRooms) ? filterRooms.filter((roomId) => typeof roomId === "string") : undefined,
    orderBy,
    includeState: room.include_state === true,
    groupKeys,
    context:
      context === undefined
        ? undefined
        : { before: bound(context.before_limit), after: bound(context.after_limit), profiles: context.include_profile === true },
  };
}

function formatBatch(group: string, key: string, position: string): string {
  return Buffer.from(`${group}\n${key}\n${position}`).toString("base64").replace(/=+$/, "");
}

function parseBatch(token: string): Batch {
  const [group, groupKey, position, more] = Buffer.from(token, "base64").toString("utf8").split("\n");
  const match = /^(-?\d{1,15}),(-?\d{1,15})$/.exec(position ?? "");
  if (group === undefined || groupKey === undefined || more !== undefined || match === null) throw new MatrixError(400, "M_UNKNOWN", "Invalid batch");
  return { group, groupKey, position: { time: Number(match[1]), stream: Number(match[2]) } };
}
