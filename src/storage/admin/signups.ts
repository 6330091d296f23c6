import { query, type ReadHandle } from "../database.ts";

/** An account, and what helps to judge whether a person or a spammer made it. */
export interface Signup {
  readonly userId: string;
  /** Seconds. */
  readonly createdAt: number;
  readonly emails: readonly string[];
  readonly ips: readonly string[];
  /** Alias, else name, else id of the rooms that the account is in. */
  readonly publicRooms: readonly string[];
  readonly privateRooms: readonly string[];
}

/** Accounts made since then (seconds) that are not closed, oldest first; on wish without those of application services. */
export async function recentSignups(h: ReadHandle, since: number, withoutAppservices: boolean): Promise<Signup[]> {
  const rows = await query<{ name: string; creation_ts: number; emails: string[]; ips: string[]; public_rooms: string[]; private_rooms: string[] }>(
    h,
    `WITH recent AS (
       SELECT u.name, u.creation_ts FROM users AS u
       WHERE u.creation_ts >= $1 AND u.deactivated = 0 AND (NOT $2 OR u.appservice_id IS NULL)
     ), rooms AS (
       SELECT m.user_id, COALESCE(s.canonical_alias, s.name, m.room_id) AS label, s.join_rules IS NOT DISTINCT FROM 'public' AS is_public
       FROM recent JOIN local_current_membership AS m ON m.user_id = recent.name AND m.membership = 'join' JOIN room_stats_state AS s USING (room_id)
     )
     SELECT recent.name, recent.creation_ts,
            ARRAY(SELECT t.address FROM user_threepids AS t WHERE t.user_id = recent.name AND t.medium = 'email' ORDER BY t.address) AS emails,
            ARRAY(SELECT i.ip FROM user_ips AS i WHERE i.user_id = recent.name GROUP BY i.ip ORDER BY max(i.last_seen) DESC) AS ips,
            ARRAY(SELECT r.label FROM rooms AS r WHERE r.user_id = recent.name AND r.is_public ORDER BY r.label) AS public_rooms,
            ARRAY(SELECT r.label FROM rooms AS r WHERE r.user_id = recent.name AND NOT r.is_public ORDER BY r.label) AS private_rooms
     FROM recent ORDER BY recent.creation_ts, recent.name`,
    [since, withoutAppservices],
  );
  return rows.map((row) => ({
    userId: row.name,
    createdAt: row.creation_ts,
    emails: row.emails,
    ips: row.ips,
    publicRooms: row.public_rooms,
    privateRooms: row.private_rooms,
  }));
}
