import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

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
