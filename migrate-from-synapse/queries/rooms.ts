import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";
import { broken, type Broken } from "./broken.ts";

export async function roomVersions(h: ReadHandle): Promise<{ version: string | null; rooms: number }[]> {
  return await query(h, "SELECT room_version AS version, count(*)::int AS rooms FROM rooms GROUP BY 1 ORDER BY 2 DESC");
}

/** The rooms with the most state, by the statistics. */
export async function largestRooms(h: ReadHandle, least: number): Promise<{ room_id: string; state: number; members: number }[]> {
  return await query(
    h,
    `SELECT room_id, current_state_events AS state, joined_members AS members FROM room_stats_current WHERE current_state_events >= $1
     ORDER BY current_state_events DESC LIMIT 5`,
    [least],
  );
}

/** Rooms in which somebody of ours is, by the memberships of local users. */
const OURS = "SELECT DISTINCT room_id FROM local_current_membership WHERE membership = 'join'";

export const unknownRooms = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT room_id AS id FROM event_forward_extremities AS x WHERE NOT EXISTS (SELECT FROM rooms AS r WHERE r.room_id = x.room_id)
     UNION SELECT room_id FROM local_current_membership AS m WHERE m.membership IN ('join', 'invite', 'knock') AND NOT EXISTS (SELECT FROM rooms AS r WHERE r.room_id = m.room_id)`,
  );

export const roomsWithoutExtremities = (h: ReadHandle): Promise<Broken> =>
  broken(h, `SELECT o.room_id AS id FROM (${OURS}) AS o WHERE NOT EXISTS (SELECT FROM event_forward_extremities AS x WHERE x.room_id = o.room_id)`);

export const roomsWithManyExtremities = (h: ReadHandle): Promise<Broken> =>
  broken(h, "SELECT room_id || ' (' || count(*) || ')' AS id FROM event_forward_extremities GROUP BY room_id HAVING count(*) > 10 ORDER BY count(*) DESC");

/** Extremities that cannot be one: events that are unknown, outliers, rejected, or followed by another that counts. */
export const wrongExtremities = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT x.event_id AS id FROM event_forward_extremities AS x LEFT JOIN events AS e ON e.event_id = x.event_id
     WHERE e.event_id IS NULL OR e.outlier OR e.rejection_reason IS NOT NULL OR EXISTS (
       SELECT FROM event_edges AS g JOIN events AS f ON f.event_id = g.event_id JOIN event_json AS j ON j.event_id = f.event_id
       WHERE g.prev_event_id = x.event_id AND NOT g.is_state AND f.room_id = x.room_id AND NOT f.outlier AND f.rejection_reason IS NULL
         AND j.internal_metadata NOT LIKE '%"soft_failed":true%')`,
  );

export const rejectedButNotMarked = (h: ReadHandle): Promise<Broken> =>
  broken(h, "SELECT r.event_id AS id FROM rejections AS r JOIN events AS e ON e.event_id = r.event_id WHERE e.rejection_reason IS NULL");

/** Extremities deeper than canonical JSON's integers reach. */
export const tooDeep = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT e.room_id AS id FROM event_forward_extremities AS x JOIN events AS e ON e.event_id = x.event_id WHERE e.depth >= 9007199254740991
     UNION SELECT room_id FROM room_depth WHERE min_depth < 0 OR min_depth >= 9007199254740991`,
  );

/** By an index. */
export const stateWithoutOrdering = (h: ReadHandle): Promise<Broken> =>
  broken(h, "SELECT room_id AS id FROM current_state_events WHERE event_stream_ordering IS NULL");

export async function partialRooms(h: ReadHandle): Promise<{ rooms: number; examples: string[] }> {
  return (await queryOne(h, "SELECT count(*)::int AS rooms, COALESCE((array_agg(room_id ORDER BY room_id))[1:5], '{}') AS examples FROM partial_state_rooms"))!;
}

/** Events to be censored whose time has come since long. */
export async function redactionsDue(h: ReadHandle, before: number): Promise<number> {
  return (await queryOne<{ due: number }>(h, "SELECT count(*)::int AS due FROM redactions WHERE NOT have_censored AND received_ts < $1", [before]))!.due;
}

export const joinedRoomsNotInSlidingSync = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT o.room_id AS id FROM (${OURS}) AS o
     WHERE NOT EXISTS (SELECT FROM sliding_sync_joined_rooms AS s WHERE s.room_id = o.room_id)
       AND NOT EXISTS (SELECT FROM sliding_sync_joined_rooms_to_recalculate AS q WHERE q.room_id = o.room_id)`,
  );

/** Snapshots of memberships that are not the memberships. */
export const staleSnapshots = (h: ReadHandle, newest: number | null): Promise<Broken> =>
  broken(
    h,
    `SELECT m.room_id || ' of ' || m.user_id AS id FROM local_current_membership AS m
     LEFT JOIN sliding_sync_membership_snapshots AS s ON s.room_id = m.room_id AND s.user_id = m.user_id
     WHERE s.membership_event_id IS DISTINCT FROM m.event_id
       AND ($1::bigint IS NULL OR m.event_stream_ordering > (SELECT max(stream_ordering) FROM events) - $1::bigint)`,
    [newest],
  );

export const staleForgotten = (h: ReadHandle, newest: number | null): Promise<Broken> =>
  broken(
    h,
    `SELECT s.room_id || ' of ' || s.user_id AS id FROM sliding_sync_membership_snapshots AS s JOIN room_memberships AS m ON m.event_id = s.membership_event_id
     WHERE s.forgotten <> COALESCE(m.forgotten, 0)
       AND ($1::bigint IS NULL OR s.event_stream_ordering > (SELECT max(stream_ordering) FROM events) - $1::bigint)`,
    [newest],
  );

export async function slidingConnections(h: ReadHandle, before: number): Promise<{ connections: number; old: number }> {
  return (await queryOne(h, "SELECT count(*)::int AS connections, count(*) FILTER (WHERE last_used_ts < $1)::int AS old FROM sliding_sync_connections", [
    before,
  ]))!;
}

export async function invitesWithoutState(h: ReadHandle): Promise<Broken> {
  return await broken(
    h,
    `SELECT m.room_id AS id FROM local_current_membership AS m JOIN events AS e ON e.event_id = m.event_id JOIN event_json AS j ON j.event_id = m.event_id
     WHERE m.membership = 'invite' AND e.outlier AND j.json NOT LIKE '%"invite_room_state"%' AND m.event_stream_ordering > (SELECT max(stream_ordering) FROM events) - 200000`,
  );
}
