import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * The user directory: who can be found (`user_directory`, `user_directory_search`) and by whom (`users_in_public_rooms`: by everybody;
 * `users_who_share_private_rooms`: by the local user in the first column).
 */
export interface DirectoryProfile {
  readonly userId: string;
  readonly displayName: string | null;
  readonly avatarUrl: string | null;
}

/** null: the directory is to be rebuilt. */
export async function directoryPosition(h: ReadHandle): Promise<number | null> {
  return (await queryOne<{ stream_id: number | null }>(h, "SELECT stream_id FROM user_directory_stream_pos"))?.stream_id ?? null;
}

export async function setDirectoryPosition(txn: Txn, position: number | null): Promise<void> {
  await execute(txn, "UPDATE user_directory_stream_pos SET stream_id = $1", [position]);
}

/** `indexName` is the display name as it is searched: lower case, NFKC. */
export interface DirectoryEntry extends DirectoryProfile {
  readonly localpart: string;
  readonly serverName: string;
  readonly indexName: string;
}

/** Sets what is shown and searched of these users; what was known to be stale of them is so no longer. */
export async function upsertDirectoryEntries(txn: Txn, entries: readonly DirectoryEntry[]): Promise<void> {
  if (entries.length === 0) return;
  const userIds = entries.map((entry) => entry.userId);
  await execute(
    txn,
    `INSERT INTO user_directory (user_id, display_name, avatar_url)
     SELECT given.user_id, given.display_name, given.avatar_url FROM unnest($1::text[], $2::text[], $3::text[]) AS given (user_id, display_name, avatar_url)
     ON CONFLICT (user_id) DO UPDATE SET display_name = EXCLUDED.display_name, avatar_url = EXCLUDED.avatar_url`,
    [userIds, entries.map((entry) => entry.displayName), entries.map((entry) => entry.avatarUrl)],
  );
  await execute(
    txn,
    `INSERT INTO user_directory_search (user_id, vector)
     SELECT given.user_id,
            setweight(to_tsvector('simple', given.localpart), 'A') || setweight(to_tsvector('simple', given.server_name), 'D')
              || setweight(to_tsvector('simple', given.index_name), 'B')
       FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS given (user_id, localpart, server_name, index_name)
     ON CONFLICT (user_id) DO UPDATE SET vector = EXCLUDED.vector`,
    [userIds, entries.map((entry) => entry.localpart), entries.map((entry) => entry.serverName), entries.map((entry) => entry.indexName)],
  );
  await execute(txn, "DELETE FROM user_directory_stale_remote_users WHERE user_id = ANY($1)", [userIds]);
}

/** Removes users from the directory altogether. */
export async function deleteDirectoryUsers(txn: Txn, userIds: readonly string[]): Promise<void> {
  if (userIds.length === 0) return;
  await execute(txn, "DELETE FROM user_directory WHERE user_id = ANY($1)", [userIds]);
  await execute(txn, "DELETE FROM user_directory_search WHERE user_id = ANY($1)", [userIds]);
  await execute(txn, "DELETE FROM users_in_public_rooms WHERE user_id = ANY($1)", [userIds]);
  await execute(txn, "DELETE FROM users_who_share_private_rooms WHERE user_id = ANY($1) OR other_user_id = ANY($1)", [userIds]);
}

/** Takes all users out of these rooms, as far as the directory is concerned; returns them. */
export async function deleteRoomsFromDirectory(txn: Txn, roomIds: readonly string[]): Promise<Set<string>> {
  if (roomIds.length === 0) return new Set();
  const open = await query<{ user_id: string }>(txn, "DELETE FROM users_in_public_rooms WHERE room_id = ANY($1) RETURNING user_id", [roomIds]);
  const closed = await query<{ user_id: string }>(
    txn,
    `WITH gone AS (DELETE FROM users_who_share_private_rooms WHERE room_id = ANY($1) RETURNING other_user_id)
     SELECT DISTINCT gone.other_user_id AS user_id FROM gone`,
    [roomIds],
  );
  return new Set([...open, ...closed].map((row) => row.user_id));
}

/** Takes single users out of rooms: pairs given as two lists of the same length. */
export async function deleteDirectoryMemberships(txn: Txn, roomIds: readonly string[], userIds: readonly string[]): Promise<void> {
  if (roomIds.length === 0) return;
  await execute(
    txn,
    `DELETE FROM users_in_public_rooms AS stored USING unnest($1::text[], $2::text[]) AS given (room_id, user_id)
      WHERE stored.user_id = given.user_id AND stored.room_id = given.room_id`,
    [roomIds, userIds],
  );
  await execute(
    txn,
    `DELETE FROM users_who_share_private_rooms AS stored USING unnest($1::text[], $2::text[]) AS given (room_id, user_id)
      WHERE stored.user_id = given.user_id AND stored.room_id = given.room_id`,
    [roomIds, userIds],
  );
  await execute(
    txn,
    `DELETE FROM users_who_share_private_rooms AS stored USING unnest($1::text[], $2::text[]) AS given (room_id, user_id)
      WHERE stored.other_user_id = given.user_id AND stored.room_id = given.room_id`,
    [roomIds, userIds],
  );
}

