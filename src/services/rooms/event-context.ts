import { forbidden } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { positionOfEvent, timelineNeighbours, timelinePage, type TimelineRow } from "../../storage/rooms/pagination.ts";
import type { Context } from "../context.ts";
import { type Bundles, bundleAggregations } from "../relations/bundle.ts";
import type { Requester } from "../requester.ts";
import { formatStreamToken, START_TOKEN, type StreamToken } from "../streams/token.ts";
import { filterForUser, type VisibleEvent } from "../visibility.ts";
import { isJoined } from "../room-access/access.ts";
import type { RoomEventFilter } from "./event-filter.ts";

export interface EventContext {
  readonly event: VisibleEvent;
  /** Newest first. */
  readonly before: readonly VisibleEvent[];
  /** Oldest first. */
  readonly after: readonly VisibleEvent[];
  readonly state: readonly MatrixEvent[];
  readonly bundles: Bundles;
  readonly start: string;
  readonly end: string;
}

type Needs = Pick<Context, "config" | "read" | "clock" | "events" | "state" | "members" | "ignoredUsers" | "erasedUsers" | "accounts">;

/**
 * An event with those around it (client-server API, "Getting events around an event"); undefined for an event that is unknown or in another
 * room.
 * @throws MatrixError 403 when the user may not see it
 */
export async function eventContext(
  ctx: Needs,
  requester: Requester,
  roomId: string,
  eventId: string,
  limit: number,
  filter: RoomEventFilter | undefined,
  options: { asAdmin?: boolean } = {},
): Promise<EventContext | undefined> {
  const event = await ctx.events.one(eventId);
  if (event === undefined || event.roomId !== roomId) return undefined;
  const peeking = !(await isJoined(ctx, requester.userId, roomId));
  const visible = async (events: readonly MatrixEvent[]): Promise<VisibleEvent[]> =>
    options.asAdmin ? events.map((one) => ({ event: one, membership: undefined })) : await filterForUser(ctx, requester.userId, events, { peeking });

  const around = await eventsAround(ctx, roomId, eventId, limit, filter);
  if (around === undefined) return undefined;
  const shown = await visible([...around.before, event, ...around.after]);
  const byId = new Map(shown.map((item) => [item.event.eventId, item]));
  const own = byId.get(eventId);
  if (own === undefined) throw forbidden("You don't have permission to access that event.");
  const pick = (events: readonly MatrixEvent[]): VisibleEvent[] => events.flatMap((one) => byId.get(one.eventId) ?? []);
  const [before, after] = [pick(around.before), pick(around.after)];

  const lastId = after.at(-1)?.event.eventId ?? eventId;
  const senders = new Set(shown.map((item) => item.event.sender));
  const [bundles, state] = await Promise.all([
    bundleAggregations(
      ctx,
      requester.userId,
      shown.map((item) => item.event),
    ),
    ctx.state.afterEvents([lastId]),
  ]);
  const ids = [...(state.get(lastId) ?? new Map<string, string>())].filter(([key]) => {
    if (!filter?.lazyLoadMembers) return true;
    const [type, stateKey] = key.split("\0");
    return type !== "m.room.member" || senders.has(stateKey!);
  });
  const stateEvents = [...(await ctx.events.get(ids.map(([, id]) => id))).values()];
  return {
    event: own,
    before,
    after,
    state: filter === undefined ? stateEvents : stateEvents.filter(filter.accepts),
    bundles,
    start: formatStreamToken({ ...START_TOKEN, room: around.start }),
    end: formatStreamToken({ ...START_TOKEN, room: around.end }),
  };
}

/** The events before and after one of a room's timeline, and where paging goes on at both ends. undefined when it is not in the room. */
export async function eventsAround(
  ctx: Pick<Context, "read" | "events">,
  roomId: string,
  eventId: string,
  limit: number,
  filter: RoomEventFilter | undefined,
): Promise<EventsAround | undefined> {
  const at = await positionOfEvent(ctx.read, eventId);
  if (at === undefined || at.roomId !== roomId) return undefined;
  const counts = { before: Math.floor(limit / 2), after: limit - Math.floor(limit / 2) };
  const below = { topological: at.topological, stream: at.stream - 1 };
  const above = { topological: at.topological, stream: at.stream };
  const page = (backwards: boolean): Promise<TimelineRow[]> => {
    const wanted = backwards ? counts.before : counts.after;
    return timelinePage(ctx.read, { roomId, backwards, from: backwards ? below : above, to: undefined, filter: filter?.timeline, limit: Math.max(wanted, 0) });
  };
  const [before, after] = await Promise.all([page(true), page(false)]);
  const loaded = await ctx.events.get([...before, ...after].map((row) => row.event_id));
  const events = (rows: readonly TimelineRow[]): MatrixEvent[] => {
    const found = rows.flatMap((row) => loaded.get(row.event_id) ?? []);
    return filter === undefined ? found : found.filter(filter.accepts);
  };
  return { before: events(before), after: events(after), ...ends(at, before, after, counts.before) };
}

interface EventsAround {
  /** Newest first. */
  readonly before: readonly MatrixEvent[];
  /** Oldest first. */
  readonly after: readonly MatrixEvent[];
  readonly start: StreamToken["room"];
  readonly end: StreamToken["room"];
}

/** The events around each of these, by id; in two statements. Those that are unknown are left out. */
export async function eventsAroundEach(
  ctx: Pick<Context, "read" | "events">,
  eventIds: readonly string[],
  limits: { readonly before: number; readonly after: number },
): Promise<Map<string, EventsAround>> {
  if (eventIds.length === 0) return new Map();
  const sides = new Map<string, { at: Position; before: TimelineRow[]; after: TimelineRow[] }>();
  for (const row of await timelineNeighbours(ctx.read, eventIds, limits)) {
    let own = sides.get(row.around);
    if (own === undefined) sides.set(row.around, (own = { at: { topological: row.topological, stream: row.stream }, before: [], after: [] }));
    if (row.event_id !== null) {
      const { event_id, topological_ordering, stream_ordering } = row;
      (row.is_before ? own.before : own.after).push({ event_id, topological_ordering: topological_ordering!, stream_ordering: stream_ordering! });
    }
  }
  const loaded = await ctx.events.get([...sides.values()].flatMap(({ before, after }) => [...before, ...after].map((row) => row.event_id)));
  const events = (rows: readonly TimelineRow[]): MatrixEvent[] => rows.flatMap((row) => loaded.get(row.event_id) ?? []);
  return new Map(
    [...sides].map(([eventId, { at, before, after }]) => [
      eventId,
      { before: events(before), after: events(after), ...ends(at, before, after, limits.before) },
    ]),
  );
}

interface Position {
  readonly topological: number | bigint;
  readonly stream: number;
}

/** Where paging goes on at both ends of what was found around an event. */
function ends(at: Position, before: readonly TimelineRow[], after: readonly TimelineRow[], wantedBefore: number): Pick<EventsAround, "start" | "end"> {
  const first = before.at(-1);
  const last = after.at(-1);
  // With nothing before it, the position is that of Synapse, one level of depth below.
  const nothing = wantedBefore > 0 ? { topological: lower(at.topological), stream: at.stream } : { topological: at.topological, stream: at.stream - 1 };
  return {
    start: first === undefined ? nothing : { topological: first.topological_ordering, stream: first.stream_ordering - 1 },
    end: last === undefined ? at : { topological: last.topological_ordering, stream: last.stream_ordering },
  };
}

const lower = (depth: number | bigint): number | bigint => (typeof depth === "bigint" ? depth - 1n : depth - 1);
