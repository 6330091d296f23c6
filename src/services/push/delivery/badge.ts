import { notificationsByRoom } from "../../../storage/push/counts.ts";
import type { Context } from "../../context.ts";

/** The number on the app's icon: invites, and rooms with notifications (or, by `push.group_unread_count_by_room`, the notifications themselves). */
export async function badgeOf(ctx: Pick<Context, "config" | "members" | "read">, userId: string): Promise<number> {
  const [rooms, counts] = await Promise.all([ctx.members.roomsOf(userId), notificationsByRoom(ctx.read, userId)]);
  let badge = 0;
  for (const { membership } of rooms.values()) if (membership === "invite") badge++;
  for (const [roomId, count] of counts) {
    if (count === 0 || rooms.get(roomId)?.membership !== "join") continue;
    badge += ctx.config.push.groupUnreadCountByRoom ? 1 : count;
  }
  return badge;
}
