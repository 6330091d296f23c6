import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import { ROOM_COUNTERS } from "../rooms/stats.ts";

/** What the rebuilding of the user directory and of the statistics reads and writes. The scratch tables are Synapse's. */
const SCRATCH_ROOMS = "_temp_populate_user_directory_rooms";
const SCRATCH_USERS = "_temp_populate_user_directory_users";
const SCRATCH_POSITION = "_temp_populate_user_directory_position";

/** Notes all rooms and users to look at, and from where the directory is to be followed when they have been. */
export async function createDirectoryScratch(txn: Txn): Promise<void> {
  await query(
    txn,
    `CREATE TABLE IF NOT EXISTS ${SCRATCH_ROOMS} AS SELECT c.room_id, count(*) AS events FROM current_state_events AS c GROUP BY c.room_id;
     CREATE INDEX IF NOT EXISTS ${SCRATCH_ROOMS}_rm ON ${SCRATCH_ROOMS} (room_id);
     CREATE INDEX IF NOT EXISTS ${SCRATCH_ROOMS}_evs ON ${SCRATCH_ROOMS} (events);
     CREATE TABLE IF NOT EXISTS ${SCRATCH_USERS} AS SELECT u.name AS user_id FROM users AS u;
     CREATE INDEX IF NOT EXISTS ${SCRATCH_USERS}_idx ON ${SCRATCH_USERS} (user_id);
     CREATE TABLE IF NOT EXISTS ${SCRATCH_POSITION} (position bigint NOT NULL);
     DELETE FROM ${SCRATCH_POSITION};
     INSERT INTO ${SCRATCH_POSITION} SELECT COALESCE(max(stream_id), -1) FROM current_state_delta_stream;`,
  );
}

/** Ends a rebuild: the directory is followed from where it began. */
export async function dropDirectoryScratch(txn: Txn): Promise<void> {
  await execute(txn, `UPDATE user_directory_stream_pos SET stream_id = (SELECT position FROM ${SCRATCH_POSITION} LIMIT 1)`);
  await query(txn, `DROP TABLE IF EXISTS ${SCRATCH_ROOMS}, ${SCRATCH_USERS}, ${SCRATCH_POSITION}`);
}

export async function emptyDirectory(txn: Txn): Promise<void> {
  await query(txn, "TRUNCATE user_directory, user_directory_search, users_in_public_rooms, users_who_share_private_rooms");
}

/** Rooms that are left, the largest first; `events` is the size of their state. */
export async function scratchRooms(h: ReadHandle, limit: number): Promise<{ room_id: string; events: number }[]> {
  return await query(h, `SELECT room_id, events FROM ${SCRATCH_ROOMS} ORDER BY events DESC, room_id LIMIT $1`, [limit]);
}

export async function countScratch(h: ReadHandle, what: "rooms" | "users"): Promise<number> {
  return (await queryOne<{ count: number }>(h, `SELECT count(*) AS count FROM ${what === "rooms" ? SCRATCH_ROOMS : SCRATCH_USERS}`))!.count;
}

export async function forgetScratchRooms(txn: Txn, roomIds: readonly string[]): Promise<void> {
  await execute(txn, `DELETE FROM ${SCRATCH_ROOMS} WHERE room_id = ANY($1)`, [roomIds]);
}

/** Takes the next users off the list. */
export async function takeScratchUsers(txn: Txn, limit: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    txn,
    `DELETE FROM ${SCRATCH_USERS} WHERE user_id IN (SELECT user_id FROM ${SCRATCH_USERS} ORDER BY user_id LIMIT $1) RETURNING user_id`,
    [limit],
  );
  return rows.map(({ user_id }) => user_id);
}

/** Joined members of these rooms with what they call themselves there. */
export async function joinedProfiles(
  h: ReadHandle,
  roomIds: readonly string[],
): Promise<{ room_id: string; user_id: string; display_name: string | null; avatar_url: string | null }[]> {
  return await query(
    h,
    `SELECT c.room_id, c.state_key AS user_id, m.display_name, m.avatar_url
     FROM current_state_events AS c JOIN room_memberships AS m ON m.event_id = c.event_id
     WHERE c.room_id = ANY($1) AND c.type = 'm.room.member' AND m.membership = 'join'`,
    [roomIds],
  );
}

/** Pairs each of `locals` with each of `members` of a private room. */
export async function insertSharers(txn: Txn, roomId: string, locals: readonly string[], members: readonly string[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO users_who_share_private_rooms (user_id, other_user_id, room_id)
     SELECT l.user_id, m.user_id, $1 FROM unnest($2::text[]) AS l (user_id) CROSS JOIN unnest($3::text[]) AS m (user_id) WHERE l.user_id <> m.user_id
     ON CONFLICT (user_id, other_user_id, room_id) DO NOTHING`,
    [roomId, locals, members],
  );
}

/** The next rooms that have a state. */
export async function roomsWithState(h: ReadHandle, after: string, limit: number): Promise<string[]> {
  const rows = await query<{ room_id: string }>(h, "SELECT DISTINCT room_id FROM current_state_events WHERE room_id > $1 ORDER BY room_id LIMIT $2", [
    after,
    limit,
  ]);
  return rows.map(({ room_id }) => room_id);
}

export async function usersAfter(h: ReadHandle, after: string, limit: number): Promise<string[]> {
  const rows = await query<{ name: string }>(h, "SELECT name FROM users WHERE name > $1 ORDER BY name LIMIT $2", [after, limit]);
  return rows.map(({ name }) => name);
}

/** Counts the members and the state of these rooms anew; `position` is what the numbers hold. */
export async function recountRooms(txn: Txn, roomIds: readonly string[], serverName: string, position: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO room_stats_current (room_id, ${ROOM_COUNTERS.join(", ")}, completed_delta_stream_id)
     SELECT c.room_id, count(*),
       count(*) FILTER (WHERE c.membership = 'join'), count(*) FILTER (WHERE c.membership = 'invite'), count(*) FILTER (WHERE c.membership = 'knock'),
       count(*) FILTER (WHERE c.membership = 'leave'), count(*) FILTER (WHERE c.membership = 'ban'),
       count(*) FILTER (WHERE c.membership = 'join' AND substr(c.state_key, strpos(c.state_key, ':') + 1) = $2), $3
     FROM current_state_events AS c WHERE c.room_id = ANY($1) GROUP BY c.room_id
     ON CONFLICT (room_id) DO UPDATE SET ${[...ROOM_COUNTERS, "completed_delta_stream_id"].map((column) => `${column} = EXCLUDED.${column}`).join(", ")}`,
    [roomIds, serverName, position],
  );
}

/** Counts the rooms that these users are joined to anew. */
export async function recountUsers(txn: Txn, userIds: readonly string[], position: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO user_stats_current (user_id, joined_rooms, completed_delta_stream_id)
     SELECT given.user_id, (SELECT count(DISTINCT c.room_id) FROM current_state_events AS c
                            WHERE c.type = 'm.room.member' AND c.state_key = given.user_id AND c.membership = 'join'), $2
     FROM unnest($1::text[]) AS given (user_id)
     ON CONFLICT (user_id) DO UPDATE SET joined_rooms = EXCLUDED.joined_rooms, completed_delta_stream_id = EXCLUDED.completed_delta_stream_id`,
    [userIds, position],
  );
}
