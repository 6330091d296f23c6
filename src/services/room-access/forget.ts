import { signals } from "../../lib/signals.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { getDomain } from "../../protocol/ids.ts";
import { forgetRoom, forgetRooms, forgetterPosition, forgottenByAll, setForgetterPosition } from "../../storage/rooms/forget.ts";
import type { Txn } from "../../storage/database.ts";
import { stateDeltas } from "../../storage/rooms/state-deltas.ts";
import type { Context } from "../context.ts";

type Needs = Pick<Context, "config" | "read" | "transaction" | "events" | "state" | "members" | "streams" | "clock" | "tasks">;

/** Forgets a room that the user has left: it is in no list any more. @throws MatrixError 400 while the user is in it */
export async function forget(ctx: Needs, userId: string, roomId: string, options: { schedulePurge?: boolean } = {}): Promise<void> {
  const membership = (await ctx.state.currentEvent(roomId, "m.room.member", userId))?.membership;
  if (membership !== undefined && membership !== "leave" && membership !== "ban") throw new MatrixError(400, "M_UNKNOWN", `User ${userId} in room ${roomId}`);
  await ctx.transaction("forget_membership", async (txn) => {
    await forgetRoom(txn, userId, roomId);
    if (options.schedulePurge !== false) await purgeWhenForgotten(ctx, txn, [roomId]);
    txn.afterCommit(() => ctx.members.forgot(userId, roomId));
  });
}

/** Rooms that everybody here has forgotten are purged after a time, where the config says so. */
async function purgeWhenForgotten(ctx: Needs, txn: Txn, roomIds: readonly string[]): Promise<void> {
  const after = ctx.config.server.forgottenRoomRetentionPeriodMs;
  if (after === undefined || after === 0) return;
  for (const roomId of await forgottenByAll(txn, roomIds))
    await ctx.tasks.schedule(txn, { action: "purge_room", resourceId: roomId, params: null, at: ctx.clock.now() + after });
}

const BATCH = 1000;

/**
 * With `forget_rooms_on_leave`, forgets the rooms that local users have left, following the changes of rooms' current state from the position
 * stored in `room_forgetter_stream_pos`. Without it only the position follows.
 */
export async function forgetRoomsOnLeave(ctx: Needs, signal?: AbortSignal): Promise<void> {
  let position = await forgetterPosition(ctx.read);
  for (;;) {
    const upTo = ctx.streams.events.currentToken();
    signals.positionReached.emit({ name: "room_forgetter", position });
    if (position >= upTo || signal?.aborted) return;
    if (!ctx.config.room.forgetRoomsOnLeave) {
      await ctx.transaction("update_room_forgetter_stream_pos", (txn) => setForgetterPosition(txn, upTo));
      signals.positionReached.emit({ name: "room_forgetter", position: upTo });
      return;
    }
    const batch = await stateDeltas(ctx.read, position, upTo, BATCH);
    const changes = batch.deltas.filter((delta) => delta.type === "m.room.member" && getDomain(delta.stateKey) === ctx.config.server.serverName);
    const events = await ctx.events.get(changes.flatMap((delta) => [delta.eventId, delta.prevEventId].filter((id) => id !== null)));
    const left = changes.filter((delta) => {
      const [before, after] = [delta.prevEventId, delta.eventId].map((id) => (id === null ? undefined : events.get(id)?.membership));
      return before === "join" && after !== "join";
    });
    const gone: { userId: string; roomId: string }[] = [];
    for (const { stateKey: userId, roomId } of left) {
      // Who is back meanwhile has not forgotten it.
      const now = (await ctx.members.roomsOf(userId)).get(roomId)?.membership;
      if (now === undefined || now === "leave" || now === "ban") gone.push({ userId, roomId });
    }
    await ctx.transaction("forget_membership", async (txn) => {
      await forgetRooms(
        txn,
        gone.map((one) => one.userId),
        gone.map((one) => one.roomId),
      );
      await purgeWhenForgotten(ctx, txn, [...new Set(gone.map((one) => one.roomId))]);
      await setForgetterPosition(txn, batch.position);
      txn.afterCommit(() => {
        for (const { userId, roomId } of gone) ctx.members.forgot(userId, roomId);
      });
    });
    position = batch.position;
  }
}
