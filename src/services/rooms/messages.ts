import type { MatrixEvent } from "../../protocol/event/event.ts";
import { stateKeyOf } from "../../protocol/event/event.ts";
import { depthAtStream, highestDepth, positionOfEvent, timelinePage, type TimelineRow } from "../../storage/rooms/pagination.ts";
import type { Context } from "../context.ts";
import { type Bundles, bundleAggregations, noBundles } from "../relations/bundle.ts";
import type { Requester } from "../requester.ts";
import { formatStreamToken, type RoomPosition, START_TOKEN, type StreamToken } from "../streams/token.ts";
import { filterForUser, type VisibleEvent } from "../visibility.ts";
import { type RoomAccess, requireReadAccess, visibilityFor } from "../room-access/access.ts";
import type { RoomEventFilter } from "./event-filter.ts";

/** What a client says about the page that it wants. */
export interface Pagination {
  readonly from: StreamToken | undefined;
  readonly to: StreamToken | undefined;
  readonly backwards: boolean;
  readonly limit: number;
}

export interface MessagesPage {
  readonly events: readonly VisibleEvent[];
  readonly bundles: Bundles;
  readonly start: string;
  /** undefined: nothing follows. */
  readonly end: string | undefined;
  /** Member events of the senders, when members are loaded lazily. */
  readonly state: readonly MatrixEvent[] | undefined;
}

type Needs = Pick<
  Context,
  "config" | "read" | "clock" | "events" | "state" | "members" | "ignoredUsers" | "erasedUsers" | "accounts" | "streams" | "remoteRooms"
>;

/** Depths missing between the events of a page, above which history is fetched from other servers before answering. */
const MANY_GAPS = 3;

/**
 * A page of a room's timeline (client-server API, "Paginating events"). Those who left see what was there until they left.
 * @throws MatrixError 403
 */
export async function roomMessages(
  ctx: Needs,
  requester: Requester,
  roomId: string,
  pagination: Pagination,
  filter: RoomEventFilter | undefined,
  options: { asAdmin?: boolean } = {},
): Promise<MessagesPage> {
  const access = options.asAdmin ? undefined : await requireReadAccess(ctx, requester, roomId, { departed: true });
  const asked = pagination.from ?? (await defaultStart(ctx, roomId, pagination.backwards));
  const start = await boundByLeave(ctx, roomId, pagination, access, asked);

  const read = (): Promise<Page> => readPage(ctx, roomId, pagination, start.room, filter);
  let page = await read();
  if (pagination.backwards && wantsHistory(page, pagination.limit)) {
    const depth = asked.room.topological ?? (await depthAtStream(ctx.read, roomId, asked.room.stream));
    if (await ctx.remoteRooms.backfill(roomId, depth, pagination.limit)) page = await read();
  }
  if (page.rows.length === 0 && pagination.limit > 0)
    return { events: [], bundles: noBundles, start: formatStreamToken(start), end: undefined, state: undefined };

  const end = formatStreamToken({ ...start, room: page.next });
  const wanted = filter === undefined ? page.events : page.events.filter(filter.accepts);
  const visible = options.asAdmin
    ? wanted.map((event) => ({ event, membership: undefined }))
    : await filterForUser(ctx, requester.userId, wanted, visibilityFor(access!));
  if (visible.length === 0) return { events: [], bundles: noBundles, start: formatStreamToken(start), end, state: undefined };
  const [bundles, state] = await Promise.all([
    bundleAggregations(
      ctx,
      requester.userId,
      visible.map((item) => item.event),
    ),
    filter?.lazyLoadMembers ? sendersAt(ctx, visible) : undefined,
  ]);
  return { events: visible, bundles, start: formatStreamToken(start), end, state };
}

/** Where a client without a token begins: before everything, or at the newest event. */
async function defaultStart(ctx: Needs, roomId: string, backwards: boolean): Promise<StreamToken> {
  if (!backwards) return START_TOKEN;
  return { ...START_TOKEN, room: { stream: ctx.streams.events.currentToken(), topological: await highestDepth(ctx.read, roomId) } };
}

/** Those who left page back from their leave event, not from what came later. */
async function boundByLeave(ctx: Needs, roomId: string, pagination: Pagination, access: RoomAccess | undefined, asked: StreamToken): Promise<StreamToken> {
  if (!pagination.backwards || access?.membership !== "leave" || access.eventId === undefined) return asked;
  const leave = await positionOfEvent(ctx.read, access.eventId);
  if (leave === undefined) return asked;
  const depth = asked.room.topological ?? (await depthAtStream(ctx.read, roomId, asked.room.stream));
  return leave.topological < depth ? { ...asked, room: { stream: leave.stream, topological: leave.topological } } : asked;
}

interface Page {
  readonly rows: readonly TimelineRow[];
  /** Those of the rows that could be read. */
  readonly events: readonly MatrixEvent[];
  /** Where the next page begins. */
  readonly next: RoomPosition;
}

async function readPage(ctx: Needs, roomId: string, pagination: Pagination, from: RoomPosition, filter: RoomEventFilter | undefined): Promise<Page> {
  const rows = await timelinePage(ctx.read, {
    roomId,
    backwards: pagination.backwards,
    from,
    to: pagination.to?.room,
    filter: filter?.timeline,
    limit: pagination.limit,
  });
  const loaded = await ctx.events.get(rows.map((row) => row.event_id));
  const last = rows.at(-1);
  return {
    rows,
    events: rows.flatMap((row) => loaded.get(row.event_id) ?? []),
    // A position is a place between events: paging back goes on below the last one.
    next:
      last === undefined ? from : { topological: last.topological_ordering, stream: pagination.backwards ? last.stream_ordering - 1 : last.stream_ordering },
  };
}

/** True when a page has holes, or is short: other servers may have more. */
function wantsHistory(page: Page, limit: number): boolean {
  if (page.rows.length < limit) return true;
  const depths = [...new Set(page.rows.map((row) => Number(row.topological_ordering)))].sort((one, other) => one - other);
  let gaps = 0;
  for (let i = 1; i < depths.length; i++) {
    const step = depths[i]! - depths[i - 1]!;
    if (step > 2) return true;
    if (step > 1) gaps++;
  }
  return gaps > MANY_GAPS;
}

/** Member events of the senders, as of the first event of the page. */
async function sendersAt(ctx: Needs, visible: readonly VisibleEvent[]): Promise<MatrixEvent[] | undefined> {
  const senders = new Set(visible.map((item) => item.event.sender));
  const first = visible[0]!.event.eventId;
  const state = (
    await ctx.state.afterEvents(
      [first],
      [...senders].map((sender): [string, string] => ["m.room.member", sender]),
    )
  ).get(first);
  const ids = [...senders].flatMap((sender) => state?.get(stateKeyOf("m.room.member", sender)) ?? []);
  return ids.length === 0 ? undefined : [...(await ctx.events.get(ids)).values()];
}
