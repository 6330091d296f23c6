import { query, type ReadHandle } from "../database.ts";

/** Rooms in whose current state both users are joined. */
export async function roomsInCommon(h: ReadHandle, userId: string, otherUserId: string): Promise<string[]> {
  const rows = await query<{ room_id: string }>(
    h,
    `SELECT one.room_id
       FROM current_state_events AS one
       JOIN current_state_events AS other ON other.room_id = one.room_id AND other.type = 'm.room.member' AND other.state_key = $2 AND other.membership = 'join'
      WHERE one.type = 'm.room.member' AND one.state_key = $1 AND one.membership = 'join'`,
    [userId, otherUserId],
  );
  return rows.map((row) => row.room_id);
}
