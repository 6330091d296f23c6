import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** How a server is doing. Times in milliseconds; 0 or null: it answers. */
export interface DestinationRow {
  readonly destination: string;
  readonly retry_last_ts: number | null;
  readonly retry_interval: number | null;
  readonly failure_ts: number | null;
  readonly last_successful_stream_ordering: number | null;
}

export function destinationRows(read: ReadHandle, destinations: readonly string[]): Promise<DestinationRow[]> {
  return query<DestinationRow>(
    read,
    `SELECT destination, retry_last_ts, retry_interval, failure_ts, last_successful_stream_ordering FROM destinations WHERE destination = ANY($1)`,
    [destinations],
  );
}

/** Writes how servers are doing; positions of catch-up stay. */
export async function storeRetryTimings(
  txn: Txn,
  timings: readonly { destination: string; retryLastTs: number; retryInterval: number; failureTs: number | undefined }[],
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO destinations (destination, retry_last_ts, retry_interval, failure_ts)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
     ON CONFLICT (destination) DO UPDATE SET retry_last_ts = EXCLUDED.retry_last_ts, retry_interval = EXCLUDED.retry_interval, failure_ts = EXCLUDED.failure_ts`,
    [
      timings.map((row) => row.destination),
      timings.map((row) => row.retryLastTs),
      timings.map((row) => row.retryInterval),
      timings.map((row) => row.failureTs ?? null),
    ],
  );
}

/** Rooms with an event that servers are to get, and the position of the newest one: what catching up starts from. Rooms that are gone are left out. */
export async function storeDestinationRooms(txn: Txn, rows: readonly { destination: string; roomId: string; streamOrdering: number }[]): Promise<void> {
  // Sorted, so that two processes never lock rows in different orders.
  const destinations = [...new Set(rows.map((row) => row.destination))].sort();
  const sorted = [...rows].sort((a, b) => (a.destination === b.destination ? (a.roomId < b.roomId ? -1 : 1) : a.destination < b.destination ? -1 : 1));
  await Promise.all([
    execute(txn, `INSERT INTO destinations (destination) SELECT unnest($1::text[]) ON CONFLICT (destination) DO NOTHING`, [destinations]),
    execute(
      txn,
      `INSERT INTO destination_rooms AS stored (destination, room_id, stream_ordering)
       SELECT new.destination, new.room_id, new.stream_ordering
       FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (destination, room_id, stream_ordering)
       JOIN rooms AS r ON r.room_id = new.room_id
       ON CONFLICT (destination, room_id) DO UPDATE SET stream_ordering = GREATEST(stored.stream_ordering, EXCLUDED.stream_ordering)`,
      [sorted.map((row) => row.destination), sorted.map((row) => row.roomId), sorted.map((row) => row.streamOrdering)],
    ),
  ]);
}

/** The servers have received events up to these positions. */
export async function setLastSuccessful(txn: Txn, positions: ReadonlyMap<string, number>): Promise<void> {
  const sorted = [...positions].sort(([a], [b]) => (a < b ? -1 : 1)); // rows are locked in one order by everybody
  await execute(
    txn,
    `INSERT INTO destinations (destination, last_successful_stream_ordering) SELECT * FROM unnest($1::text[], $2::bigint[])
     ON CONFLICT (destination) DO UPDATE SET last_successful_stream_ordering = EXCLUDED.last_successful_stream_ordering`,
    [sorted.map(([destination]) => destination), sorted.map(([, position]) => position)],
  );
}

/** Of each room, the newest event that the server has not got since that position; oldest first, at most `limit`. */
export function missedEvents(
  read: ReadHandle,
  destination: string,
  after: number,
  limit: number,
): Promise<{ event_id: string; room_id: string; stream_ordering: number }[]> {
  return query(
    read,
    `SELECT e.event_id, e.room_id, e.stream_ordering
     FROM destination_rooms AS d JOIN events AS e ON e.stream_ordering = d.stream_ordering
     WHERE d.destination = $1 AND d.stream_ordering > $2 ORDER BY d.stream_ordering LIMIT $3`,
    [destination, after, limit],
  );
}

/**
 * Servers, by name after `after`, for which events or to-device messages wait and which may be tried at `now` (milliseconds); at most
 * `limit`. Those that were never reached have no position to catch up from: their events count all.
 */
export async function destinationsWaiting(read: ReadHandle, after: string, now: number, limit: number): Promise<string[]> {
  const rows = await query<{ destination: string }>(
    read,
    `WITH of_events AS (
       SELECT DISTINCT r.destination FROM destination_rooms AS r LEFT JOIN destinations AS d ON d.destination = r.destination
       WHERE r.destination > $1 AND r.stream_ordering > COALESCE(d.last_successful_stream_ordering, 0)
         AND COALESCE(d.retry_last_ts, 0) + COALESCE(d.retry_interval, 0) < $2
       ORDER BY r.destination LIMIT $3
     ), of_messages AS (
       SELECT DISTINCT o.destination FROM device_federation_outbox AS o LEFT JOIN destinations AS d ON d.destination = o.destination
       WHERE o.destination > $1 AND COALESCE(d.retry_last_ts, 0) + COALESCE(d.retry_interval, 0) < $2
       ORDER BY o.destination LIMIT $3
     )
     SELECT destination FROM of_events UNION SELECT destination FROM of_messages ORDER BY destination LIMIT $3`,
    [after, now, limit],
  );
  return rows.map((row) => row.destination);
}
