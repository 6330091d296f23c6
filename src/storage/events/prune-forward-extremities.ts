import { execute, queryOne, type Txn } from "../database.ts";

/** Deletes all forward extremities of a room but the newest; their number, or undefined for a room without any. */
export async function pruneForwardExtremities(txn: Txn, roomId: string): Promise<number | undefined> {
  const newest = await queryOne<{ event_id: string }>(
    txn,
    `SELECT f.event_id FROM event_forward_extremities AS f JOIN events AS e ON e.room_id = f.room_id AND e.event_id = f.event_id
      WHERE f.room_id = $1 ORDER BY e.stream_ordering DESC LIMIT 1`,
    [roomId],
  );
  if (newest === undefined) return undefined;
  return await execute(txn, "DELETE FROM event_forward_extremities WHERE room_id = $1 AND event_id <> $2", [roomId, newest.event_id]);
}
