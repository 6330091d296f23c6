import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Deleting the older part of a room's history, as Synapse does it. */
export interface PurgedHistory {
  /** Events that are gone. */
  readonly deleted: string[];
  /** Events that stay, as outliers: state, and what local users sent unless that goes too. */
  readonly outliers: string[];
  /** State groups that the events had. */
  readonly stateGroups: number[];
}

const BY_EVENT = [
  "event_edges",
  "events",
  "event_json",
  "event_auth",
  "event_forward_extremities",
  "event_relations",
  "event_search",
  "rejections",
  "redactions",
] as const;

/** The greatest depth among the room's forward extremities; undefined for a room without any. */
export async function depthOfExtremities(h: ReadHandle, roomId: string): Promise<number | bigint | undefined> {
  const row = await queryOne<{ depth: number | bigint | null }>(
    h,
    "SELECT max(e.depth) AS depth FROM event_forward_extremities AS f JOIN events AS e ON e.event_id = f.event_id AND e.room_id = f.room_id WHERE f.room_id = $1",
    [roomId],
  );
  return row?.depth ?? undefined;
}

/**
 * Deletes the events of a room below a depth: messages of other servers, those of local users only when `localToo`; state events stay as
 * outliers. The room's history begins with what is left.
 */
export async function deleteHistory(
  txn: Txn,
  roomId: string,
  below: number | bigint,
  options: { serverName: string; localToo: boolean },
): Promise<PurgedHistory> {
  await execute(txn, "SET LOCAL statement_timeout TO 0");
  await execute(txn, "CREATE TEMPORARY TABLE events_to_purge (event_id text PRIMARY KEY, should_delete boolean NOT NULL) ON COMMIT DROP");
  // The event that lists of rooms are ordered by is referred to: it stays.
  await execute(
    txn,
    `INSERT INTO events_to_purge (event_id, should_delete)
     SELECT found.event_id, found.should_delete FROM (
       SELECT e.event_id, e.outlier,
              s.event_id IS NULL AND ($4 OR e.sender NOT LIKE $3)
                AND NOT EXISTS (SELECT FROM sliding_sync_joined_rooms AS joined WHERE joined.room_id = $1 AND joined.event_stream_ordering = e.stream_ordering) AS should_delete
       FROM events AS e LEFT JOIN state_events AS s ON s.event_id = e.event_id
       WHERE e.room_id = $1 AND e.topological_ordering < $2
     ) AS found
     WHERE NOT found.outlier OR found.should_delete`,
    [roomId, below, `%:${options.serverName}`, options.localToo],
  );
  const events = await query<{ event_id: string; should_delete: boolean }>(txn, "SELECT event_id, should_delete FROM events_to_purge");
  const deleted = events.filter((event) => event.should_delete).map((event) => event.event_id);
  const outliers = events.filter((event) => !event.should_delete).map((event) => event.event_id);
  if (events.length === 0) return { deleted, outliers, stateGroups: [] };
  await execute(txn, "ANALYZE events_to_purge");

  await execute(txn, "DELETE FROM event_backward_extremities WHERE room_id = $1", [roomId]);
  await execute(
    txn,
    `INSERT INTO event_backward_extremities (room_id, event_id)
     SELECT DISTINCT $1, purged.event_id FROM events_to_purge AS purged
     JOIN event_edges AS edge ON edge.prev_event_id = purged.event_id
     WHERE NOT EXISTS (SELECT FROM events_to_purge AS other WHERE other.event_id = edge.event_id)`,
    [roomId],
  );
  const groups = await query<{ state_group: number }>(
    txn,
    "WITH gone AS (DELETE FROM event_to_state_groups AS g USING events_to_purge AS p WHERE g.event_id = p.event_id RETURNING g.state_group) SELECT DISTINCT state_group FROM gone",
  );
  for (const table of BY_EVENT) await execute(txn, `DELETE FROM ${table} AS t USING events_to_purge AS p WHERE p.should_delete AND t.event_id = p.event_id`);
  await lowerSummaries(txn, roomId);
  await execute(txn, "DELETE FROM event_push_actions AS a USING events_to_purge AS p WHERE a.room_id = $1 AND p.should_delete AND a.event_id = p.event_id", [
    roomId,
  ]);
  await execute(txn, "UPDATE events AS e SET outlier = TRUE FROM events_to_purge AS p WHERE NOT p.should_delete AND e.event_id = p.event_id");
  await execute(
    txn,
    `UPDATE room_depth SET min_depth = (
       SELECT coalesce(min(e.depth), 0) FROM event_backward_extremities AS b
       JOIN event_edges AS edge ON edge.prev_event_id = b.event_id
       JOIN events AS e ON e.event_id = edge.event_id
       WHERE b.room_id = $1)
     WHERE room_id = $1`,
    [roomId],
  );
  return { deleted, outliers, stateGroups: groups.map((row) => row.state_group) };
}

