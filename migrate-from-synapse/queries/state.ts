import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";
import { type Block, WINDOW } from "./blocks.ts";
import { broken, brokenInBlocks, type Broken } from "./broken.ts";

/** Edges that are no step back to an older group of the same room, or one of several. */
export const wrongEdges = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  brokenInBlocks(
    h,
    blocks,
    `SELECT g.state_group AS id FROM ${WINDOW} JOIN state_group_edges AS g ON g.state_group BETWEEN w.low AND w.high
     LEFT JOIN state_groups AS a ON a.id = g.state_group LEFT JOIN state_groups AS b ON b.id = g.prev_state_group
     WHERE g.prev_state_group >= g.state_group OR a.id IS NULL OR b.id IS NULL OR a.room_id <> b.room_id
     UNION ALL SELECT g.state_group FROM ${WINDOW} JOIN state_group_edges AS g ON g.state_group BETWEEN w.low AND w.high GROUP BY 1 HAVING count(*) > 1`,
  );

/** Groups of the stretches whose chain has more hops than Synapse makes. */
export const longChains = (h: ReadHandle, blocks: readonly Block[], perBlock: number): Promise<Broken> =>
  brokenInBlocks(
    h,
    blocks,
    `WITH RECURSIVE chain (id, at, hops) AS (
       SELECT g.id, g.id, 0 FROM ${WINDOW} JOIN LATERAL (SELECT s.id FROM state_groups AS s WHERE s.id BETWEEN w.low AND w.high ORDER BY s.id DESC LIMIT $3) AS g ON true
       UNION ALL SELECT chain.id, x.prev_state_group, chain.hops + 1 FROM chain JOIN state_group_edges AS x ON x.state_group = chain.at
       WHERE chain.hops <= 100 AND x.prev_state_group < chain.at)
     SELECT id FROM chain WHERE hops > 100`,
    [perBlock],
  );

/** State groups of events that do not exist, or belong to another room. */
export const lostGroups = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  brokenInBlocks(
    h,
    blocks,
    `SELECT s.event_id AS id FROM ${WINDOW} JOIN events AS e ON e.stream_ordering BETWEEN w.low AND w.high
     JOIN event_to_state_groups AS s ON s.event_id = e.event_id LEFT JOIN state_groups AS g ON g.id = s.state_group
     WHERE g.id IS NULL OR g.room_id <> e.room_id`,
  );

/** Groups that are about to be deleted though an event needs them. */
export const doomedGroups = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    `SELECT d.state_group AS id FROM (SELECT state_group FROM state_groups_pending_deletion ORDER BY sequence_number DESC LIMIT 5000) AS d
     WHERE EXISTS (SELECT FROM event_to_state_groups AS s WHERE s.state_group = d.state_group)`,
  );

export async function persistingGroups(h: ReadHandle): Promise<{ instance: string; groups: number }[]> {
  return await query(h, "SELECT instance_name AS instance, count(*)::int AS groups FROM state_groups_persisting GROUP BY 1 ORDER BY 1");
}

/** Rooms with one extremity, so that its state group is the current state: some at random. */
export async function roomsWithOneExtremity(
  h: ReadHandle,
  limit: number,
): Promise<{ room_id: string; event_id: string; state_group: number; is_state: boolean }[]> {
  return await query(
    h,
    `SELECT x.room_id, x.event_id, s.state_group, e.state_key IS NOT NULL AS is_state
     FROM (SELECT room_id, min(event_id) AS event_id FROM event_forward_extremities GROUP BY 1 HAVING count(*) = 1 ORDER BY random() LIMIT $1) AS x
     JOIN event_to_state_groups AS s ON s.event_id = x.event_id JOIN events AS e ON e.event_id = x.event_id
     WHERE EXISTS (SELECT FROM current_state_events AS c WHERE c.room_id = x.room_id) AND NOT EXISTS (SELECT FROM partial_state_rooms AS p WHERE p.room_id = x.room_id)`,
    [limit],
  );
}

/** Keys on which a state group and the current state of its room do not agree. */
export const stateDifferences = (h: ReadHandle, rooms: readonly string[], groups: readonly number[]): Promise<Broken> =>
  broken(
    h,
    `WITH RECURSIVE chain (room_id, at, hops) AS (
       SELECT r.room_id, r.state_group, 0 FROM unnest($1::text[], $2::bigint[]) AS r (room_id, state_group)
       UNION ALL SELECT chain.room_id, x.prev_state_group, chain.hops + 1 FROM chain JOIN state_group_edges AS x ON x.state_group = chain.at
       WHERE x.prev_state_group < chain.at AND chain.hops < 10000),
     resolved AS (
       SELECT DISTINCT ON (chain.room_id, s.type, s.state_key) chain.room_id, s.type, s.state_key, s.event_id
       FROM chain JOIN state_groups_state AS s ON s.state_group = chain.at ORDER BY chain.room_id, s.type, s.state_key, chain.hops)
     SELECT COALESCE(a.room_id, c.room_id) || ' ' || COALESCE(a.type, c.type) || ' ' || COALESCE(a.state_key, c.state_key) AS id
     FROM resolved AS a
     FULL JOIN (SELECT room_id, type, state_key, event_id FROM current_state_events WHERE room_id = ANY($1)) AS c
       ON c.room_id = a.room_id AND c.type = a.type AND c.state_key = a.state_key
     WHERE a.event_id IS DISTINCT FROM c.event_id`,
    [rooms, groups],
  );

