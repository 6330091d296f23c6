import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import type { AccountCache } from "./account-cache.ts";

export interface RefreshToken {
  readonly id: number;
  readonly userId: string;
  readonly deviceId: string;
  readonly nextTokenId: number | null;
  /** The token that replaced this one has been replaced in its turn. */
  readonly nextRefreshed: boolean;
  /** The access token that came with the replacement was used: the client has it, this token is spent. */
  readonly nextUsed: boolean;
  /** Milliseconds, or null. */
  readonly expiryTs: number | null;
  readonly ultimateSessionExpiryTs: number | null;
}

export async function findRefreshToken(h: ReadHandle, token: string): Promise<RefreshToken | undefined> {
  return await queryOne<RefreshToken>(
    h,
    `SELECT current.id, current.user_id AS "userId", current.device_id AS "deviceId", current.next_token_id AS "nextTokenId",
       coalesce(next.next_token_id IS NOT NULL, false) AS "nextRefreshed",
       EXISTS (SELECT FROM access_tokens WHERE access_tokens.refresh_token_id = next.id AND access_tokens.used) AS "nextUsed",
       current.expiry_ts AS "expiryTs", current.ultimate_session_expiry_ts AS "ultimateSessionExpiryTs"
     FROM refresh_tokens AS current LEFT JOIN refresh_tokens AS next ON next.id = current.next_token_id
     WHERE current.token = $1`,
    [token],
  );
}

export interface NewRefreshToken {
  id: number;
  userId: string;
  deviceId: string;
  token: string;
  expiryTs: number | null;
  ultimateSessionExpiryTs: number | null;
}

export async function insertRefreshToken(txn: Txn, token: NewRefreshToken): Promise<void> {
  await execute(
    txn,
    `INSERT INTO refresh_tokens (id, user_id, device_id, token, next_token_id, expiry_ts, ultimate_session_expiry_ts) VALUES ($1, $2, $3, $4, NULL, $5, $6)`,
    [token.id, token.userId, token.deviceId, token.token, token.expiryTs, token.ultimateSessionExpiryTs],
  );
}

/**
 * Makes `next` the successor of `current`. A successor that nobody used is dropped, and so is the predecessor, each with its access
 * tokens: from now on only `current` and `next` are left. (The access token that came with `current` works until `next` is replaced.)
 */
export async function replaceRefreshToken(txn: Txn, cache: AccountCache, current: Pick<RefreshToken, "id" | "nextTokenId">, nextId: number): Promise<void> {
  await execute(txn, "UPDATE refresh_tokens SET next_token_id = $2 WHERE id = $1", [current.id, nextId]);
  const dropped = "SELECT id FROM refresh_tokens WHERE id = $1::bigint OR next_token_id = $2";
  const params = [current.nextTokenId, current.id];
  const tokens = await query<{ token: string }>(txn, `DELETE FROM access_tokens WHERE refresh_token_id IN (${dropped}) RETURNING token`, params);
  await execute(txn, `DELETE FROM refresh_tokens WHERE id IN (${dropped})`, params);
  txn.afterCommit(() => cache.forgetTokens(tokens.map(({ token }) => token)));
}
