import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { Context } from "../../context.ts";
import type { PartialRooms } from "../partial-rooms.ts";
import { type JoinedServersContext, serversBefore } from "./joined-servers.ts";

export type CatchUpContext = JoinedServersContext & Pick<Context, "config" | "erasedUsers" | "events" | "persister"> & { readonly partialRooms: PartialRooms };

/**
 * What tells a server that was away about a room, given the newest event that it missed: that event when nothing follows it; else the room's
 * newest events that it may see, from which it finds its way back; else that event all the same.
 */
export async function eventsToCatchUp(
  ctx: CatchUpContext,
  destination: string,
  missed: { event_id: string; room_id: string },
  lastSuccessful: number,
): Promise<MatrixEvent[]> {
  const head = await ctx.persister.head(missed.room_id);
  const ids = [...head.storedTips.keys()];
  const newest = await ctx.events.one(missed.event_id);
  const itself = newest === undefined ? [] : [newest];
  if (ids.includes(missed.event_id) || (await ctx.partialRooms.serversOf(missed.room_id)) !== undefined) return itself;
  const visible: MatrixEvent[] = [];
  for (const event of (await ctx.events.get(ids)).values()) {
    if ((event.streamOrdering ?? 0) < lastSuccessful) continue;
    if (!(await serversBefore(ctx, event))?.has(destination)) continue;
    if (getDomain(event.sender) === ctx.config.server.serverName && (await ctx.erasedUsers.among([event.sender])).size > 0) continue;
    visible.push(event);
  }
  return visible.length > 0 ? visible : itself;
}
