import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { isRoomBlocked } from "../../storage/rooms/rooms.ts";
import { eventsOfRoomsBetween } from "../../storage/rooms/stream-events.ts";
import { membershipChanges } from "../../storage/sync/timelines.ts";
import { accountDataSince, roomAccountDataSince, tagEvent, tagsSince } from "../account-data/streams.ts";
import type { Context } from "../context.ts";
import { presenceContent, presenceSince } from "../presence/streams.ts";
import { presentEvents } from "../present.ts";
import { receiptsSince } from "../receipts/streams.ts";
import type { Requester } from "../requester.ts";
import { currentToken, formatStreamToken, type StreamToken } from "../streams/token.ts";
import { filterForUser } from "../visibility.ts";
import { isWorldReadable } from "../room-access/access.ts";

/** The old /events: everything new since a token as one list; with a room, only of that room, which strangers may peek into. */
export interface EventStreamRequest {
  readonly from: StreamToken | undefined;
  readonly limit: number;
  readonly timeoutMs: number;
  readonly roomId: string | undefined;
  readonly raw: boolean;
}

/** Waits until there is something new, at most `timeoutMs`. @throws MatrixError 403 */
export async function eventStream(ctx: Context, requester: Requester, request: EventStreamRequest, signal: AbortSignal): Promise<Record<string, unknown>> {
  const { userId } = requester;
  if (request.roomId !== undefined && (await isRoomBlocked(ctx.read, request.roomId)))
    throw new MatrixError(403, "M_UNKNOWN", "This room has been blocked on this server");
  const now = (): StreamToken => currentToken(ctx.streams, ctx.typing.serial);
  const { roomIds, peeking } = await roomsToShow(ctx, requester, request.roomId);
  const endSync = requester.isGuest ? undefined : await ctx.presence.beginSync(userId, requester.deviceId, "online");
  // The user's own coming online is no news.
  const start = request.from ?? now();
  const listener = ctx.notifier.listen(userId);
  // Strangers are not told by name that the room moves.
  const stopPeeking = peeking ? ctx.notifier.onAnything(() => listener.wake()) : undefined;
  const deadline = ctx.clock.monotonic() + request.timeoutMs;
  try {
    for (;;) {
      const end = now();
      const { chunk, token } = await newSince(ctx, requester, request, roomIds, peeking, start, end);
      const left = deadline - ctx.clock.monotonic();
      if (chunk.length > 0 || left <= 0 || signal.aborted) return { chunk, start: formatStreamToken(start), end: formatStreamToken(token) };
      await listener.wait(left, signal);
    }
  } finally {
    stopPeeking?.();
    listener.close();
    endSync?.();
  }
}

async function roomsToShow(ctx: Context, requester: Requester, roomId: string | undefined): Promise<{ roomIds: string[]; peeking: boolean }> {
  const own = await ctx.members.roomsOf(requester.userId);
  if (roomId === undefined) return { roomIds: [...own].filter(([, room]) => room.membership === "join").map(([id]) => id), peeking: false };
  if (own.get(roomId)?.membership === "join") return { roomIds: [roomId], peeking: false };
  if (await isWorldReadable(ctx, roomId)) return { roomIds: [roomId], peeking: true };
  throw forbidden("Non-joined access not allowed");
}

async function newSince(
  ctx: Context,
  requester: Requester,
  request: EventStreamRequest,
  roomIds: readonly string[],
  peeking: boolean,
  start: StreamToken,
  end: StreamToken,
): Promise<{ chunk: unknown[]; token: StreamToken }> {
  const { userId } = requester;
  const since = start.room.topological === undefined ? start.room.stream : end.room.stream;
  const [rows, own] = await Promise.all([
    eventsOfRoomsBetween(ctx.read, roomIds, since, end.room.stream, request.limit),
    request.roomId === undefined ? membershipChanges(ctx.read, userId, since, end.room.stream) : [],
  ]);
  const cut = rows.length >= request.limit && rows.length > 0 ? rows.at(-1)!.stream_ordering : end.room.stream;
  const positions = new Map([...rows, ...own].filter((row) => row.stream_ordering <= cut).map((row) => [row.event_id, row.stream_ordering]));
  const ids = [...positions].sort(([, one], [, other]) => one - other).map(([id]) => id);
  const loaded = await ctx.events.get(ids);
  const visible = await filterForUser(ctx, userId, [...loaded.values()], { peeking });
  const at = ctx.clock.now();
  const presence = peeking && requester.isGuest ? [] : await presenceSince(ctx, userId, roomIds, start.presence, end.presence);
  const receipts = await receiptsSince(ctx, userId, roomIds, start.receipt.stream, end.receipt.stream);
  const typing = ctx.typing.changedRooms(roomIds, start.typing, end.typing);
  const data = request.roomId === undefined ? await accountDataChunk(ctx, userId, start, end) : [];
  return {
    chunk: [
      ...(await presentEvents(ctx, requester, visible, { format: request.raw ? "federation" : "client-v1", previous: true })),
      ...presence.map((one) => ({ type: "m.presence", content: presenceContent(one, at, true) })),
      ...[...typing].map(([roomId, userIds]) => ({ type: "m.typing", room_id: roomId, content: { user_ids: userIds } })),
      ...[...receipts].map(([roomId, content]) => ({ type: "m.receipt", room_id: roomId, content })),
      ...data,
    ],
    token: { ...end, room: { stream: cut } },
  };
}

async function accountDataChunk(ctx: Context, userId: string, start: StreamToken, end: StreamToken): Promise<unknown[]> {
  const [global, rooms, tags] = await Promise.all([
    accountDataSince(ctx, userId, start.accountData, end.accountData, false),
    roomAccountDataSince(ctx, userId, start.accountData, end.accountData, undefined, false),
    tagsSince(ctx, userId, start.accountData, end.accountData, undefined),
  ]);
  return [
    ...[...tags].map(([roomId, own]) => ({ ...tagEvent(own), room_id: roomId })),
    ...global.map(({ type, content }) => ({ type, content })),
    ...[...rooms].flatMap(([roomId, entries]) => entries.map(({ type, content }) => ({ type, content, room_id: roomId }))),
  ];
}
