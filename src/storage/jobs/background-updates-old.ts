import type { JsonObject } from "../../lib/json.ts";
import { isJsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { topicText } from "../../protocol/topic.ts";
import { execute, query, queryOne, type Txn } from "../database.ts";
import type { Batch, BatchFunction } from "./background-updates-batches.ts";

/**
 * Background updates from before the oldest schema version that is opened. They are finished on any database that was in use; here for
 * those on which somebody held them up, or queued them again by hand to mend something.
 */
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const integer = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise);
const reachedUpTo = ({ count, last }: { count: number; last: string | number | null }, size: number, key: string): Batch => ({
  items: count,
  progress: count < size || last === null ? undefined : { [key]: last },
});

/** Of several receipts without a thread for the same user and room, the newest stays. */
export const deduplicateReceipts: BatchFunction = async (txn) => ({
  items: await execute(
    txn,
    `DELETE FROM receipts_linearized AS r USING (
       SELECT ctid, row_number() OVER (PARTITION BY room_id, receipt_type, user_id ORDER BY stream_id DESC, ctid DESC) AS place
       FROM receipts_linearized WHERE thread_id IS NULL) AS ranked
     WHERE r.ctid = ranked.ctid AND ranked.place > 1`,
  ),
  progress: undefined,
});

/** The same where no order is kept: the one stays that the linear receipt stands for. */
export const deduplicateReceiptsGraph: BatchFunction = async (txn) => ({
  items: await execute(
    txn,
    `DELETE FROM receipts_graph AS r USING (
       SELECT g.ctid, row_number() OVER (
         PARTITION BY g.room_id, g.receipt_type, g.user_id ORDER BY (strpos(g.event_ids, l.event_id) > 0) DESC NULLS LAST, g.ctid DESC) AS place
       FROM receipts_graph AS g
       LEFT JOIN receipts_linearized AS l ON l.room_id = g.room_id AND l.receipt_type = g.receipt_type AND l.user_id = g.user_id AND l.thread_id IS NULL
       WHERE g.thread_id IS NULL) AS ranked
     WHERE r.ctid = ranked.ctid AND ranked.place > 1`,
  ),
  progress: undefined,
});

/** `receipts_linearized.event_stream_ordering`, from the event. */
export const fillReceiptOrderings: BatchFunction = async (txn, { progress, size }) => {
  const max = integer(progress.max_stream_id, (await queryOne<{ max: number | null }>(txn, "SELECT max(stream_id) AS max FROM receipts_linearized"))!.max ?? 0);
  const start = integer(progress.stream_id, 0);
  await execute(
    txn,
    `UPDATE receipts_linearized AS r SET event_stream_ordering = e.stream_ordering FROM events AS e
     WHERE r.stream_id >= $1 AND r.stream_id < $2 AND r.event_stream_ordering IS NULL AND e.event_id = r.event_id AND e.room_id = r.room_id`,
    [start, start + size],
  );
  return { items: size, progress: start + size > max ? undefined : { stream_id: start + size, max_stream_id: max } };
};

