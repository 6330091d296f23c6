import { isJsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import type { Context } from "../context.ts";

/** Rooms that members of certain other rooms may join (specification, "Restricted rooms"). */
export function hasRestrictedJoins(version: RoomVersion, joinRules: MatrixEvent | undefined): boolean {
  const rule = joinRules?.content.join_rule;
  return (version.restrictedJoins && rule === "restricted") || (version.knockRestrictedJoins && rule === "knock_restricted");
}

/** Rooms whose members may join, as the join rules event names them. */
export function allowedRooms(joinRules: MatrixEvent | undefined): string[] {
  const allow = joinRules?.content.allow;
  if (!Array.isArray(allow)) return [];
  const rooms: string[] = [];
  for (const entry of allow) {
    if (isJsonObject(entry) && entry.type === "m.room_membership" && typeof entry.room_id === "string") rooms.push(entry.room_id);
  }
  return rooms;
}

/** True when a local user is joined to one of the rooms. */
export async function isInOneOf(ctx: Pick<Context, "members">, userId: string, roomIds: readonly string[]): Promise<boolean> {
  if (roomIds.length === 0) return false;
  const own = await ctx.members.roomsOf(userId);
  return roomIds.some((roomId) => own.get(roomId)?.membership === "join");
}