/** Members of the current state of these rooms whose memberships are noted otherwise. */
export const membershipDifferences = (h: ReadHandle, rooms: readonly string[], serverName: string): Promise<Broken> =>
  broken(
    h,
    `SELECT c.room_id || ' ' || c.state_key AS id FROM current_state_events AS c
     LEFT JOIN room_memberships AS m ON m.event_id = c.event_id
     LEFT JOIN local_current_membership AS l ON l.room_id = c.room_id AND l.user_id = c.state_key
     WHERE c.room_id = ANY($1) AND c.type = 'm.room.member' AND (m.membership IS DISTINCT FROM c.membership
       OR (substr(c.state_key, strpos(c.state_key, ':') + 1) = $2 AND (l.event_id IS DISTINCT FROM c.event_id OR l.membership IS DISTINCT FROM c.membership)))`,
    [rooms, serverName],
  );

/** Keys whose last change in `current_state_delta_stream` is not the current state. */
export const deltaDifferences = (h: ReadHandle, rooms: readonly string[]): Promise<Broken> =>
  broken(
    h,
    `SELECT d.room_id || ' ' || d.type || ' ' || d.state_key AS id
     FROM (SELECT DISTINCT ON (room_id, type, state_key) room_id, type, state_key, event_id FROM current_state_delta_stream WHERE room_id = ANY($1)
           ORDER BY room_id, type, state_key, stream_id DESC) AS d
     LEFT JOIN current_state_events AS c ON c.room_id = d.room_id AND c.type = d.type AND c.state_key = d.state_key
     WHERE c.event_id IS DISTINCT FROM d.event_id`,
    [rooms],
  );

/** Rooms whose counted members are not their members. */
export const statisticsDifferences = (h: ReadHandle, rooms: readonly string[]): Promise<Broken> =>
  broken(
    h,
    `SELECT r.room_id AS id FROM room_stats_current AS r
     WHERE r.room_id = ANY($1) AND r.joined_members <> (SELECT count(*) FROM current_state_events AS c WHERE c.room_id = r.room_id AND c.type = 'm.room.member' AND c.membership = 'join')`,
    [rooms],
  );

/** The auth events of an event by its row, beside what the chain cover says: missing chains of auth events. */
export const uncoveredAuthEvents = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  brokenInBlocks(
    h,
    blocks,
    `SELECT e.event_id AS id FROM ${WINDOW} JOIN events AS e ON e.stream_ordering BETWEEN w.low AND w.high
     JOIN rooms AS r ON r.room_id = e.room_id JOIN event_auth_chains AS c ON c.event_id = e.event_id
     JOIN event_auth AS a ON a.event_id = e.event_id LEFT JOIN event_auth_chains AS t ON t.event_id = a.auth_id
     WHERE r.has_auth_chain_index AND NOT e.outlier AND e.rejection_reason IS NULL AND (
       t.event_id IS NULL OR NOT (
         (t.chain_id = c.chain_id AND t.sequence_number < c.sequence_number)
         OR EXISTS (
           WITH RECURSIVE reach (chain, sequence) AS (
             SELECT c.chain_id, c.sequence_number
             UNION SELECT l.target_chain_id, l.target_sequence_number FROM reach
               JOIN event_auth_chain_links AS l ON l.origin_chain_id = reach.chain AND l.origin_sequence_number <= reach.sequence)
           SELECT FROM reach WHERE reach.chain = t.chain_id AND reach.sequence >= t.sequence_number)))`,
  );

/** Estimated rows of `state_groups_state`, and of groups. */
export async function groupSizes(h: ReadHandle): Promise<{ rows: number; groups: number }> {
  return (await queryOne(
    h,
    `SELECT (SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'state_groups_state'::regclass) AS rows,
            (SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'state_groups'::regclass) AS groups`,
  ))!;
}

/** What other tables still hold of rooms that are gone. */
export const remainsOfPurgedRooms = (h: ReadHandle): Promise<Broken> =>
  broken(
    h,
    [
      "current_state_events",
      "room_stats_current",
      "room_stats_state",
      "room_depth",
      "event_push_summary",
      "receipts_linearized",
      "users_in_public_rooms",
      "sliding_sync_joined_rooms",
    ]
      .map(
        (table) => `SELECT DISTINCT '${table}: ' || t.room_id AS id FROM ${table} AS t WHERE NOT EXISTS (SELECT FROM rooms AS r WHERE r.room_id = t.room_id)`,
      )
      .join(" UNION ALL "),
  );
