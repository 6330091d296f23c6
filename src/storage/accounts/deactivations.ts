import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Notes that the user, now deactivated, is still to be parted from rooms. */
export async function addPendingDeactivation(txn: Txn, userId: string): Promise<void> {
  await execute(
    txn,
    "INSERT INTO users_pending_deactivation (user_id) SELECT $1::text WHERE NOT EXISTS (SELECT FROM users_pending_deactivation WHERE user_id = $1)",
    [userId],
  );
}

export async function getPendingDeactivations(h: ReadHandle): Promise<string[]> {
  const rows = await query<{ userId: string }>(h, `SELECT DISTINCT user_id AS "userId" FROM users_pending_deactivation`);
  return rows.map(({ userId }) => userId);
}

export async function deletePendingDeactivation(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM users_pending_deactivation WHERE user_id = $1", [userId]);
}

/** The user asked to be forgotten: events show only to those who had seen them. */
export async function markUserErased(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "INSERT INTO erased_users (user_id) VALUES ($1) ON CONFLICT (user_id) DO NOTHING", [userId]);
}

export async function markUserNotErased(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM erased_users WHERE user_id = $1", [userId]);
}

/** Those of the users who asked to be forgotten. */
export async function getErasedUsers(h: ReadHandle, userIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ userId: string }>(h, `SELECT user_id AS "userId" FROM erased_users WHERE user_id = ANY($1::text[])`, [userIds]);
  return new Set(rows.map(({ userId }) => userId));
}

/** When the account expires (milliseconds); undefined for accounts without an expiry. */
export async function getAccountExpiry(h: ReadHandle, userId: string): Promise<number | undefined> {
  const row = await queryOne<{ at: number }>(h, "SELECT expiration_ts_ms AS at FROM account_validity WHERE user_id = $1", [userId]);
  return row?.at;
}

/** Expiry by user (milliseconds); accounts without one are absent. */
export async function getAccountExpiries(h: ReadHandle, userIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await query<{ userId: string; at: number }>(
    h,
    `SELECT user_id AS "userId", expiration_ts_ms AS at FROM account_validity WHERE user_id = ANY($1::text[])`,
    [userIds],
  );
  return new Map(rows.map(({ userId, at }) => [userId, at]));
}

/** Sets the expiry of an account; the renewal mail counts as not sent. */
export async function setAccountExpiry(txn: Txn, userId: string, expiresAt: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO account_validity (user_id, expiration_ts_ms, email_sent) VALUES ($1, $2, false)
     ON CONFLICT (user_id) DO UPDATE SET expiration_ts_ms = EXCLUDED.expiration_ts_ms, email_sent = EXCLUDED.email_sent`,
    [userId, expiresAt],
  );
}

/** Prolongs an account that has an expiry, as an admin or a used link does; without one nothing happens. Times in milliseconds. */
export async function renewAccount(
  txn: Txn,
  userId: string,
  renewal: { expiresAt: number; emailSent: boolean; renewalToken: string | null; now: number },
): Promise<void> {
  await execute(txn, "UPDATE account_validity SET expiration_ts_ms = $2, email_sent = $3, renewal_token = $4, token_used_ts_ms = $5 WHERE user_id = $1", [
    userId,
    renewal.expiresAt,
    renewal.emailSent,
    renewal.renewalToken,
    renewal.now,
  ]);
}

export async function deleteAccountExpiry(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM account_validity WHERE user_id = $1", [userId]);
}
