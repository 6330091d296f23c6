import { query, type ReadHandle } from "../database.ts";

export interface ThreadCounts {
  readonly notifications: number;
  readonly highlights: number;
  /** Messages that count as unread (MSC2654); 0 unless that is on. */
  readonly unread: number;
}

/** Unread counts of a room: of its main timeline, and of its threads by the id of their root. */
export interface UnreadCounts {
  readonly main: ThreadCounts;
  readonly threads: ReadonlyMap<string, ThreadCounts>;
}

const NONE: ThreadCounts = { notifications: 0, highlights: 0, unread: 0 };

/**
 * What a user has not read in rooms that they are in (Synapse's rules, risk 78): after the later of their unthreaded receipt (without one:
 * their join) and their receipt for the thread; public and private receipts count alike. A summary stands for the events up to the rotated
 * position, as long as no receipt came after it was made; where it does not hold, and for highlights always, the actions are counted.
 * (Synapse counts too many for some seconds after a receipt in a thread whose summary knows of none yet.)
 * One statement for all rooms; rooms with nothing unread are left out.
 */
export async function unreadCounts(read: ReadHandle, userId: string, roomIds: readonly string[]): Promise<Map<string, UnreadCounts>> {
  const out = new Map<string, { main: ThreadCounts; threads: Map<string, ThreadCounts> }>();
  if (roomIds.length === 0) return out;
  const rows = await query<{ room_id: string; thread_id: string; notifications: number; unread: number; highlights: number }>(
    read,
    `WITH wanted AS MATERIALIZED (
       SELECT w.room_id,
         COALESCE(
           (SELECT max(r.event_stream_ordering) FROM receipts_linearized AS r
            WHERE r.room_id = w.room_id AND r.user_id = $1 AND r.receipt_type IN ('m.read', 'm.read.private') AND r.thread_id IS NULL),
           (SELECT e.stream_ordering FROM local_current_membership AS l JOIN events AS e ON e.event_id = l.event_id
            WHERE l.room_id = w.room_id AND l.user_id = $1)
         ) AS unthreaded
       FROM unnest($2::text[]) AS w (room_id)
     ), threaded AS MATERIALIZED (
       SELECT r.room_id, r.thread_id, max(r.event_stream_ordering) AS at
       FROM wanted AS w JOIN receipts_linearized AS r ON r.room_id = w.room_id
       WHERE r.user_id = $1 AND r.receipt_type IN ('m.read', 'm.read.private') AND r.thread_id IS NOT NULL AND r.event_stream_ordering > w.unthreaded
       GROUP BY r.room_id, r.thread_id
     ), summary AS MATERIALIZED (
       SELECT s.room_id, s.thread_id, s.notif_count, COALESCE(s.unread_count, 0) AS unread_count
       FROM wanted AS w
       JOIN event_push_summary AS s ON s.room_id = w.room_id AND s.user_id = $1
       LEFT JOIN threaded AS t ON t.room_id = s.room_id AND t.thread_id = s.thread_id
       WHERE (s.last_receipt_stream_ordering = COALESCE(t.at, w.unthreaded)
              OR (s.last_receipt_stream_ordering IS NULL AND s.stream_ordering > COALESCE(t.at, w.unthreaded)
                  AND NOT EXISTS (
                    SELECT FROM receipts_linearized AS r
                    WHERE r.room_id = s.room_id AND r.user_id = $1 AND r.receipt_type IN ('m.read', 'm.read.private')
                      AND (r.thread_id IS NULL OR r.thread_id = s.thread_id)
                      AND r.stream_id > (SELECT p.stream_id FROM event_push_summary_last_receipt_stream_id AS p))))
         AND (s.notif_count <> 0 OR COALESCE(s.unread_count, 0) <> 0)
     ), rotated AS (
       SELECT p.stream_ordering AS position FROM event_push_summary_stream_ordering AS p
     ), counted AS (
       SELECT a.room_id, a.thread_id,
         count(*) FILTER (WHERE a.notif = 1 AND a.stream_ordering > CASE WHEN s.thread_id IS NULL THEN COALESCE(t.at, w.unthreaded) ELSE rotated.position END) AS notifications,
         count(*) FILTER (WHERE a.unread = 1 AND a.stream_ordering > CASE WHEN s.thread_id IS NULL THEN COALESCE(t.at, w.unthreaded) ELSE rotated.position END) AS unread,
         count(*) FILTER (WHERE a.highlight = 1 AND a.stream_ordering > COALESCE(t.at, w.unthreaded)) AS highlights
       FROM wanted AS w
       CROSS JOIN rotated
       JOIN event_push_actions AS a ON a.room_id = w.room_id AND a.user_id = $1
       LEFT JOIN threaded AS t ON t.room_id = a.room_id AND t.thread_id = a.thread_id
       LEFT JOIN summary AS s ON s.room_id = a.room_id AND s.thread_id = a.thread_id
       WHERE a.stream_ordering > LEAST(w.unthreaded, rotated.position)
       GROUP BY a.room_id, a.thread_id
     )
     SELECT COALESCE(c.room_id, s.room_id) AS room_id, COALESCE(c.thread_id, s.thread_id) AS thread_id,
       COALESCE(c.notifications, 0) + COALESCE(s.notif_count, 0) AS notifications,
       COALESCE(c.unread, 0) + COALESCE(s.unread_count, 0) AS unread,
       COALESCE(c.highlights, 0) AS highlights
     FROM counted AS c FULL JOIN summary AS s ON s.room_id = c.room_id AND s.thread_id = c.thread_id`,
    [userId, roomIds],
  );
  for (const row of rows) {
    const counts: ThreadCounts = { notifications: row.notifications, highlights: row.highlights, unread: row.unread };
    if (counts.notifications === 0 && counts.highlights === 0 && counts.unread === 0) continue;
    let room = out.get(row.room_id);
    if (room === undefined) out.set(row.room_id, (room = { main: NONE, threads: new Map() }));
    if (row.thread_id === "main") room.main = counts;
    else room.threads.set(row.thread_id, counts);
  }
  return out;
}

