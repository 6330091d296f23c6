import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** `pushers`, `deleted_pushers`, `pusher_throttle`. */

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
export async function noteRemovedPushers(
  txn: Txn,
  userId: string,
  removed: readonly RemovedPusher[],
  streamIds: readonly number[],
  instanceName: string,
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO deleted_pushers (stream_id, app_id, pushkey, user_id, instance_name)
     SELECT removed.stream_id, removed.app_id, removed.pushkey, $4, $5 FROM unnest($1::bigint[], $2::text[], $3::text[]) AS removed (stream_id, app_id, pushkey)`,
    [streamIds, removed.map(({ appId }) => appId), removed.map(({ pushkey }) => pushkey), userId, instanceName],
  );
}

/** A row of `pushers`. */
export interface Pusher {
  readonly id: number;
  readonly userId: string;
  readonly accessTokenId: number | null;
  readonly deviceId: string | null;
  readonly profileTag: string;
  /** `http` or `email`. */
  readonly kind: string;
  readonly appId: string;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly pushkey: string;
  /** When it was set, milliseconds. */
  readonly ts: number;
  readonly lang: string | null;
  /** JSON text. */
  readonly data: string | null;
  /** Everything up to this position of the events stream has been pushed. */
  readonly lastStreamOrdering: number | null;
  readonly lastSuccess: number | null;
  readonly failingSince: number | null;
  readonly enabled: boolean;
}

const PUSHER_COLUMNS = `id, user_name AS "userId", access_token AS "accessTokenId", device_id AS "deviceId", profile_tag AS "profileTag", kind,
  app_id AS "appId", app_display_name AS "appDisplayName", device_display_name AS "deviceDisplayName", pushkey, ts, lang, data,
  last_stream_ordering AS "lastStreamOrdering", last_success AS "lastSuccess", failing_since AS "failingSince", coalesce(enabled, true) AS enabled`;

export async function pushersOfUser(read: ReadHandle, userId: string): Promise<Pusher[]> {
  return await query<Pusher>(read, `SELECT ${PUSHER_COLUMNS} FROM pushers WHERE user_name = $1 ORDER BY id`, [userId]);
}

/** Every pusher that is switched on. */
export async function enabledPushers(read: ReadHandle): Promise<Pusher[]> {
  return await query<Pusher>(read, `SELECT ${PUSHER_COLUMNS} FROM pushers WHERE coalesce(enabled, true) ORDER BY id`);
}

/** Which of these users have a pusher. */
export async function usersWithPushers(read: ReadHandle, userIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ user_name: string }>(read, `SELECT DISTINCT user_name FROM pushers WHERE user_name = ANY($1::text[])`, [userIds]);
  return new Set(rows.map((row) => row.user_name));
}

/** Adds a pusher, or replaces the user's one for that app and push key, which keeps its device and token. Pushing begins after `lastStreamOrdering`. */
export async function putPusher(txn: Txn, pusher: Omit<Pusher, "lastSuccess" | "failingSince" | "accessTokenId">, instanceName: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO pushers AS stored (id, user_name, device_id, profile_tag, kind, app_id, app_display_name, device_display_name, pushkey, ts, lang, data,
       last_stream_ordering, enabled, instance_name)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
     ON CONFLICT (app_id, pushkey, user_name) DO UPDATE SET id = EXCLUDED.id, profile_tag = EXCLUDED.profile_tag, kind = EXCLUDED.kind,
       app_display_name = EXCLUDED.app_display_name, device_display_name = EXCLUDED.device_display_name, ts = EXCLUDED.ts, lang = EXCLUDED.lang,
       data = EXCLUDED.data, last_stream_ordering = EXCLUDED.last_stream_ordering, enabled = EXCLUDED.enabled, instance_name = EXCLUDED.instance_name`,
    [
      pusher.id,
      pusher.userId,
      pusher.deviceId,
      pusher.profileTag,
      pusher.kind,
      pusher.appId,
      pusher.appDisplayName,
      pusher.deviceDisplayName,
      pusher.pushkey,
      pusher.ts,
      pusher.lang,
      pusher.data,
      pusher.lastStreamOrdering,
      pusher.enabled,
      instanceName,
    ],
  );
}

/** Removes a user's pusher. False when there is none. */
export async function removePusher(txn: Txn, userId: string, appId: string, pushkey: string): Promise<boolean> {
  return (await execute(txn, `DELETE FROM pushers WHERE user_name = $1 AND app_id = $2 AND pushkey = $3`, [userId, appId, pushkey])) > 0;
}

/** Removes the pushers that other users have for that app and push key; returns those users. */
export async function removePushersOfOthers(txn: Txn, userId: string, appId: string, pushkey: string): Promise<string[]> {
  const rows = await query<{ user_name: string }>(txn, `DELETE FROM pushers WHERE app_id = $2 AND pushkey = $3 AND user_name <> $1 RETURNING user_name`, [
    userId,
    appId,
    pushkey,
  ]);
  return rows.map((row) => row.user_name);
}

export interface PusherProgress {
  readonly id: number;
  readonly lastStreamOrdering: number;
  readonly lastSuccess: number | null;
  readonly failingSince: number | null;
}

/** How far pushers have got; pushers that were replaced meanwhile (another id) are left alone. */
export async function putPusherProgress(txn: Txn, progress: readonly PusherProgress[]): Promise<void> {
  await execute(
    txn,
    `UPDATE pushers SET last_stream_ordering = new.last_stream_ordering, last_success = new.last_success, failing_since = new.failing_since
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS new (id, last_stream_ordering, last_success, failing_since)
     WHERE pushers.id = new.id`,
    [progress.map((p) => p.id), progress.map((p) => p.lastStreamOrdering), progress.map((p) => p.lastSuccess), progress.map((p) => p.failingSince)],
  );
}

/** The pushers of users that are switched on. */
export async function enabledPushersOf(read: ReadHandle, userIds: readonly string[]): Promise<Pusher[]> {
  return await query<Pusher>(read, `SELECT ${PUSHER_COLUMNS} FROM pushers WHERE user_name = ANY($1::text[]) AND coalesce(enabled, true) ORDER BY id`, [
    userIds,
  ]);
}
