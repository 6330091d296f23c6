import { stateKeyOf, type StateKey } from "../../protocol/event/event.ts";
import { query, queryOne, type ReadHandle } from "../database.ts";

/** Walks over the event graph of one room for other servers. Nothing of another room is ever touched. */
export interface GraphEvent {
  readonly eventId: string;
  readonly depth: number | bigint;
  readonly streamOrdering: number;
}

interface GraphRow {
  readonly event_id: string;
  readonly depth: number | bigint;
  readonly stream_ordering: number;
}

const toGraphEvent = (row: GraphRow): GraphEvent => ({ eventId: row.event_id, depth: row.depth, streamOrdering: row.stream_ordering });

/**
 * These events and those before them, nearest first; at most `limit` events are visited. Outliers and events of other rooms are walls.
 */
export async function eventsBehind(read: ReadHandle, roomId: string, eventIds: readonly string[], limit: number): Promise<GraphEvent[]> {
  const rows = await query<GraphRow>(
    read,
    `WITH RECURSIVE behind (event_id) AS (
       SELECT e.event_id FROM events AS e WHERE e.event_id = ANY($2) AND e.room_id = $1 AND NOT e.outlier
       UNION
       SELECT e.event_id
       FROM behind AS b
       JOIN event_edges AS g ON g.event_id = b.event_id AND NOT g.is_state
       JOIN events AS e ON e.event_id = g.prev_event_id AND e.room_id = $1 AND NOT e.outlier
     )
     SELECT e.event_id, e.depth, e.stream_ordering
     FROM (SELECT b.event_id FROM behind AS b LIMIT $3) AS nearest
     JOIN events AS e ON e.event_id = nearest.event_id
     ORDER BY e.depth DESC, e.stream_ordering DESC`,
    [roomId, eventIds, limit],
  );
  return rows.map(toGraphEvent);
}

/** The events between `latest` and `earliest` (both left out), oldest first; at most `limit` events are visited, from the latest on. */
export async function eventsBetween(
  read: ReadHandle,
  roomId: string,
  earliest: readonly string[],
  latest: readonly string[],
  limit: number,
): Promise<GraphEvent[]> {
  const rows = await query<GraphRow>(
    read,
    `WITH RECURSIVE behind (event_id) AS (
       SELECT e.event_id
       FROM events AS l
       JOIN event_edges AS g ON g.event_id = l.event_id AND NOT g.is_state
       JOIN events AS e ON e.event_id = g.prev_event_id AND e.room_id = $1 AND NOT e.outlier
       WHERE l.event_id = ANY($3) AND l.room_id = $1 AND e.event_id <> ALL($2::text[]) AND e.event_id <> ALL($3::text[])
       UNION
       SELECT e.event_id
       FROM behind AS b
       JOIN event_edges AS g ON g.event_id = b.event_id AND NOT g.is_state
       JOIN events AS e ON e.event_id = g.prev_event_id AND e.room_id = $1 AND NOT e.outlier
       WHERE e.event_id <> ALL($2::text[])
     )
     SELECT e.event_id, e.depth, e.stream_ordering
     FROM (SELECT b.event_id FROM behind AS b LIMIT $4) AS nearest
     JOIN events AS e ON e.event_id = nearest.event_id
     ORDER BY e.depth, e.stream_ordering`,
    [roomId, earliest, latest, limit],
  );
  return rows.map(toGraphEvent);
}

export interface StateEventFacts {
  readonly eventId: string;
  readonly roomId: string;
  /** undefined: no state event. */
  readonly key: StateKey | undefined;
  readonly rejected: boolean;
}

/** What of stored events it takes to make a state of them; unknown ids are left out. */
export async function stateEventFacts(read: ReadHandle, eventIds: readonly string[]): Promise<StateEventFacts[]> {
  const rows = await query<{ event_id: string; room_id: string; type: string; state_key: string | null; rejected: boolean }>(
    read,
    `SELECT e.event_id, e.room_id, e.type, COALESCE(e.state_key, s.state_key) AS state_key,
       e.rejection_reason IS NOT NULL OR x.event_id IS NOT NULL AS rejected
     FROM events AS e
     LEFT JOIN state_events AS s ON s.event_id = e.event_id
     LEFT JOIN rejections AS x ON x.event_id = e.event_id
     WHERE e.event_id = ANY($1)`,
    [eventIds],
  );
  return rows.map((row) => ({
    eventId: row.event_id,
    roomId: row.room_id,
    key: row.state_key === null ? undefined : stateKeyOf(row.type, row.state_key),
    rejected: row.rejected,
  }));
}

/** Newest events of a room. */
export async function forwardExtremities(read: ReadHandle, roomId: string): Promise<string[]> {
  const rows = await query<{ event_id: string }>(read, `SELECT x.event_id FROM event_forward_extremities AS x WHERE x.room_id = $1`, [roomId]);
  return rows.map((row) => row.event_id);
}

/** Number of current state events of a room. */
export async function countStateEvents(read: ReadHandle, roomId: string): Promise<number> {
  const row = await queryOne<{ count: number }>(read, `SELECT count(*)::int AS count FROM current_state_events AS c WHERE c.room_id = $1`, [roomId]);
  return row?.count ?? 0;
}
