import { query, type ReadHandle } from "../../src/storage/database.ts";
import { type Block, blockParameters, WINDOW } from "./blocks.ts";
import { brokenInBlocks, type Broken } from "./broken.ts";

/** Rules that events in these stretches of the stream break, each by the statement that finds them. */
const inWindow = (h: ReadHandle, blocks: readonly Block[], select: string, where: string): Promise<Broken> =>
  brokenInBlocks(h, blocks, `SELECT ${select} FROM ${WINDOW} JOIN events AS e ON e.stream_ordering BETWEEN w.low AND w.high ${where}`);

export const withoutStateGroup = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  inWindow(h, blocks, "e.event_id AS id", "LEFT JOIN event_to_state_groups AS s ON s.event_id = e.event_id WHERE NOT e.outlier AND s.event_id IS NULL");

export const outliersWithStateGroup = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  inWindow(h, blocks, "e.event_id AS id", "JOIN event_to_state_groups AS s ON s.event_id = e.event_id WHERE e.outlier");

export const rejectedWithoutReason = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  inWindow(h, blocks, "e.event_id AS id", "LEFT JOIN rejections AS r ON r.event_id = e.event_id WHERE e.rejection_reason IS NOT NULL AND r.event_id IS NULL");

/** State events that lack their row in `state_events` or, for members, in `room_memberships`. */
export const withoutDerivedRows = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  inWindow(
    h,
    blocks,
    "e.event_id AS id",
    `LEFT JOIN state_events AS s ON s.event_id = e.event_id LEFT JOIN room_memberships AS m ON m.event_id = e.event_id
     WHERE e.state_key IS NOT NULL AND e.rejection_reason IS NULL AND (s.event_id IS NULL OR (e.type = 'm.room.member' AND m.event_id IS NULL))`,
  );

/** Copies of the event's ordering that are another. */
export const otherOrderings = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  inWindow(
    h,
    blocks,
    "e.event_id AS id",
    `LEFT JOIN room_memberships AS m ON m.event_id = e.event_id LEFT JOIN current_state_events AS c ON c.event_id = e.event_id
     WHERE e.state_key IS NOT NULL AND (m.event_stream_ordering <> e.stream_ordering OR c.event_stream_ordering <> e.stream_ordering)`,
  );

/** Rooms whose newest event of the stretches is newer than what `stream_ordering_to_exterm` knows. */
export const withoutExtremityHistory = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  brokenInBlocks(
    h,
    blocks.slice(0, 1),
    `SELECT n.room_id AS id FROM (SELECT e.room_id, max(e.stream_ordering) AS newest FROM ${WINDOW} JOIN events AS e ON e.stream_ordering BETWEEN w.low AND w.high
         JOIN event_json AS j ON j.event_id = e.event_id
       WHERE NOT e.outlier AND e.stream_ordering > 0 AND e.rejection_reason IS NULL AND j.internal_metadata NOT LIKE '%"soft_failed":true%' GROUP BY e.room_id) AS n
     WHERE EXISTS (SELECT FROM event_forward_extremities AS f WHERE f.room_id = n.room_id)
       AND n.newest > COALESCE((SELECT max(x.stream_ordering) FROM stream_ordering_to_exterm AS x WHERE x.room_id = n.room_id), 0)`,
  );

export const withoutChain = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  inWindow(
    h,
    blocks,
    "e.event_id AS id",
    `JOIN rooms AS r ON r.room_id = e.room_id LEFT JOIN event_auth_chains AS c ON c.event_id = e.event_id
     WHERE r.has_auth_chain_index AND NOT e.outlier AND e.state_key IS NOT NULL AND e.rejection_reason IS NULL AND c.event_id IS NULL
       AND NOT EXISTS (SELECT FROM event_auth_chain_to_calculate AS q WHERE q.event_id = e.event_id)`,
  );

