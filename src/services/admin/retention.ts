import { lastEventReceivedBefore } from "../../storage/events/purge-history.ts";
import { roomsKeptFor } from "../../storage/rooms/retention.ts";
import type { Context } from "../context.ts";
import { purgeHistory } from "../rooms/purge.ts";
import { PURGE_ROOM, SHUTDOWN_AND_PURGE_ROOM } from "./delete-room.ts";
import { deleteOldLocalMedia, deleteOldRemoteMedia } from "./media.ts";

/** Rooms that a purge job looks after: those whose longest lifetime (milliseconds) is above the one and at most the other. */
export interface PurgeRange {
  readonly shortestMaxLifetimeMs: number | undefined;
  readonly longestMaxLifetimeMs: number | undefined;
}

/**
 * Deletes what is older than the room, or else the server's default policy, lets messages live (MSC1763; option `retention`). A lifetime
 * that the server does not allow is taken for the nearest that it does. The newest event before the limit stays, as in Synapse.
 */
export async function purgeByRetention(ctx: Context, range: PurgeRange, signal?: AbortSignal): Promise<void> {
  const { defaultMaxLifetimeMs, allowedLifetimeMinMs, allowedLifetimeMaxMs } = ctx.config.retention;
  const log = ctx.log.named("synapse.handlers.pagination");
  const rooms = await roomsKeptFor(ctx.read, {
    shortest: range.shortestMaxLifetimeMs,
    longest: range.longestMaxLifetimeMs,
    withoutPolicy: defaultMaxLifetimeMs !== undefined && isWithin(defaultMaxLifetimeMs, range),
  });
  for (const [roomId, own] of rooms) {
    if (signal?.aborted === true) return;
    const wanted = own ?? defaultMaxLifetimeMs!;
    const lifetime = Math.min(Math.max(wanted, allowedLifetimeMinMs ?? 0), allowedLifetimeMaxMs ?? Infinity);
    if ((await ctx.tasks.find({ actions: [PURGE_ROOM, SHUTDOWN_AND_PURGE_ROOM], resourceId: roomId, statuses: ["active"] })).length > 0) continue;
    const position = await lastEventReceivedBefore(ctx.read, roomId, ctx.clock.now() - lifetime);
    if (position === undefined) continue;
    try {
      await purgeHistory(ctx, roomId, position.topological, true);
    } catch (error) {
      log.error(`[purge] of ${roomId} failed`, { error });
    }
  }
}

function isWithin(lifetime: number, { shortestMaxLifetimeMs, longestMaxLifetimeMs }: PurgeRange): boolean {
  return (shortestMaxLifetimeMs === undefined || lifetime > shortestMaxLifetimeMs) && (longestMaxLifetimeMs === undefined || lifetime <= longestMaxLifetimeMs);
}

/** Deletes media that nobody used for as long as `media_retention` says: avatars, protected and quarantined files stay. */
export async function applyMediaRetention(ctx: Context): Promise<void> {
  const { localMediaLifetimeMs, remoteMediaLifetimeMs } = ctx.config.media;
  if (remoteMediaLifetimeMs !== undefined) await deleteOldRemoteMedia(ctx, ctx.clock.now() - remoteMediaLifetimeMs);
  if (localMediaLifetimeMs !== undefined) await deleteOldLocalMedia(ctx, { before: ctx.clock.now() - localMediaLifetimeMs, largerThan: 0, keepProfiles: true });
}
