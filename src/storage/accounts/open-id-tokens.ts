import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

export async function insertOpenIdToken(txn: Txn, token: string, validUntilMs: number, userId: string): Promise<void> {
  await execute(txn, "INSERT INTO open_id_tokens (token, ts_valid_until_ms, user_id) VALUES ($1, $2, $3)", [token, validUntilMs, userId]);
}

/** The user whose OpenID token this is, while it is valid. */
export async function getUserOfOpenIdToken(h: ReadHandle, token: string, now: number): Promise<string | undefined> {
  const row = await queryOne<{ userId: string }>(h, `SELECT user_id AS "userId" FROM open_id_tokens WHERE token = $1 AND $2 <= ts_valid_until_ms`, [
    token,
    now,
  ]);
  return row?.userId;
}
