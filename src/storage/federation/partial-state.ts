import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Rooms whose state is not wholly known yet, with the servers that were in them when this one joined. */
export async function serversOfPartialRooms(read: ReadHandle): Promise<Map<string, string[]>> {
  const rows = await query<{ room_id: string; servers: string[] }>(
    read,
    `SELECT p.room_id, array_remove(array_agg(s.server_name), NULL) AS servers
     FROM partial_state_rooms AS p LEFT JOIN partial_state_rooms_servers AS s ON s.room_id = p.room_id
     GROUP BY p.room_id`,
  );
  return new Map(rows.map((row) => [row.room_id, row.servers]));
}

/** Events of a room that were stored with partial state, oldest first. */
export async function partialStateEvents(read: ReadHandle, roomId: string, limit: number): Promise<string[]> {
  const rows = await query<{ event_id: string }>(
    read,
    `SELECT p.event_id FROM partial_state_events AS p JOIN events AS e ON e.event_id = p.event_id
     WHERE p.room_id = $1 ORDER BY e.stream_ordering LIMIT $2`,
    [roomId, limit],
  );
  return rows.map((row) => row.event_id);
}

/** The server through which a room was joined; undefined where that is not on record. */
export async function joinedVia(read: ReadHandle, roomId: string): Promise<string | undefined> {
  return (
    (await queryOne<{ joined_via: string | null }>(read, `SELECT joined_via FROM partial_state_rooms WHERE room_id = $1`, [roomId]))?.joined_via ?? undefined
  );
}

/** The state of an event is known now: it is in that group, and rejected or not. */
export async function completeEvent(
  txn: Txn,
  event: { eventId: string; group: number; rejection: string | undefined; rejectionChanged: boolean; streamId: number; instanceName: string; now: number },
): Promise<void> {
  const { eventId } = event;
  await execute(txn, `UPDATE event_to_state_groups SET state_group = $2 WHERE event_id = $1`, [eventId, event.group]);
  if (event.rejectionChanged) {
    await execute(txn, `UPDATE events SET rejection_reason = $2 WHERE event_id = $1`, [eventId, event.rejection ?? null]);
    if (event.rejection === undefined) await execute(txn, `DELETE FROM rejections WHERE event_id = $1`, [eventId]);
    else {
      await execute(
        txn,
        `INSERT INTO rejections (event_id, reason, last_check) VALUES ($1, $2, $3)
         ON CONFLICT (event_id) DO UPDATE SET reason = EXCLUDED.reason, last_check = EXCLUDED.last_check`,
        [eventId, event.rejection, String(event.now)],
      );
    }
  }
  await execute(txn, `DELETE FROM partial_state_events WHERE event_id = $1`, [eventId]);
  await execute(
    txn,
    `INSERT INTO un_partial_stated_event_stream (stream_id, instance_name, event_id, rejection_status_changed) VALUES ($1, $2, $3, $4)
     ON CONFLICT (event_id) DO NOTHING`,
    [event.streamId, event.instanceName, eventId, event.rejectionChanged],
  );
}

/** The state of a room is known now. False, with nothing written, while events with partial state are left. */
export async function completeRoom(txn: Txn, roomId: string, streamId: number, instanceName: string): Promise<boolean> {
  // Whoever stores one more such event waits for this lock (foreign key), and then finds the room complete.
  await query(txn, `SELECT FROM partial_state_rooms WHERE room_id = $1 FOR UPDATE`, [roomId]);
  if ((await queryOne(txn, `SELECT FROM partial_state_events WHERE room_id = $1 LIMIT 1`, [roomId])) !== undefined) return false;
  await execute(txn, `DELETE FROM partial_state_rooms_servers WHERE room_id = $1`, [roomId]);
  await execute(txn, `DELETE FROM partial_state_rooms WHERE room_id = $1`, [roomId]);
  await execute(txn, `INSERT INTO un_partial_stated_room_stream (stream_id, instance_name, room_id) VALUES ($1, $2, $3)`, [streamId, instanceName, roomId]);
  // Updates from before the first of the rooms that are left concern nobody any more.
  await execute(
    txn,
    `DELETE FROM device_lists_remote_pending AS d
     WHERE d.stream_id <= COALESCE((SELECT min(p.device_lists_stream_id) FROM partial_state_rooms AS p), 9223372036854775807)`,
  );
  return true;
}