/** Of these users, those whom no room makes findable. */
export async function usersInNoDirectoryRoom(h: ReadHandle, userIds: readonly string[]): Promise<string[]> {
  if (userIds.length === 0) return [];
  const rows = await query<{ user_id: string }>(
    h,
    `SELECT given.user_id FROM unnest($1::text[]) AS given (user_id)
      WHERE NOT EXISTS (SELECT FROM users_in_public_rooms WHERE users_in_public_rooms.user_id = given.user_id)
        AND NOT EXISTS (SELECT FROM users_who_share_private_rooms WHERE users_who_share_private_rooms.other_user_id = given.user_id)`,
    [userIds],
  );
  return rows.map((row) => row.user_id);
}

/** Pairs given as two lists of the same length. */
export async function insertPublicMemberships(txn: Txn, roomIds: readonly string[], userIds: readonly string[]): Promise<void> {
  if (roomIds.length === 0) return;
  await execute(
    txn,
    `INSERT INTO users_in_public_rooms (room_id, user_id) SELECT given.room_id, given.user_id FROM unnest($1::text[], $2::text[]) AS given (room_id, user_id)
      WHERE EXISTS (SELECT FROM rooms WHERE rooms.room_id = given.room_id)
     ON CONFLICT (user_id, room_id) DO NOTHING`,
    [roomIds, userIds],
  );
}

/** A member of a private room; `joining`: new in it, so that its pairs with the others are to be added. */
export interface PrivateMember {
  readonly roomId: string;
  readonly userId: string;
  readonly local: boolean;
  readonly joining: boolean;
}

/** Adds, for each new member of a private room, the pairs with all members given: (local user, other user). */
export async function insertPrivatePairs(txn: Txn, members: readonly PrivateMember[]): Promise<void> {
  if (members.length === 0) return;
  await execute(
    txn,
    `WITH given AS (SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[], $4::boolean[]) AS given (room_id, user_id, is_local, joining))
     INSERT INTO users_who_share_private_rooms (user_id, other_user_id, room_id)
     SELECT joiner.user_id, other.user_id, joiner.room_id
       FROM given AS joiner JOIN given AS other ON other.room_id = joiner.room_id AND other.user_id <> joiner.user_id
      WHERE joiner.joining AND joiner.is_local
      UNION
     SELECT other.user_id, joiner.user_id, joiner.room_id
       FROM given AS joiner JOIN given AS other ON other.room_id = joiner.room_id AND other.user_id <> joiner.user_id
      WHERE joiner.joining AND other.is_local
     ON CONFLICT (user_id, other_user_id, room_id) DO NOTHING`,
    [members.map((m) => m.roomId), members.map((m) => m.userId), members.map((m) => m.local), members.map((m) => m.joining)],
  );
}

/** Of these local users, those who may be found: existing, not deactivated, no support accounts. */
export async function findableLocalUsers(h: ReadHandle, userIds: readonly string[]): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await query<{ name: string }>(h, "SELECT name FROM users WHERE name = ANY($1) AND deactivated = 0 AND user_type IS DISTINCT FROM 'support'", [
    userIds,
  ]);
  return new Set(rows.map((row) => row.name));
}

/** Profiles of local users as they stand in `profiles`; users without a row are left out. */
export async function localProfiles(h: ReadHandle, userIds: readonly string[]): Promise<Map<string, DirectoryProfile>> {
  const rows = await query<{ full_user_id: string; displayname: string | null; avatar_url: string | null }>(
    h,
    "SELECT full_user_id, displayname, avatar_url FROM profiles WHERE full_user_id = ANY($1)",
    [userIds],
  );
  return new Map(rows.map((row) => [row.full_user_id, { userId: row.full_user_id, displayName: row.displayname, avatarUrl: row.avatar_url }]));
}

