import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Marks all memberships of a user in a room as forgotten, also for sliding sync. */
export async function forgetRoom(txn: Txn, userId: string, roomId: string): Promise<void> {
  await execute(txn, "UPDATE room_memberships SET forgotten = 1 WHERE user_id = $1 AND room_id = $2", [userId, roomId]);
  await execute(txn, "UPDATE sliding_sync_membership_snapshots SET forgotten = 1 WHERE user_id = $1 AND room_id = $2", [userId, roomId]);
}

/** The same for many (user, room) pairs, given as two lists of the same length. */
export async function forgetRooms(txn: Txn, userIds: readonly string[], roomIds: readonly string[]): Promise<void> {
  if (userIds.length === 0) return;
  const given = "unnest($1::text[], $2::text[]) AS given (user_id, room_id) WHERE stored.user_id = given.user_id AND stored.room_id = given.room_id";
  await execute(txn, `UPDATE room_memberships AS stored SET forgotten = 1 FROM ${given}`, [userIds, roomIds]);
  await execute(txn, `UPDATE sliding_sync_membership_snapshots AS stored SET forgotten = 1 FROM ${given}`, [userIds, roomIds]);
}

/** Of these rooms, those that every local user who was in them has forgotten. */
export async function forgottenByAll(h: ReadHandle, roomIds: readonly string[]): Promise<string[]> {
  if (roomIds.length === 0) return [];
  const rows = await query<{ room_id: string }>(
    h,
    `SELECT given.room_id FROM unnest($1::text[]) AS given (room_id)
      WHERE NOT EXISTS (SELECT FROM local_current_membership AS own
                          JOIN room_memberships ON room_memberships.event_id = own.event_id
                         WHERE own.room_id = given.room_id AND room_memberships.forgotten = 0)`,
    [roomIds],
  );
  return rows.map((row) => row.room_id);
}

export async function forgetterPosition(h: ReadHandle): Promise<number> {
  return (await queryOne<{ stream_id: number }>(h, "SELECT stream_id FROM room_forgetter_stream_pos"))?.stream_id ?? 0;
}

export async function setForgetterPosition(txn: Txn, position: number): Promise<void> {
  await execute(txn, "UPDATE room_forgetter_stream_pos SET stream_id = $1", [position]);
}
