import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";
import { broken, type Broken } from "./broken.ts";

export async function tasks(h: ReadHandle): Promise<{ status: string; action: string; tasks: number }[]> {
  return await query(
    h,
    "SELECT status, action, count(*)::int AS tasks FROM scheduled_tasks WHERE status IN ('scheduled', 'active') GROUP BY 1, 2 ORDER BY 2, 1",
  );
}

export async function delayedEvents(h: ReadHandle): Promise<{ waiting: number; next: number | null }> {
  return (await queryOne(h, "SELECT count(*)::int AS waiting, min(send_ts) AS next FROM delayed_events WHERE NOT is_processed"))!;
}

export async function inboundStaging(h: ReadHandle): Promise<{ events: number; oldest: number | null }> {
  return (await queryOne(h, "SELECT count(*)::int AS events, min(received_ts) AS oldest FROM federation_inbound_events_staging"))!;
}

export const staleStaging = (h: ReadHandle, before: number): Promise<Broken> =>
  broken(h, "SELECT event_id AS id FROM event_push_actions_staging WHERE inserted_ts < $1", [before]);

export async function appserviceWork(
  h: ReadHandle,
): Promise<{ id: string; state: string | null; waiting: number; oldest: number | null; txn: number | null }[]> {
  return await query(
    h,
    `SELECT COALESCE(s.as_id, t.as_id) AS id, s.state, COALESCE(t.waiting, 0) AS waiting, t.txn AS txn, NULL::bigint AS oldest
     FROM application_services_state AS s
     FULL JOIN (SELECT as_id, count(*)::int AS waiting, min(txn_id) AS txn FROM application_services_txns GROUP BY 1) AS t ON t.as_id = s.as_id
     ORDER BY 1`,
  );
}

/** Positions up to which an application service has got things, that its stream has not reached. */
export const appservicesAhead = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT as_id AS id FROM application_services_state
     WHERE read_receipt_stream_id > (SELECT last_value FROM receipts_sequence) OR presence_stream_id > (SELECT last_value FROM presence_stream_sequence)
       OR to_device_stream_id > (SELECT last_value FROM device_inbox_sequence) OR device_list_stream_id > (SELECT last_value FROM device_lists_sequence)`,
  );

/** Changes of devices that nobody has told the other servers. */
export async function unconverted(h: ReadHandle): Promise<{ rows: number; oldest: number | null }> {
  return (await queryOne(
    h,
    `SELECT count(*)::int AS rows, min(inserted_ts) AS oldest
     FROM (SELECT c.inserted_ts FROM device_lists_changes_converted_stream_position AS p
           JOIN device_lists_changes_in_room AS c ON (c.stream_id, c.room_id) > (p.stream_id, p.room_id)
           WHERE NOT c.converted_to_destinations LIMIT 100000) AS waiting`,
  ))!;
}

export const receiptsWithoutOrdering = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT r.room_id || ' of ' || r.user_id AS id FROM receipts_linearized AS r JOIN events AS e ON e.event_id = r.event_id
     WHERE r.stream_id > (SELECT max(stream_id) FROM receipts_linearized) - 2000 AND r.event_stream_ordering IS NULL`,
  );

/** Only while the unique index is missing. */
export const doubleReceipts = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT room_id || ' of ' || user_id AS id FROM receipts_linearized WHERE thread_id IS NULL GROUP BY room_id, receipt_type, user_id HAVING count(*) > 1
     UNION ALL SELECT room_id || ' of ' || user_id FROM receipts_graph WHERE thread_id IS NULL GROUP BY room_id, receipt_type, user_id HAVING count(*) > 1`,
  );

export async function hasIndex(h: ReadHandle, names: readonly string[]): Promise<boolean> {
  const row = await queryOne<{ found: number }>(
    h,
    "SELECT count(*)::int AS found FROM unnest($1::text[]) AS name JOIN pg_index AS x ON x.indexrelid = to_regclass(name) WHERE x.indisvalid",
    [names],
  );
  return row!.found === names.length;
}

export async function toDeviceMessages(h: ReadHandle): Promise<{ inbox: number; outbox: number }> {
  return (await queryOne(
    h,
    `SELECT (SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'device_inbox'::regclass) AS inbox,
            (SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'device_federation_outbox'::regclass) AS outbox`,
  ))!;
}
