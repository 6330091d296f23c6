import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** Events of one thread that notify the same many users, without rows in `event_push_actions`. */
export interface CrowdSum {
  readonly roomId: string;
  readonly threadId: string;
  readonly users: readonly string[];
  readonly positions: readonly number[];
  /** Users who are not told of one of the events, or have a row for it. */
  readonly exceptions: readonly TimedException[];
}

export interface TimedException {
  readonly userId: string;
  readonly position: number;
}

/** Adds events to the summaries of many users, as the rotation does with rows: those before a user's receipt do not count. */
export async function addToSummaries(txn: Txn, sum: CrowdSum): Promise<void> {
  await execute(
    txn,
    `INSERT INTO event_push_summary AS s (user_id, room_id, thread_id, notif_count, unread_count, stream_ordering)
     SELECT u.user_id, $1, $2, count(*), 0, max(e.position)
     FROM unnest($3::text[]) AS u (user_id)
     CROSS JOIN unnest($4::bigint[]) AS e (position)
     LEFT JOIN event_push_summary AS old ON old.user_id = u.user_id AND old.room_id = $1 AND old.thread_id = $2
     LEFT JOIN unnest($5::text[], $6::bigint[]) AS x (user_id, position) ON x.user_id = u.user_id AND x.position = e.position
     WHERE x.user_id IS NULL AND (old.last_receipt_stream_ordering IS NULL OR old.last_receipt_stream_ordering < e.position)
     GROUP BY u.user_id
     ON CONFLICT (user_id, room_id, thread_id) DO UPDATE
     SET notif_count = s.notif_count + EXCLUDED.notif_count, stream_ordering = GREATEST(s.stream_ordering, EXCLUDED.stream_ordering)`,
    [sum.roomId, sum.threadId, sum.users, sum.positions, sum.exceptions.map(({ userId }) => userId), sum.exceptions.map(({ position }) => position)],
  );
}

/** Up to where a user has read rooms, and up to where summaries stand. */
export interface ReadBounds {
  readonly roomId: string;
  /** undefined: what holds for threads without one of their own. */
  readonly threadId: string | undefined;
  readonly position: number;
}

/** As `unreadCounts` sees it: the unthreaded receipt or the join, and later receipts of threads. */
export async function readBounds(read: ReadHandle, userId: string, roomIds: readonly string[]): Promise<{ bounds: ReadBounds[]; rotated: number }> {
  const rows = await query<{ room_id: string; thread_id: string | null; position: number | null; rotated: number }>(
    read,
    `WITH rotated AS (SELECT p.stream_ordering AS position FROM event_push_summary_stream_ordering AS p)
     SELECT w.room_id, r.thread_id, max(r.event_stream_ordering) AS position, (SELECT rotated.position FROM rotated) AS rotated
     FROM unnest($2::text[]) AS w (room_id)
     JOIN receipts_linearized AS r ON r.room_id = w.room_id AND r.user_id = $1 AND r.receipt_type IN ('m.read', 'm.read.private')
     GROUP BY w.room_id, r.thread_id
     UNION ALL
     SELECT l.room_id, NULL, e.stream_ordering, (SELECT rotated.position FROM rotated)
     FROM local_current_membership AS l JOIN events AS e ON e.event_id = l.event_id
     WHERE l.user_id = $1 AND l.room_id = ANY($2::text[])
       AND NOT EXISTS (SELECT FROM receipts_linearized AS r
                       WHERE r.room_id = l.room_id AND r.user_id = $1 AND r.receipt_type IN ('m.read', 'm.read.private') AND r.thread_id IS NULL
                         AND r.event_stream_ordering IS NOT NULL)`,
    [userId, roomIds],
  );
  return {
    bounds: rows.flatMap((row) => (row.position === null ? [] : [{ roomId: row.room_id, threadId: row.thread_id ?? undefined, position: row.position }])),
    rotated: rows[0]?.rotated ?? 0,
  };
}

/** Events after the rotated position that may have notified somebody, by room; who has a row for each of them. */
export async function unrotatedEvents(read: ReadHandle): Promise<{ eventId: string; roomId: string; told: string[] }[]> {
  const rows = await query<{ event_id: string; room_id: string; told: string[] | null }>(
    read,
    `SELECT e.event_id, e.room_id, (SELECT array_agg(a.user_id) FROM event_push_actions AS a WHERE a.room_id = e.room_id AND a.event_id = e.event_id) AS told
     FROM events AS e
     WHERE e.stream_ordering > (SELECT p.stream_ordering FROM event_push_summary_stream_ordering AS p)
       AND NOT e.outlier AND e.rejection_reason IS NULL AND e.type <> 'm.room.member'
     ORDER BY e.stream_ordering`,
  );
  return rows.map((row) => ({ eventId: row.event_id, roomId: row.room_id, told: row.told ?? [] }));
}
