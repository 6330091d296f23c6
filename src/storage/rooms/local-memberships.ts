import { query, type ReadHandle } from "../database.ts";

/** Local users with a membership in the room, those who left too. */
export async function localMemberships(h: ReadHandle, roomId: string): Promise<{ userId: string; membership: string }[]> {
  return await query(h, `SELECT user_id AS "userId", membership FROM local_current_membership WHERE room_id = $1 ORDER BY user_id`, [roomId]);
}
