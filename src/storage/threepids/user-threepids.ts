import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A verified 3PID of a local user; e-mail addresses are lower-case. Times in milliseconds. */
export interface UserThreepid {
  readonly medium: string;
  readonly address: string;
  readonly validated_at: number;
  readonly added_at: number;
}

export async function getThreepidsOfUser(h: ReadHandle, userId: string): Promise<UserThreepid[]> {
  return await query(h, "SELECT medium, address, validated_at, added_at FROM user_threepids WHERE user_id = $1", [userId]);
}

/** The local user who has verified this 3PID. */
export async function getUserOfThreepid(h: ReadHandle, medium: string, address: string): Promise<string | undefined> {
  const row = await queryOne<{ userId: string }>(h, `SELECT user_id AS "userId" FROM user_threepids WHERE medium = $1 AND address = $2`, [medium, address]);
  return row?.userId;
}

/** Deletes all 3PIDs of a user; returns them. */
export async function deleteThreepidsOfUser(txn: Txn, userId: string): Promise<UserThreepid[]> {
  return await query(txn, "DELETE FROM user_threepids WHERE user_id = $1 RETURNING medium, address, validated_at, added_at", [userId]);
}

/** Gives a verified 3PID to a user; whoever had it loses it. Times in milliseconds. */
export async function upsertThreepid(txn: Txn, userId: string, threepid: UserThreepid): Promise<void> {
  await execute(
    txn,
    `INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (medium, address) DO UPDATE SET user_id = EXCLUDED.user_id, validated_at = EXCLUDED.validated_at, added_at = EXCLUDED.added_at`,
    [userId, threepid.medium, threepid.address, threepid.validated_at, threepid.added_at],
  );
}

/** Takes a 3PID from a user. */
export async function deleteThreepid(txn: Txn, userId: string, medium: string, address: string): Promise<void> {
  await execute(txn, "DELETE FROM user_threepids WHERE user_id = $1 AND medium = $2 AND address = $3", [userId, medium, address]);
}
