import { query, queryOne, type ReadHandle } from "../database.ts";

/** Whether both users are joined to some room at this moment. */
export async function shareRoom(h: ReadHandle, userId: string, other: string): Promise<boolean> {
  const row = await queryOne<{ shared: boolean }>(
    h,
    `SELECT EXISTS (
       SELECT FROM current_state_events AS own JOIN current_state_events AS theirs ON theirs.room_id = own.room_id
       WHERE own.type = 'm.room.member' AND own.state_key = $1 AND own.membership = 'join'
         AND theirs.type = 'm.room.member' AND theirs.state_key = $2 AND theirs.membership = 'join'
     ) AS shared`,
    [userId, other],
  );
  return row!.shared;
}

/** Local users joined to a room in which the user is, with the user. */
export async function getLocalUsersSharingRooms(h: ReadHandle, userId: string): Promise<Set<string>> {
  const rows = await query<{ userId: string }>(
    h,
    `SELECT DISTINCT theirs.user_id AS "userId"
     FROM local_current_membership AS own JOIN local_current_membership AS theirs ON theirs.room_id = own.room_id
     WHERE own.user_id = $1 AND own.membership = 'join' AND theirs.membership = 'join'`,
    [userId],
  );
  return new Set([userId, ...rows.map((row) => row.userId)]);
}

/** Local users who are in one of these rooms, if the user is in it too. */
export async function getLocalUsersInRoomsOf(h: ReadHandle, userId: string, roomIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ userId: string }>(
    h,
    `SELECT DISTINCT theirs.user_id AS "userId"
     FROM local_current_membership AS own JOIN local_current_membership AS theirs ON theirs.room_id = own.room_id
     WHERE own.user_id = $1 AND own.membership = 'join' AND theirs.membership = 'join' AND own.room_id = ANY($2)`,
    [userId, roomIds],
  );
  return new Set(rows.map((row) => row.userId));
}
