import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import { addToSummaries, type CrowdSum } from "./crowd-rows.ts";

/**
 * Push actions are kept for a short time: every half minute they are added up in `event_push_summary`, and the rows of read events and of
 * those older than a day go. Both positions (rotated up to, receipts handled up to) move in the transaction that counts (risk 78).
 */
const RECEIPTS_AT_ONCE = 100;
const ACTIONS_AT_ONCE = 10_000;

interface Receipt {
  readonly stream_id: number;
  readonly room_id: string;
  readonly user_id: string;
  readonly thread_id: string | null;
  readonly event_stream_ordering: number | null;
}

/**
 * Applies new receipts of local users, at most a hundred: what they cover is deleted (highlights stay), and the summaries begin anew from
 * there. False when there are more.
 * @param upTo position of the receipts stream
 */
export async function applyReceipts(txn: Txn, serverName: string, upTo: number): Promise<boolean> {
  const positions = await queryOne<{ receipts: number; rotated: number }>(
    txn,
    `SELECT (SELECT p.stream_id FROM event_push_summary_last_receipt_stream_id AS p) AS receipts,
       (SELECT p.stream_ordering FROM event_push_summary_stream_ordering AS p) AS rotated`,
  );
  const receipts = await query<Receipt>(
    txn,
    `SELECT r.stream_id, r.room_id, r.user_id, r.thread_id, r.event_stream_ordering FROM receipts_linearized AS r
     WHERE r.stream_id > $1 AND r.stream_id <= $2 AND right(r.user_id, length($3) + 1) = ':' || $3
     ORDER BY r.stream_id LIMIT $4`,
    [positions!.receipts, upTo, serverName, RECEIPTS_AT_ONCE],
  );
  for (const round of rounds(receipts)) await applyRound(txn, round, positions!.rotated);
  const done = receipts.length < RECEIPTS_AT_ONCE;
  await execute(txn, `UPDATE event_push_summary_last_receipt_stream_id SET stream_id = GREATEST(stream_id, $1)`, [done ? upTo : receipts.at(-1)!.stream_id]);
  return done;
}

/** Receipts of one user in one room are applied one after another, all others together. Those of unknown events say nothing. */
function rounds(receipts: readonly Receipt[]): Receipt[][] {
  const out: Receipt[][] = [];
  const next = new Map<string, number>();
  for (const receipt of receipts) {
    if (receipt.event_stream_ordering === null) continue;
    const key = `${receipt.room_id} ${receipt.user_id}`;
    const round = next.get(key) ?? 0;
    (out[round] ??= []).push(receipt);
    next.set(key, round + 1);
  }
  return out;
}

const ROUND = `unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS r (room_id, user_id, thread_id, at)`;

async function applyRound(txn: Txn, receipts: readonly Receipt[], rotated: number): Promise<void> {
  const params = [
    receipts.map((receipt) => receipt.room_id),
    receipts.map((receipt) => receipt.user_id),
    receipts.map((receipt) => receipt.thread_id),
    receipts.map((receipt) => receipt.event_stream_ordering),
  ];
  await Promise.all([
    execute(
      txn,
      `DELETE FROM event_push_actions AS a USING ${ROUND}
       WHERE a.room_id = r.room_id AND a.user_id = r.user_id AND a.stream_ordering <= r.at AND a.highlight = 0
         AND (r.thread_id IS NULL OR a.thread_id = r.thread_id)`,
      params,
    ),
    // A receipt for all threads concerns those with a summary and those with actions still to be counted. They need a row in any case: without
    // one the rotation would not know of the receipt. A summary holds as long as it names the latest receipt, which need not be this one.
    execute(
      txn,
      `INSERT INTO event_push_summary (room_id, user_id, thread_id, notif_count, unread_count, stream_ordering, last_receipt_stream_ordering)
       SELECT r.room_id, r.user_id, t.thread_id, count(a.event_id) FILTER (WHERE a.notif = 1), count(a.event_id) FILTER (WHERE a.unread = 1), $5::bigint, latest.at
       FROM ${ROUND}
       CROSS JOIN LATERAL (
         SELECT r.thread_id WHERE r.thread_id IS NOT NULL
         UNION
         SELECT s.thread_id FROM event_push_summary AS s WHERE r.thread_id IS NULL AND s.room_id = r.room_id AND s.user_id = r.user_id
         UNION
         SELECT p.thread_id FROM event_push_actions AS p WHERE r.thread_id IS NULL AND p.room_id = r.room_id AND p.user_id = r.user_id
       ) AS t (thread_id)
       CROSS JOIN LATERAL (
         SELECT GREATEST(r.at, max(l.event_stream_ordering)) AS at FROM receipts_linearized AS l
         WHERE l.room_id = r.room_id AND l.user_id = r.user_id AND l.receipt_type IN ('m.read', 'm.read.private')
           AND (l.thread_id IS NULL OR l.thread_id = t.thread_id)
       ) AS latest
       LEFT JOIN event_push_actions AS a
         ON a.room_id = r.room_id AND a.user_id = r.user_id AND a.thread_id = t.thread_id AND a.stream_ordering > latest.at AND a.stream_ordering <= $5::bigint
       GROUP BY r.room_id, r.user_id, t.thread_id, latest.at
       ON CONFLICT (user_id, room_id, thread_id) DO UPDATE
       SET notif_count = EXCLUDED.notif_count, unread_count = EXCLUDED.unread_count, stream_ordering = EXCLUDED.stream_ordering,
           last_receipt_stream_ordering = EXCLUDED.last_receipt_stream_ordering`,
      [...params, rotated],
    ),
  ]);
}

