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
export async function storeRetryTimings(txn: Txn, timings: readonly { destination: string; retryLastTs: number; retryInterval: number; failureTs: number | undefined }[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO destinations (destination, retry_last_ts, retry_interval, failure_ts)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
     ON CONFLICT (destination) DO UPDATE SET retry_last_ts = EXCLUDED.retry_last_ts, retry_interval = EXCLUDED.retry_interval, failure_ts = EXCLUDED.failure_ts`,
    [timings.map((row) => row.destination), timings.map((row) => row.retryLastTs), timings.map((row) => row.retryInterval), timings.map((row) => row.failureTs ?? null)],
  );
}