/** Takes what was counted of the events that go from the summaries of unread counts. */
async function lowerSummaries(txn: Txn, roomId: string): Promise<void> {
  await execute(
    txn,
    `UPDATE event_push_summary AS s
        SET notif_count = greatest(s.notif_count - gone.notifications, 0), unread_count = greatest(coalesce(s.unread_count, 0) - gone.unread, 0)
       FROM (
         SELECT a.user_id, a.thread_id, count(*) FILTER (WHERE a.notif = 1) AS notifications, count(*) FILTER (WHERE a.unread = 1) AS unread
         FROM event_push_actions AS a
         JOIN events_to_purge AS p ON p.event_id = a.event_id AND p.should_delete
         JOIN event_push_summary AS counted ON counted.user_id = a.user_id AND counted.room_id = a.room_id AND counted.thread_id = a.thread_id
         WHERE a.room_id = $1 AND a.stream_ordering <= (SELECT stream_ordering FROM event_push_summary_stream_ordering)
           AND (counted.last_receipt_stream_ordering IS NULL OR a.stream_ordering > counted.last_receipt_stream_ordering)
         GROUP BY a.user_id, a.thread_id
       ) AS gone
      WHERE s.room_id = $1 AND s.user_id = gone.user_id AND s.thread_id = gone.thread_id`,
    [roomId],
  );
}

/** The last event of a room that came in before a time (milliseconds); undefined when there is none. */
export async function lastEventReceivedBefore(
  h: ReadHandle,
  roomId: string,
  timestamp: number,
): Promise<{ stream: number; topological: number | bigint } | undefined> {
  const stream = await firstStreamReceivedAt(h, timestamp);
  return await queryOne(
    h,
    `SELECT e.stream_ordering AS stream, e.topological_ordering AS topological FROM events AS e
      WHERE e.room_id = $1 AND e.stream_ordering <= $2 AND NOT e.outlier AND NOT EXISTS (SELECT FROM rejections AS x WHERE x.event_id = e.event_id)
      ORDER BY e.stream_ordering DESC LIMIT 1`,
    [roomId, stream],
  );
}

/** The stream position at which the first event came in at or after a time: found by halving, as times are not indexed but nearly ascend. */
async function firstStreamReceivedAt(h: ReadHandle, timestamp: number): Promise<number> {
  const newest = (await queryOne<{ top: number | null }>(h, "SELECT max(stream_ordering) AS top FROM events"))?.top ?? null;
  if (newest === null) return 0;
  let [low, high] = [0, newest + 1];
  while (high > low) {
    const middle = Math.floor((low + high) / 2);
    const row = await queryOne<{ received_ts: number }>(h, "SELECT received_ts FROM events WHERE stream_ordering <= $1 ORDER BY stream_ordering DESC LIMIT 1", [
      middle,
    ]);
    if (row === undefined || timestamp > row.received_ts) low = middle + 1;
    else high = middle;
  }
  return high;
}
