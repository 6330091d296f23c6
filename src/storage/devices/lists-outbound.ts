import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * How other servers learn of local devices: changes in rooms are converted into `device_lists_outbound_pokes` (one for each server), which
 * the federation sender turns into EDUs; `device_lists_outbound_last_success` says what each server has acknowledged.
 */
export interface RoomChange {
  readonly userId: string;
  readonly deviceId: string;
  readonly roomId: string;
  readonly streamId: number;
}

/** How far changes in rooms have been converted. */
export async function convertedPosition(read: ReadHandle): Promise<{ streamId: number; roomId: string }> {
  const row = await queryOne<{ streamId: number; roomId: string }>(
    read,
    `SELECT stream_id AS "streamId", room_id AS "roomId" FROM device_lists_changes_converted_stream_position`,
  );
  return row ?? { streamId: 0, roomId: "" };
}

export async function setConvertedPosition(txn: Txn, streamId: number, roomId: string, instanceName: string): Promise<void> {
  await execute(txn, `UPDATE device_lists_changes_converted_stream_position SET stream_id = $1, room_id = $2, instance_name = $3`, [
    streamId,
    roomId,
    instanceName,
  ]);
}

/** The next changes to convert, in order, up to a stream position. */
export async function unconvertedChanges(read: ReadHandle, after: { streamId: number; roomId: string }, upTo: number, limit: number): Promise<RoomChange[]> {
  return await query<RoomChange>(
    read,
    `SELECT user_id AS "userId", device_id AS "deviceId", room_id AS "roomId", stream_id AS "streamId" FROM device_lists_changes_in_room
     WHERE (stream_id, room_id) > ($1, $2) AND stream_id <= $3 AND NOT converted_to_destinations ORDER BY stream_id, room_id LIMIT $4`,
    [after.streamId, after.roomId, upTo, limit],
  );
}

/** Later changes of the same device in the same room need no poke of their own: the one that is being made tells the newest state. */
export async function markRedundant(txn: Txn, changes: readonly RoomChange[]): Promise<void> {
  await execute(
    txn,
    `UPDATE device_lists_changes_in_room AS later SET converted_to_destinations = true
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS done (user_id, device_id, room_id, stream_id)
     WHERE later.user_id = done.user_id AND later.device_id = done.device_id AND later.room_id = done.room_id
       AND later.stream_id > done.stream_id AND NOT later.converted_to_destinations`,
    [changes.map((c) => c.userId), changes.map((c) => c.deviceId), changes.map((c) => c.roomId), changes.map((c) => c.streamId)],
  );
}

export interface OutboundPoke {
  readonly destination: string;
  readonly userId: string;
  readonly deviceId: string;
  readonly streamId: number;
}

export async function addOutboundPokes(txn: Txn, pokes: readonly OutboundPoke[], now: number, instanceName: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO device_lists_outbound_pokes (destination, instance_name, stream_id, user_id, device_id, sent, ts, opentracing_context)
     SELECT poke.destination, $5, poke.stream_id, poke.user_id, poke.device_id, false, $6, '{}'
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS poke (destination, user_id, device_id, stream_id)`,
    [pokes.map((p) => p.destination), pokes.map((p) => p.userId), pokes.map((p) => p.deviceId), pokes.map((p) => p.streamId), instanceName, now],
  );
}

/** Pokes for a server at positions in (`after`, `upTo`], oldest first, at most `limit`. */
export async function outboundPokes(read: ReadHandle, destination: string, after: number, upTo: number, limit: number): Promise<OutboundPoke[]> {
  return await query<OutboundPoke>(
    read,
    `SELECT destination, user_id AS "userId", device_id AS "deviceId", stream_id AS "streamId" FROM device_lists_outbound_pokes
     WHERE destination = $1 AND stream_id > $2 AND stream_id <= $3 ORDER BY stream_id LIMIT $4`,
    [destination, after, upTo, limit],
  );
}

/** The last update of each user that the server acknowledged, at most `upTo`; users without are left out. */
export async function lastAcknowledged(read: ReadHandle, destination: string, userIds: readonly string[], upTo: number): Promise<Map<string, number>> {
  const rows = await query<{ user_id: string; stream_id: number }>(
    read,
    `SELECT user_id, max(stream_id) AS stream_id FROM device_lists_outbound_last_success
     WHERE destination = $1 AND user_id = ANY($2::text[]) AND stream_id <= $3 GROUP BY user_id`,
    [destination, userIds, upTo],
  );
  return new Map(rows.map((row) => [row.user_id, row.stream_id]));
}

/** The server has received all pokes up to that position. */
export async function acknowledgePokes(txn: Txn, destination: string, upTo: number): Promise<void> {
  await execute(
    txn,
    `WITH sent AS (DELETE FROM device_lists_outbound_pokes WHERE destination = $1 AND stream_id <= $2 RETURNING user_id, stream_id)
     INSERT INTO device_lists_outbound_last_success (destination, user_id, stream_id)
     SELECT $1, sent.user_id, max(sent.stream_id) FROM sent GROUP BY sent.user_id
     ON CONFLICT (destination, user_id) DO UPDATE SET stream_id = EXCLUDED.stream_id`,
    [destination, upTo],
  );
}

/**
 * For servers that have not been reached since `before` (milliseconds): keeps only the newest poke of each user. Their `last_success` goes
 * too, so that the next update makes them fetch the whole list.
 */
export async function pruneOutboundPokes(txn: Txn, before: number): Promise<number> {
  const row = await queryOne<{ count: number }>(
    txn,
    `WITH stale AS (
       SELECT destination, user_id, max(stream_id) AS stream_id FROM device_lists_outbound_pokes
       GROUP BY destination, user_id HAVING min(ts) < $1 AND count(*) > 1
     ), kept AS (
       SELECT stale.destination, stale.user_id, stale.stream_id, min(newest.device_id) AS device_id
       FROM stale JOIN device_lists_outbound_pokes AS newest
         ON newest.destination = stale.destination AND newest.user_id = stale.user_id AND newest.stream_id = stale.stream_id
       GROUP BY stale.destination, stale.user_id, stale.stream_id
     ), removed AS (
       DELETE FROM device_lists_outbound_pokes AS old USING kept
       WHERE old.destination = kept.destination AND old.user_id = kept.user_id
         AND (old.stream_id < kept.stream_id OR (old.stream_id = kept.stream_id AND old.device_id <> kept.device_id))
       RETURNING 1
     ), forgotten AS (
       DELETE FROM device_lists_outbound_last_success AS success USING kept
       WHERE success.destination = kept.destination AND success.user_id = kept.user_id
     )
     SELECT count(*) AS count FROM removed`,
    [before],
  );
  return row?.count ?? 0;
}
