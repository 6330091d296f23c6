import type { MatrixEvent } from "../../protocol/event/event.ts";
import { eventsRelatedTo, latestByDepth, latestByStream, timelineGaps, type Stretch, type TimelineRow } from "../../storage/sync/timelines.ts";
import type { Context } from "../context.ts";
import type { VisibleEvent } from "../visibility.ts";
import type { RoomEntry, SyncRequest, TimelineBatch } from "./types.ts";

type Needs = Pick<Context, "read" | "events" | "changes">;

/** Leaves out of `events` what the user may not see; given all at once, since visibility is decided by set-based reads. */
export type VisibilityFilter = (events: readonly MatrixEvent[]) => Promise<readonly VisibleEvent[]>;

/** Pages after which a room whose events are all filtered out is given up for this answer. */
const MAX_PAGES = 5;

/** One room's timeline while it is being gathered. */
interface Gathering {
  readonly entry: RoomEntry;
  limited: boolean;
  /** Oldest first, after filtering. */
  events: VisibleEvent[];
  /** Events are missing before these. */
  readonly gap: boolean;
  /** Where the last page ended; undefined before the first. */
  cursor: TimelineRow | undefined;
  /** The stretch goes on before the cursor. */
  more: boolean;
  readonly after: number | undefined;
}

/**
 * The timeline of each entry: all that is new, or the newest `timeline_limit` events and `limited`. Incremental rooms are read with one
 * query for all, full ones with one for all and page; a room in which nothing happened costs nothing.
 */
export async function loadTimelines(
  ctx: Needs,
  request: SyncRequest,
  entries: readonly RoomEntry[],
  visible: VisibilityFilter,
): Promise<Map<string, TimelineBatch>> {
  const limit = request.filter.timeline.limit;
  const blocked = request.filter.timeline.blocksAll;
  const now = Math.max(0, ...entries.map((entry) => entry.upTo));
  const since = request.since?.room.stream;
  const touched = since === undefined ? undefined : ctx.changes.events.changed(since, now);
  const incremental = entries.filter((entry) => entry.since !== undefined && (entry.kind === "archived" || touched === undefined || touched.has(entry.roomId)));
  const full = entries.filter((entry) => entry.since === undefined);
  const batches = new Map<string, TimelineBatch>();
  for (const entry of entries) batches.set(key(entry), { events: [], prevBatch: entry.since ?? entry.upTo, limited: false });

  const gatherings: Gathering[] = full.map((entry) => ({ entry, limited: true, gap: false, events: [], cursor: undefined, more: !blocked, after: undefined }));
  if (incremental.length > 0) {
    const stretches = incremental.map((entry): Stretch => ({ roomId: entry.roomId, after: entry.since, upTo: entry.upTo }));
    const roomIds = incremental.map((entry) => entry.roomId);
    const gappy = roomIds.filter((roomId) => ctx.changes.timelineGaps.hasChanged(roomId, since!));
    const [rows, gaps] = await Promise.all([
      recentRows(ctx, stretches, limit + 1),
      gappy.length === 0 ? new Map<string, number>() : timelineGaps(ctx.read, gappy, since!, now),
    ]);
    const byRoom = rowsByRoom(rows);
    for (const entry of incremental) {
      const own = byRoom.get(entry.roomId) ?? [];
      const gap = gaps.get(entry.roomId);
      if (own.length === 0 && gap === undefined) continue;
      const limited = own.length > limit || gap !== undefined;
      gatherings.push({
        entry,
        limited,
        gap: gap !== undefined,
        events: [],
        cursor: undefined,
        more: limited && !blocked,
        // Across a gap the client pages back by itself.
        after: gap ?? entry.since,
      });
    }
    const whole = gatherings.filter((gathering) => gathering.entry.since !== undefined && !gathering.limited);
    await take(ctx, request, whole, byRoom, visible);
  }

  for (let page = 0; page < MAX_PAGES; page++) {
    const short = gatherings.filter((gathering) => gathering.limited && gathering.more && gathering.events.length < limit);
    if (short.length === 0) break;
    await loadPage(ctx, request, short, Math.max(limit * 2, 10), visible);
  }
  for (const gathering of gatherings) batches.set(key(gathering.entry), finish(gathering, limit));
  return batches;
}

