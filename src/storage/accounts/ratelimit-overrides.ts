import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** An admin's word on a user's limits: null or 0 a second = none at all; else the limit for sending messages. */
export interface RatelimitOverride {
  readonly perSecond: number | null;
  readonly burst: number | null;
}

export async function getRatelimitOverride(h: ReadHandle, userId: string): Promise<RatelimitOverride | undefined> {
  return await queryOne<RatelimitOverride>(h, `SELECT messages_per_second AS "perSecond", burst_count AS burst FROM ratelimit_override WHERE user_id = $1`, [
    userId,
  ]);
}

export async function setRatelimitOverride(txn: Txn, userId: string, override: RatelimitOverride): Promise<void> {
  await execute(
    txn,
    `INSERT INTO ratelimit_override (user_id, messages_per_second, burst_count) VALUES ($1, $2, $3)
     ON CONFLICT (user_id) DO UPDATE SET messages_per_second = EXCLUDED.messages_per_second, burst_count = EXCLUDED.burst_count`,
    [userId, override.perSecond, override.burst],
  );
}

export async function deleteRatelimitOverride(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM ratelimit_override WHERE user_id = $1", [userId]);
}
