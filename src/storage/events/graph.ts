import { execute, query, type ReadHandle, type Txn } from "../database.ts";

export interface StoredExtremity {
  readonly eventId: string;
  readonly depth: number | bigint;
  /** undefined only in broken rooms. */
  readonly stateGroup: number | undefined;
}

/** What the newest events of a room are, and the lowest depth on record. */
export async function readRoomHead(
  read: ReadHandle,
  roomId: string,
): Promise<{ extremities: StoredExtremity[]; minDepth: number | bigint | undefined; hasJoinedRow: boolean }> {
  const rows = await query<{ event_id: string | null; depth: number | bigint; state_group: number | null; min_depth: number | bigint | null; joined: boolean }>(
    read,
    `SELECT x.event_id, e.depth, g.state_group,
       (SELECT d.min_depth FROM room_depth AS d WHERE d.room_id = $1) AS min_depth,
       EXISTS (SELECT FROM sliding_sync_joined_rooms AS s WHERE s.room_id = $1) AS joined
     FROM (SELECT $1::text AS room_id) AS room
     LEFT JOIN event_forward_extremities AS x ON x.room_id = room.room_id
     LEFT JOIN events AS e ON e.event_id = x.event_id
     LEFT JOIN event_to_state_groups AS g ON g.event_id = x.event_id`,
    [roomId],
  );
  return {
    extremities: rows.flatMap((row) => (row.event_id === null ? [] : [{ eventId: row.event_id, depth: row.depth, stateGroup: row.state_group ?? undefined }])),
    minDepth: rows[0]!.min_depth ?? undefined,
    hasJoinedRow: rows[0]!.joined,
  };
}

/** Which of these ids are previous events of stored events that count in the graph (no outliers, rejected or soft-failed ones). */
export async function readPrevsOfStored(read: ReadHandle, eventIds: readonly string[]): Promise<Set<string>> {
  if (eventIds.length === 0) return new Set();
  const rows = await query<{ prev_event_id: string }>(
    read,
    `SELECT DISTINCT g.prev_event_id
     FROM event_edges AS g
     JOIN events AS e ON e.event_id = g.event_id
     JOIN event_json AS j ON j.event_id = g.event_id
     WHERE g.prev_event_id = ANY($1) AND NOT e.outlier AND e.rejection_reason IS NULL
       AND NOT EXISTS (SELECT FROM rejections AS x WHERE x.event_id = g.event_id)
       AND j.internal_metadata NOT LIKE '%"soft_failed":true%'`,
    [eventIds],
  );
  return new Set(rows.map((row) => row.prev_event_id));
}

/**
 * Previous events of those among these ids that are rejected or soft-failed, and on through such events: extremities that only
 * they stand between.
 */
export async function readPrevsBehindRejected(read: ReadHandle, eventIds: readonly string[]): Promise<Set<string>> {
  if (eventIds.length === 0) return new Set();
  const rows = await query<{ prev_event_id: string }>(
    read,
    `WITH RECURSIVE behind (event_id, prev_event_id) AS (
       SELECT g.event_id, g.prev_event_id FROM event_edges AS g WHERE g.event_id = ANY($1) AND ${LEFT_OUT}
       UNION
       SELECT g.event_id, g.prev_event_id FROM behind AS b JOIN event_edges AS g ON g.event_id = b.prev_event_id WHERE ${LEFT_OUT}
     )
     SELECT DISTINCT b.prev_event_id FROM behind AS b`,
    [eventIds],
  );
  return new Set(rows.map((row) => row.prev_event_id));
}

const LEFT_OUT = `EXISTS (
         SELECT FROM events AS e JOIN event_json AS j ON j.event_id = e.event_id
         WHERE e.event_id = g.event_id AND NOT e.outlier
           AND (e.rejection_reason IS NOT NULL OR EXISTS (SELECT FROM rejections AS x WHERE x.event_id = e.event_id)
                OR j.internal_metadata LIKE '%"soft_failed":true%'))`;

/** Position of the room's last event that is of one of these types, neither an outlier nor rejected; negative when it was backfilled. */
export async function readLastPositionOfTypes(read: ReadHandle, roomId: string, types: readonly string[]): Promise<number | undefined> {
  const rows = await query<{ stream_ordering: number }>(
    read,
    `SELECT e.stream_ordering FROM events AS e
     WHERE e.room_id = $1 AND e.type = ANY($2) AND NOT e.outlier AND e.rejection_reason IS NULL
     ORDER BY e.stream_ordering DESC LIMIT 1`,
    [roomId, types],
  );
  return rows[0]?.stream_ordering;
}

/** Relations of these events, as stored. */
export async function readRelationsOf(read: ReadHandle, eventIds: readonly string[]): Promise<{ eventId: string; relatesTo: string; type: string }[]> {
  if (eventIds.length === 0) return [];
  const rows = await query<{ event_id: string; relates_to_id: string; relation_type: string }>(
    read,
    `SELECT r.event_id, r.relates_to_id, r.relation_type FROM event_relations AS r WHERE r.event_id = ANY($1)`,
    [eventIds],
  );
  return rows.map((row) => ({ eventId: row.event_id, relatesTo: row.relates_to_id, type: row.relation_type }));
}

/** Event ids by client transaction, of one device: what it sent within a day. */
export async function readTransactions(read: ReadHandle, userId: string, deviceId: string): Promise<{ roomId: string; txnId: string; eventId: string }[]> {
  const rows = await query<{ room_id: string; txn_id: string; event_id: string }>(
    read,
    `SELECT t.room_id, t.txn_id, t.event_id FROM event_txn_id_device_id AS t WHERE t.user_id = $1 AND t.device_id = $2`,
    [userId, deviceId],
  );
  return rows.map((row) => ({ roomId: row.room_id, txnId: row.txn_id, eventId: row.event_id }));
}

/** Forgets transactions from before that time (ms); Synapse keeps them for a day. Returns how many there were. */
export async function deleteOldTransactions(txn: Txn, before: number): Promise<number> {
  return await execute(txn, `DELETE FROM event_txn_id_device_id AS t WHERE t.inserted_ts < $1`, [before]);
}

/** Rooms with at least so many forward extremities, the most first. */
export async function readRoomsWithManyExtremities(read: ReadHandle, atLeast: number, without: readonly string[], limit: number): Promise<string[]> {
  const rows = await query<{ room_id: string }>(
    read,
    `SELECT x.room_id FROM event_forward_extremities AS x
     JOIN rooms AS r ON r.room_id = x.room_id
     WHERE x.room_id <> ALL($2::text[])
     GROUP BY x.room_id HAVING count(*) > $1 ORDER BY count(*) DESC LIMIT $3`,
    [atLeast, without, limit],
  );
  return rows.map((row) => row.room_id);
}

/** Forgets the extremities at positions before that one; Synapse keeps them for 30 days. Returns how many rows there were. */
export async function deleteOldExtremities(txn: Txn, before: number): Promise<number> {
  return await execute(txn, `DELETE FROM stream_ordering_to_exterm AS s WHERE s.stream_ordering < $1`, [before]);
}

/** Forgets sticky events (MSC4354) whose time is over. Returns how many there were. */
export async function deleteExpiredStickyEvents(txn: Txn, now: number): Promise<number> {
  return await execute(txn, `DELETE FROM sticky_events AS s WHERE s.expires_at < $1`, [now]);
}
