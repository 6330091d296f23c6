import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** How often an event could not be fetched or was refused. */
export interface FailedPull {
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly lastTs: number;
}

/** Of these events, those that could not be had before. */
export async function failedPulls(read: ReadHandle, roomId: string, eventIds: readonly string[]): Promise<Map<string, FailedPull>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{ event_id: string; num_attempts: number; last_attempt_ts: number }>(
    read,
    `SELECT f.event_id, f.num_attempts, f.last_attempt_ts FROM event_failed_pull_attempts AS f WHERE f.room_id = $1 AND f.event_id = ANY($2)`,
    [roomId, eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, { attempts: row.num_attempts, lastTs: row.last_attempt_ts }]));
}

/** One more failure for each of these events; forgotten when the event is stored (`persist/state-tables.ts`). */
export async function recordFailedPulls(txn: Txn, roomId: string, failures: readonly { eventId: string; cause: string }[], now: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO event_failed_pull_attempts (room_id, event_id, num_attempts, last_attempt_ts, last_cause)
     SELECT $1, event_id, 1, $4, cause FROM unnest($2::text[], $3::text[]) AS failed (event_id, cause)
     ON CONFLICT (room_id, event_id)
     DO UPDATE SET num_attempts = event_failed_pull_attempts.num_attempts + 1, last_attempt_ts = EXCLUDED.last_attempt_ts, last_cause = EXCLUDED.last_cause`,
    [roomId, failures.map((failure) => failure.eventId), failures.map((failure) => failure.cause.replaceAll("\0", "").slice(0, 1000)), now],
  );
}
