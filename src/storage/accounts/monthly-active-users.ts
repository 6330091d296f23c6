import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** When the user was last counted (milliseconds), undefined when not among this month's active users. */
export async function getMonthlyActive(h: ReadHandle, userId: string): Promise<number | undefined> {
  return (await queryOne<{ at: number }>(h, `SELECT "timestamp" AS at FROM monthly_active_users WHERE user_id = $1`, [userId]))?.at;
}

/** Active users that belong to no appservice: the number that the limit applies to. */
export async function countMonthlyActive(h: ReadHandle): Promise<number> {
  const row = await queryOne<{ count: number }>(
    h,
    `SELECT count(*) AS count FROM monthly_active_users LEFT JOIN users ON monthly_active_users.user_id = users.name
     WHERE coalesce(users.appservice_id, '') = ''`,
  );
  return row!.count;
}

/** Active users by appservice id; "native" for the others. */
export async function countMonthlyActiveByService(h: ReadHandle): Promise<Map<string, number>> {
  const rows = await query<{ service: string; count: number }>(
    h,
    `SELECT coalesce(users.appservice_id, 'native') AS service, count(*) AS count
     FROM monthly_active_users LEFT JOIN users ON monthly_active_users.user_id = users.name GROUP BY users.appservice_id`,
  );
  return new Map(rows.map(({ service, count }) => [service, count]));
}

/** Who is counted, with their application service (`native`: none), of those who were last counted at a time in [`from`, `to`]; undefined: no bound. */
export async function listMonthlyActiveByService(
  h: ReadHandle,
  from: number | undefined,
  to: number | undefined,
): Promise<{ service: string; userId: string }[]> {
  return await query(
    h,
    `SELECT coalesce(users.appservice_id, 'native') AS service, mau.user_id AS "userId"
     FROM monthly_active_users AS mau LEFT JOIN users ON mau.user_id = users.name
     WHERE ($1::bigint IS NULL OR mau.timestamp >= $1) AND ($2::bigint IS NULL OR mau.timestamp <= $2)`,
    [from ?? null, to ?? null],
  );
}

/** Counts the users as active at `now`. */
export async function upsertMonthlyActive(txn: Txn, userIds: readonly string[], now: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO monthly_active_users (user_id, "timestamp") SELECT user_id, $2 FROM unnest($1::text[]) AS active (user_id)
     ON CONFLICT (user_id) DO UPDATE SET "timestamp" = EXCLUDED."timestamp"`,
    [userIds, now],
  );
}

/** Owners of the 3PIDs that have a place reserved; support users have none. */
export async function getOwnersOfThreepids(h: ReadHandle, threepids: readonly { medium: string; address: string }[]): Promise<string[]> {
  const rows = await query<{ userId: string }>(
    h,
    `SELECT DISTINCT user_threepids.user_id AS "userId"
     FROM unnest($1::text[], $2::text[]) AS reserved (medium, address)
       JOIN user_threepids ON user_threepids.medium = reserved.medium AND user_threepids.address = reserved.address
       LEFT JOIN users ON users.name = user_threepids.user_id
     WHERE users.user_type IS DISTINCT FROM 'support'`,
    [threepids.map(({ medium }) => medium), threepids.map(({ address }) => address)],
  );
  return rows.map(({ userId }) => userId);
}

/** Removes users not seen since `before`, and all but the newest `keep` (when given); reserved users stay. */
export async function reapMonthlyActive(txn: Txn, before: number, reserved: readonly string[], keep: number | undefined): Promise<void> {
  await execute(txn, `DELETE FROM monthly_active_users WHERE "timestamp" < $1 AND NOT user_id = ANY($2::text[])`, [before, reserved]);
  if (keep === undefined) return;
  await execute(
    txn,
    `DELETE FROM monthly_active_users WHERE NOT user_id = ANY($1::text[]) AND user_id NOT IN
       (SELECT user_id FROM monthly_active_users WHERE NOT user_id = ANY($1::text[]) ORDER BY "timestamp" DESC LIMIT $2)`,
    [reserved, keep],
  );
}
