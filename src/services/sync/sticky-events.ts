import { stickyEventsInRooms } from "../../storage/sync/sticky-events.ts";
import type { Context } from "../context.ts";
import type { StreamToken } from "../streams/token.ts";
import { filterForUser, type VisibleEvent } from "../visibility.ts";

const MAX_STICKY_EVENTS = 100;

/** Sticky events (MSC4354) by room, in the order of their stream, and the position that an answer with them leads to. */
export interface StickyEvents {
  readonly byRoom: ReadonlyMap<string, readonly VisibleEvent[]>;
  readonly position: number;
}

/**
 * What became sticky since the last answer in the user's rooms, and still is; seen by who is in the room, whatever the history visibility says.
 * No more than 100 at once: the position is that of the last one, so that the next answer goes on there.
 */
export async function stickyEventsSince(
  ctx: Pick<Context, "read" | "config" | "clock" | "events"> & Parameters<typeof filterForUser>[0],
  userId: string,
  since: StreamToken | undefined,
  now: StreamToken,
  roomIds: readonly string[],
): Promise<StickyEvents> {
  const from = since?.stickyEvents ?? 0;
  const upTo = now.stickyEvents;
  const none = { byRoom: new Map<string, VisibleEvent[]>(), position: upTo };
  if (!ctx.config.experimental.msc4354Enabled || roomIds.length === 0 || from >= upTo) return none;
  const found = await stickyEventsInRooms(ctx.read, roomIds, { since: from, upTo, now: ctx.clock.now() }, MAX_STICKY_EVENTS);
  if (found.length === 0) return none;
  const ids = found.map(({ eventId }) => eventId);
  const events = await ctx.events.get(ids);
  const visible = await filterForUser(
    ctx,
    userId,
    ids.flatMap((id) => events.get(id) ?? []),
    { always: new Set(ids) },
  );
  const byRoom = new Map<string, VisibleEvent[]>();
  for (const item of visible) byRoom.set(item.event.roomId, [...(byRoom.get(item.event.roomId) ?? []), item]);
  return { byRoom, position: found.length < MAX_STICKY_EVENTS ? upTo : found.at(-1)!.streamId };
}
