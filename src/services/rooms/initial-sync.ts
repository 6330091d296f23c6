import { MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { positionOfEvent } from "../../storage/rooms/pagination.ts";
import { publicRoomsAmong, isRoomBlocked } from "../../storage/rooms/rooms.ts";
import { latestByDepth } from "../../storage/sync/timelines.ts";
import { accountDataSince, roomAccountDataSince, tagEvent, tagsSince } from "../account-data/streams.ts";
import type { Context } from "../context.ts";
import { presenceContent, presenceSince } from "../presence/streams.ts";
import { presentEvent, presentEvents } from "../present.ts";
import { receiptsSince } from "../receipts/streams.ts";
import type { Requester } from "../requester.ts";
import { currentToken, formatStreamToken, START_TOKEN, type StreamToken } from "../streams/token.ts";
import { filterForUser } from "../visibility.ts";
import { requireReadAccess } from "../room-access/access.ts";

/** The old /initialSync of one room and of all (client-server API r0; clients of today use /sync). */
type Needs = Pick<
  Context,
  | "config"
  | "modules"
  | "read"
  | "clock"
  | "events"
  | "state"
  | "members"
  | "ignoredUsers"
  | "erasedUsers"
  | "accounts"
  | "isServerAdmin"
  | "streams"
  | "typing"
  | "presence"
  | "changes"
>;

/** A room's newest messages, its state, and what the user has stored for it. @throws MatrixError 403 */
export async function roomInitialSync(ctx: Needs, requester: Requester, roomId: string, limit: number): Promise<Record<string, unknown>> {
  if (await isRoomBlocked(ctx.read, roomId)) throw new MatrixError(403, "M_UNKNOWN", "This room has been blocked on this server");
  const access = await requireReadAccess(ctx, requester, roomId, { departed: true });
  const now = currentToken(ctx.streams, ctx.typing.serial);
  const own = await ownData(ctx, requester.userId, roomId);
  if (access.membership === "leave") {
    const leave = await positionOfEvent(ctx.read, access.eventId!);
    const end: StreamToken = { ...START_TOKEN, room: { stream: leave?.stream ?? 0 } };
    return {
      membership: "leave",
      room_id: roomId,
      messages: await latestMessages(ctx, requester, roomId, limit, end, false),
      state: await presentEvents(ctx, requester, await stateAfter(ctx, access.eventId!)),
      presence: [],
      receipts: [],
      account_data: own,
    };
  }
  const peeking = access.eventId === undefined;
  const [state, receipts] = await Promise.all([ctx.state.current(roomId), receiptsSince(ctx, requester.userId, [roomId], undefined, now.receipt.stream)]);
  const joined = await ctx.members.joined(roomId);
  const presence = ctx.presence.enabled ? [...(await ctx.presence.get(joined)).values()] : [];
  const at = ctx.clock.now();
  return {
    room_id: roomId,
    messages: await latestMessages(ctx, requester, roomId, limit, now, peeking),
    state: await presentEvents(ctx, requester, [...state.values()]),
    presence: presence.map((one) => ({ type: "m.presence", content: presenceContent(one, at, true) })),
    receipts: [...receipts].map(([id, content]) => ({ type: "m.receipt", room_id: id, content })),
    account_data: own,
    ...(peeking ? {} : { membership: "join" }),
  };
}

const ROOMS_AT_ONCE = 5;

/** All rooms of the user that way, with presence, receipts and account data. */
export async function initialSync(
  ctx: Needs,
  requester: Requester,
  options: { limit: number; archived: boolean; raw: boolean },
): Promise<Record<string, unknown>> {
  const { userId } = requester;
  const now = currentToken(ctx.streams, ctx.typing.serial);
  const rooms = [...(await ctx.members.roomsOf(userId))].filter(
    ([, room]) => room.membership === "invite" || room.membership === "join" || (options.archived && room.membership === "leave" && !room.forgotten),
  );
  const joined = rooms.filter(([, room]) => room.membership === "join").map(([roomId]) => roomId);
  const [presence, receipts, global, listed] = await Promise.all([
    presenceSince(ctx, userId, joined, undefined, now.presence),
    receiptsSince(ctx, userId, joined, undefined, now.receipt.stream),
    accountDataSince(ctx, userId, undefined, now.accountData, ctx.config.experimental.msc3391Enabled),
    publicRoomsAmong(
      ctx.read,
      rooms.map(([roomId]) => roomId),
    ),
  ]);
  const format = options.raw ? "federation" : "client-v1";
  const describe = async ([roomId, room]: (typeof rooms)[number]): Promise<Record<string, unknown>> => {
    const entry: Record<string, unknown> = { room_id: roomId, membership: room.membership, visibility: listed.has(roomId) ? "public" : "private" };
    if (room.membership === "invite") {
      const invite = await ctx.events.one(room.eventId);
      return { ...entry, inviter: room.sender, ...(invite === undefined ? {} : { invite: await presentEvent(ctx, requester, invite, { format }) }) };
    }
    const end: StreamToken = room.membership === "join" ? now : { ...now, room: { stream: room.streamOrdering } };
    const state = room.membership === "join" ? [...(await ctx.state.current(roomId)).values()] : await stateAfter(ctx, room.eventId);
    return {
      ...entry,
      messages: await latestMessages(ctx, requester, roomId, options.limit, end, false, format),
      state: await presentEvents(ctx, requester, state, { format }),
      account_data: await ownData(ctx, userId, roomId),
    };
  };
  const entries: Record<string, unknown>[] = [];
  // A few at a time: one request must not take all connections.
  for (let n = 0; n < rooms.length; n += ROOMS_AT_ONCE) entries.push(...(await Promise.all(rooms.slice(n, n + ROOMS_AT_ONCE).map(describe))));
  const at = ctx.clock.now();
  return {
    rooms: entries,
    presence: presence.map((one) => ({ type: "m.presence", content: presenceContent(one, at, true) })),
    account_data: global.map(({ type, content }) => ({ type, content })),
    receipts: [...receipts].map(([id, content]) => ({ type: "m.receipt", room_id: id, content })),
    end: formatStreamToken(now),
  };
}

async function latestMessages(
  ctx: Needs,
  requester: Requester,
  roomId: string,
  limit: number,
  end: StreamToken,
  peeking: boolean,
  format: "client-v1" | "federation" = "client-v1",
): Promise<{ chunk: unknown; start: string; end: string }> {
  const rows = await latestByDepth(ctx.read, [{ roomId, after: undefined, upTo: end.room.stream }], limit);
  const loaded = await ctx.events.get(rows.map((row) => row.event_id));
  const events = rows.toReversed().flatMap((row) => loaded.get(row.event_id) ?? []);
  const visible = await filterForUser(ctx, requester.userId, events, { peeking });
  const first = rows.at(-1);
  const start: StreamToken = first === undefined ? end : { ...end, room: { topological: first.topological_ordering, stream: first.stream_ordering - 1 } };
  return { chunk: await presentEvents(ctx, requester, visible, { format, previous: true }), start: formatStreamToken(start), end: formatStreamToken(end) };
}

async function stateAfter(ctx: Needs, eventId: string): Promise<MatrixEvent[]> {
  const state = (await ctx.state.afterEvents([eventId])).get(eventId);
  return state === undefined ? [] : [...(await ctx.events.get(state.values())).values()];
}

/** Tags and account data of the user for a room. */
async function ownData(ctx: Needs, userId: string, roomId: string): Promise<unknown[]> {
  const [tags, data] = await Promise.all([
    tagsSince(ctx, userId, undefined, 0, [roomId]),
    roomAccountDataSince(ctx, userId, undefined, 0, [roomId], ctx.config.experimental.msc3391Enabled),
  ]);
  const own = tags.get(roomId);
  return [...(own === undefined ? [] : [tagEvent(own)]), ...(data.get(roomId) ?? []).map(({ type, content }) => ({ type, content }))];
}