/** Sliding sync's rooms whose newest event is not the newest one of the room. */
export const staleSlidingRooms = (h: ReadHandle, blocks: readonly Block[]): Promise<Broken> =>
  brokenInBlocks(
    h,
    blocks.slice(0, 1),
    `SELECT n.room_id AS id FROM (SELECT e.room_id, max(e.stream_ordering) AS newest FROM ${WINDOW} JOIN events AS e ON e.stream_ordering BETWEEN w.low AND w.high
       WHERE NOT e.outlier AND e.rejection_reason IS NULL GROUP BY e.room_id) AS n
     JOIN sliding_sync_joined_rooms AS s ON s.room_id = n.room_id
     WHERE s.event_stream_ordering < n.newest AND NOT EXISTS (SELECT FROM sliding_sync_joined_rooms_to_recalculate AS q WHERE q.room_id = n.room_id)`,
  );

export interface SampleEvent {
  readonly event_id: string;
  readonly room_id: string;
  readonly type: string;
  readonly sender: string;
  readonly state_key: string | null;
  readonly depth: number | bigint;
  readonly stream_ordering: number;
  readonly outlier: boolean;
  readonly json: string;
  readonly internal_metadata: string;
  readonly format_version: number | null;
  readonly room_version: string | null;
  readonly rejected: boolean;
  /** Its content may have been taken away. */
  readonly redacted: boolean;
  readonly prev: readonly string[];
  readonly auth: readonly string[];
}

/** Events of the stretches, with their JSON and edges; not more than `limit`. */
export async function sampleEvents(h: ReadHandle, blocks: readonly Block[], limit: number): Promise<SampleEvent[]> {
  return await query(
    h,
    `SELECT e.event_id, e.room_id, e.type, e.sender, e.state_key, e.depth, e.stream_ordering, e.outlier, j.json, j.internal_metadata, j.format_version, r.room_version,
            e.rejection_reason IS NOT NULL AS rejected,
            EXISTS (SELECT FROM redactions AS d WHERE d.redacts = e.event_id) OR EXISTS (SELECT FROM room_ban_redactions AS b WHERE b.room_id = e.room_id AND b.user_id = e.sender)
              OR EXISTS (SELECT FROM erased_users AS u WHERE u.user_id = e.sender) AS redacted,
            ARRAY(SELECT g.prev_event_id FROM event_edges AS g WHERE g.event_id = e.event_id AND NOT g.is_state) AS prev,
            ARRAY(SELECT a.auth_id FROM event_auth AS a WHERE a.event_id = e.event_id) AS auth
     FROM ${WINDOW} JOIN LATERAL (SELECT * FROM events AS o WHERE o.stream_ordering BETWEEN w.low AND w.high ORDER BY o.stream_ordering DESC LIMIT $3) AS e ON true
     LEFT JOIN event_json AS j ON j.event_id = e.event_id LEFT JOIN rooms AS r ON r.room_id = e.room_id
     ORDER BY e.stream_ordering DESC LIMIT $3 * cardinality($1::bigint[])`,
    [...blockParameters(blocks), limit],
  );
}

/** The newest events that our own server made. */
export async function ownEvents(
  h: ReadHandle,
  serverName: string,
  among: number,
  limit: number,
): Promise<Pick<SampleEvent, "event_id" | "json" | "room_version" | "redacted">[]> {
  return await query(
    h,
    `SELECT e.event_id, j.json, r.room_version, false AS redacted
     FROM (SELECT event_id, room_id, sender FROM events WHERE NOT outlier ORDER BY stream_ordering DESC LIMIT $2) AS e
     JOIN event_json AS j ON j.event_id = e.event_id JOIN rooms AS r ON r.room_id = e.room_id
     WHERE substr(e.sender, strpos(e.sender, ':') + 1) = $1 LIMIT $3`,
    [serverName, among, limit],
  );
}

/** Keys of other servers, to verify what they signed: by server and key id. */
export async function knownKeys(h: ReadHandle, servers: readonly string[]): Promise<{ server: string; keyId: string; key: Buffer }[]> {
  return await query(h, 'SELECT DISTINCT server_name AS server, key_id AS "keyId", verify_key AS key FROM server_signature_keys WHERE server_name = ANY($1)', [
    servers,
  ]);
}
