import { notFound } from "../../protocol/errors.ts";
import { eventNearTime, isBesideBackwardGap, isBesideForwardGap } from "../../storage/rooms/pagination.ts";
import type { Context } from "../context.ts";

type Needs = Pick<Context, "read" | "events" | "remoteRooms">;

/**
 * The event closest to a time (milliseconds) in a direction (MSC3030). Where history is missing beside the one that we have, other servers
 * are asked. The caller has checked that the user may read the room.
 * @throws MatrixError 404
 */
export async function eventForTime(ctx: Needs, roomId: string, timestamp: number, backwards: boolean): Promise<{ eventId: string; originServerTs: number }> {
  const local = await eventNearTime(ctx.read, roomId, timestamp, backwards);
  if (local === undefined || (await isBesideGap(ctx, roomId, local.event_id, backwards))) {
    const remote = await ctx.remoteRooms.eventNearTime({ roomId, timestamp, backwards });
    if (remote !== undefined && (local === undefined || Math.abs(remote.originServerTs - timestamp) < Math.abs(local.origin_server_ts - timestamp)))
      return remote;
  }
  if (local === undefined) throw notFound(`Unable to find event from ${timestamp} in direction ${backwards ? "Direction.BACKWARDS" : "Direction.FORWARDS"}`);
  return { eventId: local.event_id, originServerTs: local.origin_server_ts };
}

async function isBesideGap(ctx: Needs, roomId: string, eventId: string, backwards: boolean): Promise<boolean> {
  if (backwards) return await isBesideForwardGap(ctx.read, roomId, eventId);
  const event = await ctx.events.one(eventId);
  return event !== undefined && (await isBesideBackwardGap(ctx.read, roomId, [eventId, ...event.prevEventIds]));
}
