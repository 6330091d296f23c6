import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** Events of this server's users after a stream position, oldest first; `before` bounds when they came in (milliseconds). */
export async function ownEventsAfter(
  h: ReadHandle,
  serverName: string,
  after: number,
  before: number | undefined,
  limit: number,
): Promise<{ event_id: string; stream_ordering: number }[]> {
  return await query(
    h,
    `SELECT event_id, stream_ordering FROM events
      WHERE stream_ordering > $1 AND sender LIKE $2 AND ($3::bigint IS NULL OR received_ts < $3)
      ORDER BY stream_ordering LIMIT $4`,
    [after, `%:${serverName}`, before ?? null, limit],
  );
}

/** Replaces the stored JSON of events, whose signatures alone have changed. */
export async function rewriteEventJson(txn: Txn, events: readonly { readonly eventId: string; readonly json: string }[]): Promise<void> {
  if (events.length === 0) return;
  await execute(
    txn,
    "UPDATE event_json AS stored SET json = given.json FROM unnest($1::text[], $2::text[]) AS given (event_id, json) WHERE stored.event_id = given.event_id",
    [events.map((event) => event.eventId), events.map((event) => event.json)],
  );
}