/** Message search, from the newest event down. Redacted events are not found. */
export async function fillEventSearch(txn: Txn, progress: JsonObject, size: number, enabled: boolean): Promise<Batch> {
  if (!enabled) return { items: 0, progress: undefined };
  const bounds = await queryOne<{ first: number | null; last: number | null }>(
    txn,
    "SELECT min(stream_ordering) AS first, max(stream_ordering) AS last FROM events",
  );
  const from = integer(progress.target_min_stream_id_inclusive, bounds!.first ?? 0);
  const before = integer(progress.max_stream_id_exclusive, (bounds!.last ?? 0) + 1);
  const rows = await query<{
    event_id: string;
    room_id: string;
    type: string;
    json: string;
    stream_ordering: number;
    origin_server_ts: number;
    shown: boolean;
  }>(
    txn,
    `SELECT e.event_id, e.room_id, e.type, j.json, e.stream_ordering, e.origin_server_ts,
            NOT EXISTS (SELECT FROM redactions AS r WHERE r.redacts = e.event_id) AND e.rejection_reason IS NULL AS shown
     FROM events AS e JOIN event_json AS j ON j.event_id = e.event_id
     WHERE e.stream_ordering >= $1 AND e.stream_ordering < $2 AND e.type IN ('m.room.name', 'm.room.message', 'm.room.topic')
     ORDER BY e.stream_ordering DESC LIMIT $3`,
    [from, before, size],
  );
  const entries = rows.flatMap((row) => {
    const found = row.shown ? searchable(row.type, row.json) : undefined;
    return found === undefined ? [] : [{ ...row, ...found }];
  });
  await execute(
    txn,
    `INSERT INTO event_search (event_id, room_id, key, vector, stream_ordering, origin_server_ts)
     SELECT event_id, room_id, key, to_tsvector('english', value), stream_ordering, origin_server_ts
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS given (event_id, room_id, key, value, stream_ordering, origin_server_ts)
     ON CONFLICT (event_id) DO NOTHING`,
    [
      entries.map((entry) => entry.event_id),
      entries.map((entry) => entry.room_id),
      entries.map((entry) => entry.key),
      entries.map((entry) => entry.value),
      entries.map((entry) => entry.stream_ordering),
      entries.map((entry) => entry.origin_server_ts),
    ],
  );
  const last = rows.at(-1);
  const inserted = integer(progress.rows_inserted, 0) + entries.length;
  return {
    items: rows.length,
    progress:
      last && rows.length === size
        ? { target_min_stream_id_inclusive: from, max_stream_id_exclusive: last.stream_ordering, rows_inserted: inserted }
        : undefined,
  };
}

function searchable(type: string, json: string): { key: string; value: string } | undefined {
  const event = parseJson(json);
  const content = isJsonObject(event) ? event.content : undefined;
  if (!isJsonObject(content)) return undefined;
  const [key, value] =
    type === "m.room.message"
      ? ["content.body", content.body]
      : type === "m.room.name"
        ? ["content.name", content.name]
        : ["content.topic", topicText(content)];
  return typeof value === "string" ? { key, value: value.replaceAll("\u0000", " ") } : undefined;
}

/** Places in the chain cover of events that were purged. */
export const deletePurgedChains: BatchFunction = async (txn, { progress, size }) => {
  const rows = await query<{ event_id: string; purged: boolean }>(
    txn,
    `SELECT c.event_id, NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = c.event_id) AS purged
     FROM event_auth_chains AS c WHERE c.event_id > $1 ORDER BY c.event_id LIMIT $2`,
    [text(progress.current_event_id), size],
  );
  const purged = rows.filter((row) => row.purged).map((row) => row.event_id);
  if (purged.length > 0) {
    await execute(
      txn,
      `WITH gone AS (DELETE FROM event_auth_chains WHERE event_id = ANY($1) RETURNING chain_id, sequence_number)
       DELETE FROM event_auth_chain_links AS l USING gone WHERE l.origin_chain_id = gone.chain_id AND l.origin_sequence_number = gone.sequence_number`,
      [purged],
    );
  }
  return reachedUpTo({ count: rows.length, last: rows.at(-1)?.event_id ?? null }, size, "current_event_id");
};

/** Pushers of closed accounts. */
export const deletePushersOfDeactivated: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<{ count: number; last: string | null }>(
    txn,
    `WITH batch AS (SELECT name FROM users WHERE deactivated = 1 AND name > $1 ORDER BY name LIMIT $2),
     gone AS (DELETE FROM pushers AS p USING batch WHERE p.user_name = batch.name)
     SELECT count(*) AS count, max(name) AS last FROM batch`,
    [text(progress.last_user), size],
  );
  return reachedUpTo(reached!, size, "last_user");
};