/** Remote users whose profile is to be asked of their server, since rooms they share with us do not tell it truly. */
export async function markRemoteProfilesStale(
  txn: Txn,
  users: readonly { userId: string; serverName: string }[],
  nextTryAt: number,
  retryCounter: number,
): Promise<void> {
  if (users.length === 0) return;
  await execute(
    txn,
    `INSERT INTO user_directory_stale_remote_users (user_id, user_server_name, next_try_at_ts, retry_counter)
     SELECT given.user_id, given.server_name, $3, $4 FROM unnest($1::text[], $2::text[]) AS given (user_id, server_name)
     ON CONFLICT (user_id) DO UPDATE SET next_try_at_ts = EXCLUDED.next_try_at_ts, retry_counter = EXCLUDED.retry_counter`,
    [users.map((user) => user.userId), users.map((user) => user.serverName), nextTryAt, retryCounter],
  );
}

export async function clearStaleRemoteProfile(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM user_directory_stale_remote_users WHERE user_id = $1", [userId]);
}

/** Stale remote profiles that are due, oldest first: at most `perServer` of each of at most `servers` servers. */
export async function dueStaleProfiles(
  h: ReadHandle,
  now: number,
  servers: number,
  perServer: number,
): Promise<{ userId: string; serverName: string; retryCounter: number }[]> {
  const rows = await query<{ user_id: string; user_server_name: string; retry_counter: number }>(
    h,
    `SELECT due.user_id, due.user_server_name, due.retry_counter
       FROM (SELECT stale.user_server_name FROM user_directory_stale_remote_users AS stale WHERE stale.next_try_at_ts < $1
              GROUP BY stale.user_server_name ORDER BY min(stale.next_try_at_ts), stale.user_server_name LIMIT $2) AS chosen
      CROSS JOIN LATERAL (SELECT stale.user_id, stale.user_server_name, stale.retry_counter FROM user_directory_stale_remote_users AS stale
                           WHERE stale.user_server_name = chosen.user_server_name AND stale.next_try_at_ts < $1
                           ORDER BY stale.next_try_at_ts LIMIT $3) AS due`,
    [now, servers, perServer],
  );
  return rows.map((row) => ({ userId: row.user_id, serverName: row.user_server_name, retryCounter: row.retry_counter }));
}

export interface DirectorySearch {
  /** Finds users visible to this one. */
  readonly userId: string;
  /** tsquery texts (`simple` configuration): words or prefixes, whole words, prefixes. */
  readonly full: string;
  readonly exact: string;
  readonly prefix: string;
  readonly limit: number;
  readonly allUsers: boolean;
  readonly showLocked: boolean;
  /** Only users of this server. */
  readonly excludeRemote: boolean;
  /** Users of this server come before others that match as well. */
  readonly preferServer: string | undefined;
}

/** Users that match, best first. */
export async function searchUserDirectory(h: ReadHandle, search: DirectorySearch): Promise<DirectoryProfile[]> {
  const visible = search.allUsers
    ? "matching.user_id <> $1"
    : `(EXISTS (SELECT FROM users_in_public_rooms WHERE users_in_public_rooms.user_id = matching.user_id)
        OR EXISTS (SELECT FROM users_who_share_private_rooms AS shared WHERE shared.user_id = $1 AND shared.other_user_id = matching.user_id))`;
  const params: unknown[] = [search.userId, search.full, search.exact, search.prefix, search.limit];
  let preference = "";
  if (search.preferServer !== undefined) {
    params.push(`%:${search.preferServer}`);
    preference = ` * CASE WHEN matching.user_id LIKE $${params.length} THEN 2.0 ELSE 1.0 END`;
  }
  const rank = (query: string): string => `ts_rank_cd('{0.1, 0.1, 0.9, 1.0}', matching.vector, to_tsquery('simple', ${query}), 8)`;
  const rows = await query<{ user_id: string; display_name: string | null; avatar_url: string | null }>(
    h,
    `WITH matching AS MATERIALIZED (
       SELECT user_directory_search.user_id, user_directory_search.vector FROM user_directory_search
        WHERE user_directory_search.vector @@ to_tsquery('simple', $2) LIMIT 10000
     )
     SELECT user_directory.user_id, user_directory.display_name, user_directory.avatar_url
       FROM matching
       JOIN user_directory ON user_directory.user_id = matching.user_id
       ${search.excludeRemote ? "JOIN" : "LEFT JOIN"} users ON users.name = matching.user_id
      WHERE ${visible}${search.showLocked ? "" : " AND users.locked IS NOT TRUE"}
      ORDER BY CASE WHEN user_directory.display_name IS NULL THEN 1.0 ELSE 1.2 END * CASE WHEN user_directory.avatar_url IS NULL THEN 1.0 ELSE 1.2 END
               * (3 * ${rank("$3")} + ${rank("$4")})${preference} DESC,
               user_directory.display_name IS NULL, user_directory.avatar_url IS NULL
      LIMIT $5`,
    params,
  );
  return rows.map((row) => ({ userId: row.user_id, displayName: row.display_name, avatarUrl: row.avatar_url }));
}
