import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/**
 * How far the events stream has been handed to the queues of other servers (`federation_stream_position`, type `events`). Where several of
 * Synapse's processes sent, one row is left, at the lowest of their positions; Synapse divides it again.
 */
export async function openSenderPosition(txn: Txn, instanceName: string): Promise<number> {
  const rows = await query<{ type: string; instance_name: string; stream_id: number }>(
    txn,
    `SELECT type, instance_name, stream_id FROM federation_stream_position`,
  );
  const lowest = (type: string): number => {
    const ids = rows.filter((row) => row.type === type).map((row) => row.stream_id);
    return ids.length === 0 ? (type === "events" ? -1 : 0) : Math.min(...ids);
  };
  const own = rows.find((row) => row.type === "events" && row.instance_name === instanceName);
  if (own !== undefined && rows.every((row) => row.instance_name === instanceName)) return own.stream_id;
  await execute(txn, `DELETE FROM federation_stream_position WHERE instance_name <> $1`, [instanceName]);
  await execute(
    txn,
    `INSERT INTO federation_stream_position (type, stream_id, instance_name) VALUES ('federation', $1, $3), ('events', $2, $3)
     ON CONFLICT (type, instance_name) DO UPDATE SET stream_id = EXCLUDED.stream_id`,
    [lowest("federation"), lowest("events"), instanceName],
  );
  return lowest("events");
}

export async function storeSenderPosition(txn: Txn, instanceName: string, streamId: number): Promise<void> {
  await execute(txn, `UPDATE federation_stream_position SET stream_id = $2 WHERE type = 'events' AND instance_name = $1`, [instanceName, streamId]);
}

/** Ids of events at positions in (`after`, `upTo`], in order, at most `limit`. */
export function eventIdsBetween(read: ReadHandle, after: number, upTo: number, limit: number): Promise<{ event_id: string; stream_ordering: number }[]> {
  return query(
    read,
    `SELECT e.event_id, e.stream_ordering FROM events AS e
     WHERE e.stream_ordering > $1 AND e.stream_ordering <= $2 ORDER BY e.stream_ordering LIMIT $3`,
    [after, upTo, limit],
  );
}

/** Who sent an event and when it came here (milliseconds); undefined for unknown events. */
export async function arrivalOf(read: ReadHandle, eventId: string): Promise<{ sender: string; receivedTs: number } | undefined> {
  const rows = await query<{ sender: string; received_ts: number | null }>(read, `SELECT e.sender, e.received_ts FROM events AS e WHERE e.event_id = $1`, [
    eventId,
  ]);
  return rows[0] && { sender: rows[0].sender, receivedTs: rows[0].received_ts ?? 0 };
}
