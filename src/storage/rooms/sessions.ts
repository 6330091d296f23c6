import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Short-lived JSON values (`sessions`): the pages of a space hierarchy. */
export async function findSession(h: ReadHandle, type: string, id: string, now: number): Promise<string | undefined> {
  const row = await queryOne<{ value: string }>(h, "SELECT value FROM sessions WHERE session_type = $1 AND session_id = $2 AND expiry_time_ms > $3", [
    type,
    id,
    now,
  ]);
  return row?.value;
}

/** False when the id is taken. */
export async function insertSession(txn: Txn, type: string, id: string, value: string, expiryTimeMs: number): Promise<boolean> {
  const count = await execute(
    txn,
    "INSERT INTO sessions (session_type, session_id, value, expiry_time_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (session_type, session_id) DO NOTHING",
    [type, id, value, expiryTimeMs],
  );
  return count > 0;
}

export async function deleteExpiredSessions(txn: Txn, now: number): Promise<void> {
  await execute(txn, "DELETE FROM sessions WHERE expiry_time_ms <= $1", [now]);
}
