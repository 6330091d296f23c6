import { insertPushActions } from "../../storage/push/actions.ts";
import { type ThreadCounts, unreadCounts as storedCounts, type UnreadCounts } from "../../storage/push/counts.ts";
import { readBounds } from "../../storage/push/crowd-rows.ts";
import type { Context } from "../context.ts";

type Needs = Pick<Context, "config" | "crowds" | "db" | "read" | "transaction">;

/** What a user has not read in these rooms; rooms with nothing unread are left out. */
export async function unreadCounts(ctx: Needs, userId: string, roomIds: readonly string[]): Promise<ReadonlyMap<string, UnreadCounts>> {
  if (!ctx.config.push.enabled || roomIds.length === 0) return new Map();
  const crowded = ctx.crowds.roomsWithNotices(userId, roomIds);
  if (crowded.length === 0) return await storedCounts(ctx.read, userId, roomIds);
  // One snapshot: what is rotated in it is in its summaries, the rest is in memory.
  const [counts, { bounds, rotated }] = await ctx.transaction(
    "get_unread_event_push_actions_by_room",
    async (txn) => await Promise.all([storedCounts(txn, userId, roomIds), readBounds(txn, userId, crowded)]),
    { readOnly: true },
  );
  for (const roomId of crowded) {
    const ofRoom = bounds.filter((bound) => bound.roomId === roomId);
    const unthreaded = Math.max(0, ...ofRoom.filter(({ threadId }) => threadId === undefined).map(({ position }) => position));
    for (const { position, threadId } of ctx.crowds.noticesFor(userId, roomId, Math.max(rotated, unthreaded))) {
      if (ofRoom.some((bound) => bound.threadId === threadId && bound.position >= position)) continue;
      addOne(counts, roomId, threadId);
    }
  }
  return counts;
}

const NONE: ThreadCounts = { notifications: 0, highlights: 0, unread: 0 };

function addOne(counts: Map<string, UnreadCounts>, roomId: string, threadId: string): void {
  const room = counts.get(roomId) ?? { main: NONE, threads: new Map() };
  const old = threadId === "main" ? room.main : (room.threads.get(threadId) ?? NONE);
  const more = { ...old, notifications: old.notifications + 1 };
  counts.set(roomId, threadId === "main" ? { ...room, main: more } : { ...room, threads: new Map([...room.threads, [threadId, more]]) });
}

/**
 * Gives the user rows for what they were told as one of many: before a receipt that does not reach the end of the room (what is left
 * unread is counted by rows), and before notifications are listed.
 */
export async function tellInRows(ctx: Pick<Context, "crowds" | "transaction">, userId: string, roomId?: string, after = 0): Promise<void> {
  const { events, done } = ctx.crowds.rowsFor(userId, roomId, after);
  if (events.length === 0) return;
  await ctx.transaction("add_push_actions", async (txn) => {
    await insertPushActions(txn, events);
    txn.afterCommit(done);
  });
}