/**
 * Adds the actions since the last time to the summaries, some ten thousand at once. False when there are more.
 * @param upTo position of the events stream: everything up to it is visible
 * @param crowds what has no rows: of positions in (from, to]
 */
export async function rotateActions(txn: Txn, upTo: number, crowds: (from: number, to: number) => readonly CrowdSum[] = () => []): Promise<boolean> {
  const { from } = (await queryOne<{ from: number }>(txn, `SELECT p.stream_ordering AS "from" FROM event_push_summary_stream_ordering AS p`))!;
  const bound = await queryOne<{ stream_ordering: number }>(
    txn,
    `SELECT a.stream_ordering FROM event_push_actions AS a WHERE a.stream_ordering > $1 ORDER BY a.stream_ordering LIMIT 1 OFFSET $2`,
    [from, ACTIONS_AT_ONCE],
  );
  const to = Math.min(bound?.stream_ordering ?? upTo, upTo);
  if (to <= from) return true;
  await Promise.all([
    execute(
      txn,
      `INSERT INTO event_push_summary AS s (user_id, room_id, thread_id, notif_count, unread_count, stream_ordering)
       SELECT a.user_id, a.room_id, a.thread_id, count(*) FILTER (WHERE a.notif = 1), count(*) FILTER (WHERE a.unread = 1), max(a.stream_ordering)
       FROM event_push_actions AS a
       LEFT JOIN event_push_summary AS old ON old.user_id = a.user_id AND old.room_id = a.room_id AND old.thread_id = a.thread_id
       WHERE a.stream_ordering > $1 AND a.stream_ordering <= $2 AND (a.notif = 1 OR a.unread = 1)
         AND (old.last_receipt_stream_ordering IS NULL OR old.last_receipt_stream_ordering < a.stream_ordering)
       GROUP BY a.user_id, a.room_id, a.thread_id
       ON CONFLICT (user_id, room_id, thread_id) DO UPDATE
       SET notif_count = s.notif_count + EXCLUDED.notif_count, unread_count = COALESCE(s.unread_count, 0) + EXCLUDED.unread_count,
           stream_ordering = EXCLUDED.stream_ordering`,
      [from, to],
    ),
    ...crowds(from, to).map((sum) => addToSummaries(txn, sum)),
    execute(txn, `UPDATE event_push_summary_stream_ordering SET stream_ordering = $1`, [to]),
  ]);
  return bound === undefined || to === upTo;
}

/** Deletes rotated actions before that position, some ten thousand at once; highlights stay. False when there are more. */
export async function deleteRotatedActions(txn: Txn, before: number): Promise<boolean> {
  // The planner takes the kept highlights for rows to delete and would scan the table.
  await execute(txn, `SET LOCAL enable_seqscan = off`);
  const bound = await queryOne<{ stream_ordering: number }>(
    txn,
    `SELECT a.stream_ordering FROM event_push_actions AS a
     WHERE a.highlight = 0 AND a.stream_ordering <= LEAST($1, (SELECT p.stream_ordering FROM event_push_summary_stream_ordering AS p))
     ORDER BY a.stream_ordering LIMIT 1 OFFSET $2`,
    [before, ACTIONS_AT_ONCE],
  );
  await execute(
    txn,
    `DELETE FROM event_push_actions AS a
     WHERE a.highlight = 0 AND a.stream_ordering <= LEAST($1, (SELECT p.stream_ordering FROM event_push_summary_stream_ordering AS p))`,
    [bound?.stream_ordering ?? before],
  );
  return bound === undefined;
}

/**
 * The stream position of the first event that was received at that time (ms) or later: times and positions rise together, so it is found by
 * bisection; there is no index on the time. 0 when there are no events.
 */
export async function firstPositionSince(read: ReadHandle, time: number): Promise<number> {
  const row = await queryOne<{ position: number | null }>(
    read,
    `WITH RECURSIVE span (low, high) AS (
       SELECT 0::bigint, (SELECT max(e.stream_ordering) + 1 FROM events AS e)
       UNION ALL
       SELECT CASE WHEN at.received_ts IS NULL OR at.received_ts < $1 THEN (s.low + s.high) / 2 + 1 ELSE s.low END,
              CASE WHEN at.received_ts IS NULL OR at.received_ts < $1 THEN s.high ELSE (s.low + s.high) / 2 END
       FROM span AS s
       LEFT JOIN LATERAL (
         SELECT e.received_ts FROM events AS e WHERE e.stream_ordering <= (s.low + s.high) / 2 ORDER BY e.stream_ordering DESC LIMIT 1
       ) AS at ON true
       WHERE s.low < s.high
     )
     SELECT min(s.high) AS position FROM span AS s`,
    [time],
  );
  return row?.position ?? 0;
}

/** Rows that Synapse left behind of events that it did not get to store. */
export async function clearStaging(txn: Txn, before: number): Promise<number> {
  return await execute(txn, `DELETE FROM event_push_actions_staging AS s WHERE s.inserted_ts IS NULL OR s.inserted_ts < $1`, [before]);
}