/** Pushers whose access token is no more. Those that know their device instead are kept. */
export const deleteStalePushers: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<{ count: number; last: number | null }>(
    txn,
    `WITH batch AS (SELECT id, access_token FROM pushers WHERE id > $1 ORDER BY id LIMIT $2),
     gone AS (DELETE FROM pushers AS p USING batch
              WHERE p.id = batch.id AND p.access_token IS NOT NULL AND NOT EXISTS (SELECT FROM access_tokens AS t WHERE t.id = p.access_token))
     SELECT count(*) AS count, max(id) AS last FROM batch`,
    [integer(progress.last_pusher, 0), size],
  );
  return reachedUpTo(reached!, size, "last_pusher");
};

/** Mail pushers to addresses that their user has removed. */
export const deletePushersOfUnknownAddresses: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<{ count: number; last: number | null }>(
    txn,
    `WITH batch AS (SELECT id, user_name, pushkey FROM pushers WHERE app_id = 'm.email' AND id > $1 ORDER BY id LIMIT $2),
     gone AS (DELETE FROM pushers AS p USING batch
              WHERE p.id = batch.id
                AND NOT EXISTS (SELECT FROM user_threepids AS t WHERE t.user_id = batch.user_name AND t.medium = 'email' AND t.address = batch.pushkey))
     SELECT count(*) AS count, max(id) AS last FROM batch`,
    [integer(progress.last_pusher, 0), size],
  );
  return reachedUpTo(reached!, size, "last_pusher");
};

/** To-device messages to devices that were deleted or are hidden. */
export const deleteMessagesToNoDevice: BatchFunction = async (txn, { progress, size }) => {
  const bounds = await queryOne<{ first: number | null; last: number | null }>(txn, "SELECT min(stream_id) AS first, max(stream_id) AS last FROM device_inbox");
  if (bounds!.last === null) return { items: 0, progress: undefined };
  const max = integer(progress.max_stream_id, bounds!.last);
  const start = Math.max(integer(progress.stream_id, 0), bounds!.first!);
  await execute(
    txn,
    `DELETE FROM device_inbox AS i WHERE i.stream_id >= $1 AND i.stream_id < $2
       AND NOT EXISTS (SELECT FROM devices AS d WHERE d.user_id = i.user_id AND d.device_id = i.device_id AND NOT d.hidden)`,
    [start, start + size],
  );
  return { items: size, progress: start + size > max ? undefined : { stream_id: start + size, max_stream_id: max } };
};

/** Of equal device list pokes, the newest stays. */
export const deduplicatePokes: BatchFunction = async (txn) => ({
  items: await execute(
    txn,
    `DELETE FROM device_lists_outbound_pokes AS p USING (
       SELECT ctid, row_number() OVER (PARTITION BY stream_id, destination, user_id, device_id ORDER BY ts DESC, ctid DESC) AS place
       FROM device_lists_outbound_pokes) AS ranked
     WHERE p.ctid = ranked.ctid AND ranked.place > 1`,
  ),
  progress: undefined,
});

/** Account data and push rules of closed accounts. */
export const deleteAccountDataOfDeactivated: BatchFunction = async (txn, { progress, size }) => {
  const users = await query<{ name: string }>(txn, "SELECT name FROM users WHERE deactivated = 1 AND name > $1 ORDER BY name LIMIT $2", [
    text(progress.last_user),
    size,
  ]);
  const names = users.map(({ name }) => name);
  for (const [table, column] of [
    ["account_data", "user_id"],
    ["room_account_data", "user_id"],
    ["ignored_users", "ignorer_user_id"],
    ["push_rules", "user_name"],
    ["push_rules_enable", "user_name"],
    ["push_rules_stream", "user_id"],
  ] as const) {
    await execute(txn, `DELETE FROM ${table} WHERE ${column} = ANY($1)`, [names]);
  }
  return reachedUpTo({ count: names.length, last: names.at(-1) ?? null }, size, "last_user");
};
