import { execute, query, type Txn } from "../database.ts";

/** A pusher that was removed; readers of the stream learn of it from `deleted_pushers`. */
export interface RemovedPusher {
  readonly appId: string;
  readonly pushkey: string;
}

const RETURNING = `RETURNING app_id AS "appId", pushkey`;

/** Removes all pushers of a user. */
export async function removePushersOfUser(txn: Txn, userId: string): Promise<RemovedPusher[]> {
  return await query<RemovedPusher>(txn, `DELETE FROM pushers WHERE user_name = $1 ${RETURNING}`, [userId]);
}

/** Removes the pushers that were made with these access tokens (by id). */
export async function removePushersOfTokens(txn: Txn, userId: string, tokenIds: readonly number[]): Promise<RemovedPusher[]> {
  return await query<RemovedPusher>(txn, `DELETE FROM pushers WHERE user_name = $1 AND access_token = ANY($2::bigint[]) ${RETURNING}`, [userId, tokenIds]);
}

/** Removes the pushers of these devices. */
export async function removePushersOfDevices(txn: Txn, userId: string, deviceIds: readonly string[]): Promise<RemovedPusher[]> {
  return await query<RemovedPusher>(txn, `DELETE FROM pushers WHERE user_name = $1 AND device_id = ANY($2::text[]) ${RETURNING}`, [userId, deviceIds]);
}

/** Notes removed pushers in the stream, one id each. */
export async function noteRemovedPushers(txn: Txn, userId: string, removed: readonly RemovedPusher[], streamIds: readonly number[], instanceName: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO deleted_pushers (stream_id, app_id, pushkey, user_id, instance_name)
     SELECT removed.stream_id, removed.app_id, removed.pushkey, $4, $5 FROM unnest($1::bigint[], $2::text[], $3::text[]) AS removed (stream_id, app_id, pushkey)`,
    [streamIds, removed.map(({ appId }) => appId), removed.map(({ pushkey }) => pushkey), userId, instanceName],
  );
}
