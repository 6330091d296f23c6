import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Whether the token may be used once more at `now` (milliseconds): known, not expired, not used up. */
export async function isRegistrationTokenValid(h: ReadHandle, token: string, now: number): Promise<boolean> {
  const row = await queryOne<{ uses_allowed: number | null; pending: number; completed: number; expiry_time: number | null }>(
    h,
    "SELECT uses_allowed, pending, completed, expiry_time FROM registration_tokens WHERE token = $1",
    [token],
  );
  if (row === undefined) return false;
  if (row.expiry_time !== null && row.expiry_time !== 0 && row.expiry_time < now) return false;
  return row.uses_allowed === null || row.pending + row.completed < row.uses_allowed;
}

/** Holds one use of the token for a registration in progress; false when it has none left. */
export async function holdRegistrationToken(txn: Txn, token: string, now: number): Promise<boolean> {
  const touched = await execute(
    txn,
    `UPDATE registration_tokens SET pending = pending + 1
     WHERE token = $1 AND (coalesce(expiry_time, 0) = 0 OR expiry_time >= $2) AND (uses_allowed IS NULL OR pending + completed < uses_allowed)`,
    [token, now],
  );
  return touched > 0;
}

/** The registration that held the token is complete. */
export async function useRegistrationToken(txn: Txn, token: string): Promise<void> {
  await execute(txn, "UPDATE registration_tokens SET completed = completed + 1, pending = pending - 1 WHERE token = $1", [token]);
}

/** A token as an admin sees it; times in milliseconds, null: without a limit. */
export interface RegistrationToken {
  readonly token: string;
  readonly uses_allowed: number | null;
  readonly pending: number;
  readonly completed: number;
  readonly expiry_time: number | null;
}

const COLUMNS = "token, uses_allowed, pending, completed, expiry_time";

/** All tokens; those that can (`valid`) or can no longer be used at `now`. */
export async function listRegistrationTokens(h: ReadHandle, valid: boolean | undefined, now: number): Promise<RegistrationToken[]> {
  return await query(
    h,
    `SELECT ${COLUMNS} FROM registration_tokens
      WHERE $1::boolean IS NULL
         OR ($1 AND (uses_allowed > pending + completed OR uses_allowed IS NULL) AND (expiry_time > $2 OR expiry_time IS NULL))
         OR (NOT $1 AND (uses_allowed <= pending + completed OR expiry_time <= $2))`,
    [valid ?? null, now],
  );
}

export async function getRegistrationToken(h: ReadHandle, token: string): Promise<RegistrationToken | undefined> {
  return await queryOne(h, `SELECT ${COLUMNS} FROM registration_tokens WHERE token = $1`, [token]);
}

/** False when there is such a token. */
export async function insertRegistrationToken(txn: Txn, token: Pick<RegistrationToken, "token" | "uses_allowed" | "expiry_time">): Promise<boolean> {
  const made = await execute(
    txn,
    "INSERT INTO registration_tokens (token, uses_allowed, pending, completed, expiry_time) VALUES ($1, $2, 0, 0, $3) ON CONFLICT (token) DO NOTHING",
    [token.token, token.uses_allowed, token.expiry_time],
  );
  return made > 0;
}

/** Sets what is given (null: no limit), leaves what is undefined; undefined when there is no such token. */
export async function updateRegistrationToken(
  txn: Txn,
  token: string,
  changes: { readonly uses_allowed?: number | null; readonly expiry_time?: number | null },
): Promise<RegistrationToken | undefined> {
  return await queryOne(
    txn,
    `UPDATE registration_tokens SET uses_allowed = CASE WHEN $2 THEN $3::integer ELSE uses_allowed END, expiry_time = CASE WHEN $4 THEN $5::bigint ELSE expiry_time END
      WHERE token = $1 RETURNING ${COLUMNS}`,
    [token, changes.uses_allowed !== undefined, changes.uses_allowed ?? null, changes.expiry_time !== undefined, changes.expiry_time ?? null],
  );
}

/** False when there is no such token. */
export async function deleteRegistrationToken(txn: Txn, token: string): Promise<boolean> {
  return (await execute(txn, "DELETE FROM registration_tokens WHERE token = $1", [token])) > 0;
}
