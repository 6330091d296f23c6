import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import type { AccountCache } from "./account-cache.ts";

/** What an access token says. */
export interface AccessToken {
  readonly id: number;
  /** The user that the token acts as. */
  readonly userId: string;
  /** The user that the token belongs to: an admin where it acts as another user, else `userId`. */
  readonly owner: string;
  readonly deviceId: string | null;
  /** Milliseconds; null = never expires. */
  readonly validUntilMs: number | null;
  readonly used: boolean;
}

/** The token, if its user has an account. */
export async function findAccessToken(h: ReadHandle, token: string): Promise<AccessToken | undefined> {
  return await queryOne<AccessToken>(
    h,
    `SELECT access_tokens.id, users.name AS "userId", access_tokens.user_id AS owner, access_tokens.device_id AS "deviceId",
       access_tokens.valid_until_ms AS "validUntilMs", coalesce(access_tokens.used, false) AS used
     FROM access_tokens JOIN users ON users.name = coalesce(access_tokens.puppets_user_id, access_tokens.user_id)
     WHERE access_tokens.token = $1`,
    [token],
  );
}

export interface NewAccessToken {
  id: number;
  userId: string;
  token: string;
  deviceId: string | null;
  validUntilMs: number | null;
  puppetsUserId: string | null;
  refreshTokenId: number | null;
  now: number;
}

export async function insertAccessToken(txn: Txn, token: NewAccessToken): Promise<void> {
  await execute(
    txn,
    `INSERT INTO access_tokens (id, user_id, token, device_id, valid_until_ms, puppets_user_id, last_validated, refresh_token_id, used)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, false)`,
    [token.id, token.userId, token.token, token.deviceId, token.validUntilMs, token.puppetsUserId, token.now, token.refreshTokenId],
  );
}

/** The first request with the token was made: the refresh token that came before it is spent from now on. */
export async function markAccessTokenUsed(txn: Txn, cache: AccountCache, id: number, token: string): Promise<void> {
  txn.afterCommit(() => cache.forgetTokens([token]));
  await execute(txn, "UPDATE access_tokens SET used = true WHERE id = $1", [id]);
}

/** When the user last proved who they are through user-interactive auth with this token: milliseconds, 0 for never. */
export async function getLastValidated(h: ReadHandle, id: number): Promise<number> {
  const row = await queryOne<{ last: number | null }>(h, "SELECT last_validated AS last FROM access_tokens WHERE id = $1", [id]);
  return row?.last ?? 0;
}

export async function setLastValidated(txn: Txn, id: number, now: number): Promise<void> {
  await execute(txn, "UPDATE access_tokens SET last_validated = $2 WHERE id = $1", [id, now]);
}

/** A token that is no more. */
export interface DeletedToken {
  id: number;
  token: string;
  deviceId: string | null;
}

export async function deleteAccessToken(txn: Txn, cache: AccountCache, token: string): Promise<DeletedToken | undefined> {
  const [row] = await query<DeletedToken>(txn, `DELETE FROM access_tokens WHERE token = $1 RETURNING id, token, device_id AS "deviceId"`, [token]);
  txn.afterCommit(() => cache.forgetTokens([token]));
  return row;
}

/** Deletes the access and refresh tokens of a user, but for one access token (by id) and the refresh token that belongs to it. */
export async function deleteTokensOfUser(txn: Txn, cache: AccountCache, userId: string, exceptId: number | undefined): Promise<DeletedToken[]> {
  const tokens = await query<DeletedToken>(
    txn,
    `DELETE FROM access_tokens WHERE user_id = $1 AND id IS DISTINCT FROM $2::bigint RETURNING id, token, device_id AS "deviceId"`,
    [userId, exceptId ?? null],
  );
  // Deleting a refresh token takes its access tokens, and the refresh token that it succeeds, with it: the kept one is cut loose first.
  const kept = "SELECT refresh_token_id FROM access_tokens WHERE id = $2::bigint AND refresh_token_id IS NOT NULL";
  await execute(txn, `UPDATE refresh_tokens SET next_token_id = NULL WHERE user_id = $1 AND id IN (${kept})`, [userId, exceptId ?? null]);
  await execute(txn, `DELETE FROM refresh_tokens WHERE user_id = $1 AND id NOT IN (${kept})`, [userId, exceptId ?? null]);
  txn.afterCommit(() => cache.forgetTokens(tokens.map(({ token }) => token)));
  return tokens;
}

/** Deletes the access and refresh tokens of some devices of a user. */
export async function deleteTokensOfDevices(txn: Txn, cache: AccountCache, userId: string, deviceIds: readonly string[]): Promise<DeletedToken[]> {
  const params = [userId, deviceIds];
  const [tokens] = await Promise.all([
    query<DeletedToken>(
      txn,
      `DELETE FROM access_tokens WHERE user_id = $1 AND device_id = ANY($2::text[]) RETURNING id, token, device_id AS "deviceId"`,
      params,
    ),
    execute(txn, "DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id = ANY($2::text[])", params),
  ]);
  txn.afterCommit(() => cache.forgetTokens(tokens.map(({ token }) => token)));
  return tokens;
}
