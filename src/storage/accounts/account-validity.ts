import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Times in milliseconds. */
export interface RenewalToken {
  readonly userId: string;
  readonly expiresAt: number;
  /** When an account was renewed by it; null: not yet. */
  readonly usedAt: number | null;
}

/** Gives the account a new token for the link of its renewal mail. */
export async function setRenewalToken(txn: Txn, userId: string, token: string): Promise<void> {
  await execute(txn, "UPDATE account_validity SET renewal_token = $2, token_used_ts_ms = NULL WHERE user_id = $1", [userId, token]);
}

/** Whose token this is; the row is locked until the end of the transaction. */
export async function lockRenewalToken(txn: Txn, token: string): Promise<RenewalToken | undefined> {
  return await queryOne<RenewalToken>(
    txn,
    `SELECT user_id AS "userId", expiration_ts_ms AS "expiresAt", token_used_ts_ms AS "usedAt" FROM account_validity WHERE renewal_token = $1 FOR UPDATE`,
    [token],
  );
}

/** Accounts that expire before that time and have not been written to. */
export async function getAccountsExpiringBefore(h: ReadHandle, time: number): Promise<{ userId: string; expiresAt: number }[]> {
  return await query(
    h,
    `SELECT user_id AS "userId", expiration_ts_ms AS "expiresAt" FROM account_validity WHERE NOT email_sent AND expiration_ts_ms <= $1 ORDER BY user_id`,
    [time],
  );
}

export async function markRenewalMailSent(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "UPDATE account_validity SET email_sent = true WHERE user_id = $1", [userId]);
}

/** Open accounts that have no expiry. */
export async function getAccountsWithoutExpiry(h: ReadHandle): Promise<string[]> {
  const rows = await query<{ name: string }>(
    h,
    `SELECT users.name FROM users LEFT JOIN account_validity ON account_validity.user_id = users.name
     WHERE account_validity.user_id IS NULL AND users.deactivated = 0 ORDER BY users.name`,
  );
  return rows.map(({ name }) => name);
}

/** Sets the expiry of accounts that have none. */
export async function setMissingExpiries(txn: Txn, expiries: readonly { userId: string; expiresAt: number }[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO account_validity (user_id, expiration_ts_ms, email_sent) SELECT user_id, expires_at, false
     FROM unnest($1::text[], $2::bigint[]) AS missing (user_id, expires_at) ON CONFLICT (user_id) DO NOTHING`,
    [expiries.map(({ userId }) => userId), expiries.map(({ expiresAt }) => expiresAt)],
  );
}
