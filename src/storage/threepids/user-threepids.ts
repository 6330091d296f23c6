import { query, queryOne, type ReadHandle, type Txn } from "../database.ts";

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
