import { query, type ReadHandle } from "../database.ts";

export interface BackfillPoint {
  /** An event that is missing here. */
  readonly eventId: string;
  /** Depth of an event that follows it. */
  readonly depth: number | bigint;
}

/** After a failure, a missing event is asked for again only after two hours, doubled with each failure up to this many times. */
const MOST_DOUBLINGS = 8;
const HOUR_MS = 3_600_000;

/**
 * Where history is missing, below a depth, nearest first: events that stored events follow and that could not lately be shown not to be had.
 * Of each one the depth of the highest event that follows it.
 */
export async function backfillPoints(read: ReadHandle, roomId: string, maxDepth: number | bigint, now: number, limit: number): Promise<BackfillPoint[]> {
  const rows = await query<{ event_id: string; depth: number | bigint }>(
    read,
    `SELECT x.event_id, max(e.depth) AS depth
     FROM event_backward_extremities AS x
     JOIN event_edges AS g ON g.prev_event_id = x.event_id AND g.is_state IS FALSE
     JOIN events AS e ON e.event_id = g.event_id AND NOT e.outlier
     LEFT JOIN event_failed_pull_attempts AS f ON f.room_id = x.room_id AND f.event_id = x.event_id
     WHERE x.room_id = $1 AND e.depth <= $2
       AND (f.event_id IS NULL OR $3::bigint >= f.last_attempt_ts + (1 << LEAST(f.num_attempts, $5)) * $6::bigint)
     GROUP BY x.event_id ORDER BY max(e.depth) DESC, x.event_id DESC LIMIT $4`,
    [roomId, maxDepth, now, limit, MOST_DOUBLINGS, HOUR_MS],
  );
  return rows.map((row) => ({ eventId: row.event_id, depth: row.depth }));
}

/** Servers with members joined in the room, those whose first member has been there longest first. */
export async function serversBySeniority(read: ReadHandle, roomId: string, limit: number): Promise<string[]> {
  const rows = await query<{ server: string }>(
    read,
    `SELECT substring(c.state_key FROM position(':' IN c.state_key) + 1) AS server
     FROM current_state_events AS c JOIN events AS e ON e.event_id = c.event_id
     WHERE c.room_id = $1 AND c.type = 'm.room.member' AND c.membership = 'join'
     GROUP BY server ORDER BY min(e.depth), server LIMIT $2`,
    [roomId, limit],
  );
  return rows.map((row) => row.server);
}
