import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** A token was used from an address. `lastSeen` in milliseconds. */
export interface Sighting {
  readonly userId: string;
  readonly accessToken: string;
  readonly ip: string;
  readonly userAgent: string;
  readonly deviceId: string | null;
  readonly lastSeen: number;
}

/** Writes sightings (distinct by user, token and address) to `user_ips`, and the last of each device to `devices`. */
export async function writeSightings(txn: Txn, sightings: readonly Sighting[]): Promise<void> {
  // A fixed order of rows, so that two writers cannot lock each other out.
  const sorted = [...sightings].sort((a, b) => compare(a.userId, b.userId) || compare(a.accessToken, b.accessToken) || compare(a.ip, b.ip));
  const columns = [
    sorted.map(({ userId }) => userId),
    sorted.map(({ accessToken }) => accessToken),
    sorted.map(({ ip }) => ip),
    sorted.map(({ userAgent }) => userAgent),
    sorted.map(({ deviceId }) => deviceId),
    sorted.map(({ lastSeen }) => lastSeen),
  ];
  const unnested =
    "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[]) AS seen (user_id, access_token, ip, user_agent, device_id, last_seen)";
  await Promise.all([
    execute(
      txn,
      `INSERT INTO user_ips (user_id, access_token, ip, user_agent, device_id, last_seen) SELECT * FROM ${unnested}
       ON CONFLICT (user_id, access_token, ip) DO UPDATE
       SET user_agent = EXCLUDED.user_agent, device_id = EXCLUDED.device_id, last_seen = EXCLUDED.last_seen`,
      columns,
    ),
    execute(
      txn,
      `UPDATE devices SET user_agent = latest.user_agent, last_seen = latest.last_seen, ip = latest.ip
       FROM (
         SELECT DISTINCT ON (seen.user_id, seen.device_id) seen.* FROM ${unnested}
         WHERE seen.device_id IS NOT NULL ORDER BY seen.user_id, seen.device_id, seen.last_seen DESC
       ) AS latest
       WHERE devices.user_id = latest.user_id AND devices.device_id = latest.device_id`,
      columns,
    ),
  ]);
}

/** Where and when a user's tokens were used since `since` (milliseconds), newest first. */
export async function getSightingsOfUser(h: ReadHandle, userId: string, since = 0): Promise<Sighting[]> {
  return await query<Sighting>(
    h,
    `SELECT user_id AS "userId", access_token AS "accessToken", ip, user_agent AS "userAgent", device_id AS "deviceId", last_seen AS "lastSeen"
     FROM user_ips WHERE user_id = $1 AND last_seen >= $2 ORDER BY last_seen DESC`,
    [userId, since],
  );
}

/** Deletes the oldest 5000 or so sightings up to `until`; returns their number. */
export async function pruneSightings(txn: Txn, until: number): Promise<number> {
  return await execute(txn, "DELETE FROM user_ips WHERE last_seen IN (SELECT last_seen FROM user_ips WHERE last_seen <= $1 ORDER BY last_seen LIMIT 5000)", [
    until,
  ]);
}

/**
 * Notes who was here on the day that begins at `dayStart` (midnight UTC, milliseconds), by sightings in [`from`, `to`): one row a user
 * and device, of users that are neither guests nor appservices'. May be repeated.
 */
export async function writeDailyVisits(txn: Txn, dayStart: number, from: number, to: number): Promise<number> {
  return await execute(
    txn,
    `INSERT INTO user_daily_visits (user_id, device_id, "timestamp", user_agent)
     SELECT seen.user_id, seen.device_id, $1::bigint, max(seen.user_agent)
     FROM user_ips AS seen JOIN users ON users.name = seen.user_id
     WHERE seen.last_seen >= $2 AND seen.last_seen < $3 AND users.is_guest = 0 AND users.appservice_id IS NULL
       AND NOT EXISTS (
         SELECT FROM user_daily_visits AS visit
         WHERE visit.user_id = seen.user_id AND visit.device_id IS NOT DISTINCT FROM seen.device_id AND visit."timestamp" = $1
       )
     GROUP BY seen.user_id, seen.device_id`,
    [dayStart, from, to],
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
