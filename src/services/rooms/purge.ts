import { MatrixError } from "../../protocol/errors.ts";
import { deleteHistory, depthOfExtremities } from "../../storage/events/purge-history.ts";
import { deleteRoomRows } from "../../storage/rooms/purge-room.ts";
import {
  deleteMarkedGroups,
  deleteStateGroupsOfRoom,
  markGroupsForDeletion,
  neighbourGroups,
  nextGroupsToDelete,
  referencedGroups,
  unmarkGroups,
} from "../../storage/state/delete-groups.ts";
import type { ReadHandle } from "../../storage/database.ts";
import { localMemberships } from "../../storage/rooms/local-memberships.ts";
import type { Context } from "../context.ts";

/** Groups that nobody uses are kept so long: who is about to store an event may still refer to them. */
const KEEP_GROUPS_MS = 600_000;

/**
 * Deletes a room from the database. May be repeated after a crash.
 * @throws MatrixError 400 while local users are in it, unless forced
 */
export async function purgeRoom(ctx: Context, roomId: string, force: boolean): Promise<void> {
  const log = ctx.log.named("synapse.handlers.pagination");
  if (!force && (await ctx.members.joinedLocal(roomId)).size > 0) throw new MatrixError(400, "M_UNKNOWN", "Users are still joined to this room");
  log.info(`starting purge room_id=${roomId} force=${force}`);
  await ctx.persister.exclusively(roomId, async () => {
    const localUsers = (await localMemberships(ctx.read, roomId)).map((row) => row.userId);
    // Most goes without hindering others; what came meanwhile goes in a second pass, which sees one snapshot.
    await ctx.transaction("purge_room", (txn) => deleteRoomRows(txn, roomId), { isolation: "read committed" });
    await ctx.transaction("purge_room", (txn) => deleteRoomRows(txn, roomId));
    await ctx.transaction("purge_room_state", (txn) => deleteStateGroupsOfRoom(txn, roomId));
    forgetRoom(ctx, roomId, localUsers);
  });
  log.info(`purge complete for room_id ${roomId}`);
}

/** Nothing in memory knows the room any more. */
function forgetRoom(ctx: Context, roomId: string, localUsers: readonly string[]): void {
  ctx.persister.forgetRoom(roomId);
  ctx.state.forgetRoom(roomId);
  ctx.state.forgetGroups();
  ctx.events.forgetRoom(roomId);
  ctx.roomVersions.forgetRoom(roomId);
  ctx.members.forgetRoom(roomId);
  for (const userId of localUsers) ctx.members.forgetUser(userId);
  ctx.unreadCache.forgetRoom(roomId);
}

/**
 * Deletes the history of a room below a depth.
 * @throws MatrixError 400 when that is beyond the newest event
 */
export async function purgeHistory(ctx: Context, roomId: string, below: number | bigint, localToo: boolean): Promise<void> {
  const log = ctx.log.named("synapse.handlers.pagination");
  const { serverName } = ctx.config.server;
  const groups = await ctx.transaction("purge_history", async (txn) => {
    const newest = await depthOfExtremities(txn, roomId);
    if (newest !== undefined && newest < below) throw new MatrixError(400, "M_UNKNOWN", "topological_ordering is greater than forward extremities");
    const { deleted, outliers, stateGroups } = await deleteHistory(txn, roomId, below, { serverName, localToo });
    const unused = await unreferenced(txn, stateGroups);
    if (unused.length > 0) await markGroupsForDeletion(txn, unused, ctx.clock.now());
    txn.afterCommit(() => {
      for (const id of [...deleted, ...outliers]) ctx.events.forget(id);
      ctx.state.forgetGroups();
      ctx.persister.forgetRoom(roomId);
      ctx.unreadCache.forgetRoom(roomId);
      log.info(`[purge] of ${roomId}: ${deleted.length} events deleted, ${outliers.length} kept as outliers`);
    });
    return unused;
  });
  log.info(`[purge] ${groups.length} state groups can be deleted`);
}

/** Of the groups that events had, and those around them, the ones that no event has any more. */
async function unreferenced(h: ReadHandle, groups: readonly number[]): Promise<number[]> {
  const seen = new Set(groups);
  const unused: number[] = [];
  for (let search = [...seen]; search.length > 0;) {
    const inUse = await referencedGroups(h, search);
    const free = search.filter((group) => !inUse.has(group));
    unused.push(...free);
    search = (await neighbourGroups(h, free)).filter((group) => !seen.has(group));
    for (const group of search) seen.add(group);
  }
  return unused;
}

/** Deletes state groups that were noted for deletion ten minutes ago and are still not in use; called each minute. */
export async function deleteUnusedGroups(ctx: Context, signal?: AbortSignal): Promise<void> {
  const before = ctx.clock.now() - KEEP_GROUPS_MS;
  while (signal?.aborted !== true) {
    const next = await nextGroupsToDelete(ctx.read, before);
    if (next === undefined) return;
    const { groups } = next;
    const progress = await ctx.transaction("purge_unreferenced_state_groups", async (txn) => {
      const inUse = await referencedGroups(txn, [...groups.keys()]);
      if (inUse.size > 0) await unmarkGroups(txn, [...inUse]);
      const unused = new Map([...groups].filter(([group]) => !inUse.has(group)));
      const gone = unused.size === 0 ? [] : await deleteMarkedGroups(txn, unused, before);
      txn.afterCommit(() => ctx.state.forgetGroups());
      return gone.length + inUse.size;
    });
    if (progress === 0) return;
  }
}
