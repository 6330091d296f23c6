import { query, type ReadHandle } from "../database.ts";

/** Joined members of a room with the names and pictures of their member events. */
export async function memberProfiles(h: ReadHandle, roomId: string): Promise<{ user_id: string; display_name: string | null; avatar_url: string | null }[]> {
  return await query(
    h,
    `SELECT member.state_key AS user_id, room_memberships.display_name, room_memberships.avatar_url
       FROM current_state_events AS member JOIN room_memberships ON room_memberships.event_id = member.event_id
      WHERE member.room_id = $1 AND member.type = 'm.room.member' AND member.membership = 'join'`,
    [roomId],
  );
}
