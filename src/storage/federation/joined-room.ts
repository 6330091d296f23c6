import { execute, type Txn } from "../database.ts";

/** The room that this server is joining, of the version that its create event has: an invite may have lied about it. */
export async function registerJoinedRoom(txn: Txn, room: { roomId: string; version: string; creator: string }): Promise<void> {
  await execute(
    txn,
    `INSERT INTO rooms AS stored (room_id, creator, is_public, room_version, has_auth_chain_index)
     VALUES ($1, $3, false, $2, NOT EXISTS (SELECT FROM events AS e WHERE e.room_id = $1))
     ON CONFLICT (room_id) DO UPDATE SET room_version = EXCLUDED.room_version,
       creator = CASE WHEN COALESCE(stored.creator, '') = '' THEN EXCLUDED.creator ELSE stored.creator END
     WHERE stored.room_version IS DISTINCT FROM EXCLUDED.room_version OR COALESCE(stored.creator, '') = ''`,
    [room.roomId, room.version, room.creator],
  );
}

/** The newest events from when this server was in the room before: the room has gone on without it. */
export async function removeExtremities(txn: Txn, roomId: string): Promise<void> {
  await execute(txn, `DELETE FROM event_forward_extremities WHERE room_id = $1`, [roomId]);
}