/** Entries of one room differ by kind: a room left and joined again in one stretch has two. */
export const key = (entry: RoomEntry): string => `${entry.kind} ${entry.roomId}`;

async function loadPage(ctx: Needs, request: SyncRequest, rooms: readonly Gathering[], size: number, visible: VisibilityFilter): Promise<void> {
  const stretch = ({ entry, after, cursor }: Gathering): Stretch => ({ roomId: entry.roomId, after, upTo: entry.upTo, before: cursor });
  const byDepth = rooms.filter((room) => room.after === undefined);
  const byStream = rooms.filter((room) => room.after !== undefined);
  const [deep, recent] = await Promise.all([
    byDepth.length === 0 ? [] : latestByDepth(ctx.read, byDepth.map(stretch), size),
    byStream.length === 0 ? [] : latestByStream(ctx.read, byStream.map(stretch), size),
  ]);
  const byRoom = rowsByRoom([...deep, ...recent]);
  for (const room of rooms) {
    const rows = byRoom.get(room.entry.roomId) ?? [];
    room.cursor = rows.at(-1) ?? room.cursor;
    room.more = rows.length === size;
  }
  await take(ctx, request, rooms, byRoom, visible);
}

/** Loads, filters and prepends the rows of one page to each room. */
async function take(
  ctx: Needs,
  request: SyncRequest,
  rooms: readonly Gathering[],
  byRoom: ReadonlyMap<string, TimelineRow[]>,
  visible: VisibilityFilter,
): Promise<void> {
  const ids = rooms.flatMap((room) => (byRoom.get(room.entry.roomId) ?? []).map((row) => row.event_id));
  if (ids.length === 0) return;
  const loaded = await ctx.events.get(ids);
  const wanted: MatrixEvent[] = [];
  for (const id of ids) {
    const event = loaded.get(id);
    if (event !== undefined && request.filter.timeline.accepts(event)) wanted.push(event);
  }
  const { relatedBy } = request.filter.timeline;
  const related =
    relatedBy === undefined || wanted.length === 0
      ? undefined
      : await eventsRelatedTo(
          ctx.read,
          wanted.map((event) => event.eventId),
          relatedBy.senders,
          relatedBy.relTypes,
        );
  const candidates = related === undefined ? wanted : wanted.filter((event) => related.has(event.eventId));
  const seen = new Map((await visible(candidates)).map((item) => [item.event.eventId, item]));
  for (const room of rooms) {
    const page: VisibleEvent[] = [];
    for (const row of byRoom.get(room.entry.roomId) ?? []) {
      const item = seen.get(row.event_id);
      if (item !== undefined) page.push(item);
    }
    page.reverse();
    room.events = room.events.length === 0 ? page : [...page, ...room.events];
  }
}

function finish(room: Gathering, limit: number): TimelineBatch {
  const cut = room.events.length > limit;
  const events = cut ? room.events.slice(-limit) : room.events;
  const first = events[0]?.event;
  return {
    events,
    prevBatch: first?.streamOrdering !== undefined ? first.streamOrdering - 1 : (room.cursor?.stream_ordering ?? room.entry.upTo),
    limited: cut || room.more || room.gap || room.entry.newlyJoined,
  };
}

/** As `latestByStream`, from memory as far as that goes back. */
async function recentRows(ctx: Needs, stretches: readonly Stretch[], limit: number): Promise<TimelineRow[]> {
  const rows: TimelineRow[] = [];
  const unknown: Stretch[] = [];
  for (const stretch of stretches) {
    const recent = ctx.changes.recentEvents.latest(stretch.roomId, stretch.after ?? -Infinity, stretch.upTo, limit);
    if (recent === undefined) unknown.push(stretch);
    else
      for (const { eventId, position, depth } of recent)
        rows.push({ room_id: stretch.roomId, event_id: eventId, stream_ordering: position, topological_ordering: depth });
  }
  if (unknown.length > 0) rows.push(...(await latestByStream(ctx.read, unknown, limit)));
  return rows;
}

function rowsByRoom(rows: readonly TimelineRow[]): Map<string, TimelineRow[]> {
  const groups = new Map<string, TimelineRow[]>();
  for (const row of rows) {
    const group = groups.get(row.room_id);
    if (group === undefined) groups.set(row.room_id, [row]);
    else group.push(row);
  }
  return groups;
}