/**
 * Notifications by room, threads included, for the badge of pushers: all rooms with any, also such as the user has left. Unlike
 * `unreadCounts` it does not look at the join.
 */
export async function notificationsByRoom(read: ReadHandle, userId: string): Promise<Map<string, number>> {
  const rows = await query<{ room_id: string; notifications: number }>(
    read,
    `WITH receipts AS MATERIALIZED (
       SELECT r.room_id, r.thread_id, max(r.event_stream_ordering) AS at
       FROM receipts_linearized AS r
       WHERE r.user_id = $1 AND r.receipt_type IN ('m.read', 'm.read.private')
       GROUP BY r.room_id, r.thread_id
     ), summary AS MATERIALIZED (
       SELECT s.room_id, s.thread_id, s.notif_count
       FROM event_push_summary AS s
       LEFT JOIN receipts AS t ON t.room_id = s.room_id AND t.thread_id = s.thread_id
       LEFT JOIN receipts AS u ON u.room_id = s.room_id AND u.thread_id IS NULL
       WHERE s.user_id = $1 AND s.notif_count <> 0
         AND (s.last_receipt_stream_ordering = GREATEST(t.at, u.at)
              OR (s.last_receipt_stream_ordering IS NULL AND s.stream_ordering > GREATEST(t.at, u.at)))
     ), counted AS (
       SELECT a.room_id, count(*) AS notif_count
       FROM event_push_actions AS a
       CROSS JOIN event_push_summary_stream_ordering AS p
       LEFT JOIN receipts AS t ON t.room_id = a.room_id AND t.thread_id = a.thread_id
       LEFT JOIN receipts AS u ON u.room_id = a.room_id AND u.thread_id IS NULL
       LEFT JOIN summary AS s ON s.room_id = a.room_id AND s.thread_id = a.thread_id
       WHERE a.user_id = $1 AND a.notif = 1
         AND a.stream_ordering > COALESCE(GREATEST(t.at, u.at), a.stream_ordering - 1)
         AND (s.thread_id IS NULL OR a.stream_ordering > p.stream_ordering)
       GROUP BY a.room_id
     )
     SELECT c.room_id, sum(c.notif_count)::bigint AS notifications
     FROM (SELECT room_id, notif_count FROM counted UNION ALL SELECT room_id, notif_count FROM summary) AS c
     GROUP BY c.room_id`,
    [userId],
  );
  return new Map(rows.map((row) => [row.room_id, row.notifications]));
}
