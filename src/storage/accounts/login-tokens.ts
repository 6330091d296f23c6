import { execute, query, queryOne, type Txn } from "../database.ts";

/** A single-use token for m.login.token. */
export interface LoginToken {
  readonly userId: string;
  readonly authProviderId: string | null;
  readonly authProviderSessionId: string | null;
}

export async function insertLoginToken(txn: Txn, token: string, expiryTs: number, login: LoginToken): Promise<void> {
  await execute(txn, `INSERT INTO login_tokens (token, user_id, expiry_ts, auth_provider_id, auth_provider_session_id) VALUES ($1, $2, $3, $4, $5)`, [
    token,
    login.userId,
    expiryTs,
    login.authProviderId,
    login.authProviderSessionId,
  ]);
}

/** Marks the token as used, and tells whether it was good: each token counts once. */
export async function consumeLoginToken(txn: Txn, token: string, now: number): Promise<LoginToken | "not found" | "reused" | "expired"> {
  const row = await queryOne<LoginToken & { expiryTs: number; usedTs: number | null }>(
    txn,
    `SELECT user_id AS "userId", expiry_ts AS "expiryTs", used_ts AS "usedTs", auth_provider_id AS "authProviderId",
       auth_provider_session_id AS "authProviderSessionId"
     FROM login_tokens WHERE token = $1 FOR UPDATE`,
    [token],
  );
  if (row === undefined) return "not found";
  await execute(txn, "UPDATE login_tokens SET used_ts = $2 WHERE token = $1", [token, now]);
  if (row.usedTs !== null) return "reused";
  if (now > row.expiryTs) return "expired";
  return { userId: row.userId, authProviderId: row.authProviderId, authProviderSessionId: row.authProviderSessionId };
}

/** Tokens of an identity provider's session that was logged out are no longer good. Returns the tokens. */
export async function spendLoginTokensOfSession(txn: Txn, providerId: string, sessionId: string, now: number): Promise<string[]> {
  const rows = await query<{ token: string }>(
    txn,
    `UPDATE login_tokens SET used_ts = $3 WHERE auth_provider_id = $1 AND auth_provider_session_id = $2 AND used_ts IS NULL RETURNING token`,
    [providerId, sessionId, now],
  );
  return rows.map(({ token }) => token);
}

export async function deleteLoginTokensExpiredBefore(txn: Txn, time: number): Promise<number> {
  return await execute(txn, "DELETE FROM login_tokens WHERE expiry_ts <= $1", [time]);
}
