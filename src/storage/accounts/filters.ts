import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** `user_filters`: `filter_json` is canonical JSON in bytea, ids count from 0 for each user, `user_id` is the local part. */

/** The JSON text of a filter; undefined when there is none of that id. */
export async function filterJson(read: ReadHandle, userId: string, filterId: number): Promise<string | undefined> {
  const row = await queryOne<{ filter_json: Buffer }>(read, `SELECT filter_json FROM user_filters WHERE full_user_id = $1 AND filter_id = $2`, [
    userId,
    filterId,
  ]);
  return row?.filter_json.toString("utf8");
}

/**
 * The id of the filter with that canonical JSON, stored if it is new. Two at the same time may clash: the caller tries again on a unique
 * violation.
 */
export async function addFilter(txn: Txn, userId: string, localpart: string, canonicalJson: string): Promise<number> {
  const bytes = Buffer.from(canonicalJson, "utf8");
  const existing = await queryOne<{ filter_id: number }>(
    txn,
    `SELECT filter_id FROM user_filters WHERE full_user_id = $1 AND filter_json = $2 ORDER BY filter_id LIMIT 1`,
    [userId, bytes],
  );
  if (existing !== undefined) return existing.filter_id;
  const last = await queryOne<{ filter_id: number | null }>(txn, `SELECT max(filter_id) AS filter_id FROM user_filters WHERE full_user_id = $1`, [userId]);
  const filterId = (last?.filter_id ?? -1) + 1;
  await execute(txn, `INSERT INTO user_filters (full_user_id, user_id, filter_id, filter_json) VALUES ($1, $2, $3, $4)`, [userId, localpart, filterId, bytes]);
  return filterId;
}
