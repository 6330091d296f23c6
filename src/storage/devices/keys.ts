import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** `e2e_device_keys_json`, `e2e_one_time_keys_json`, `e2e_fallback_keys_json`: keys of local devices. */

export interface DeviceKeyRow {
  readonly userId: string;
  readonly deviceId: string;
  readonly displayName: string | null;
  /** Canonical JSON text; null for a device that has uploaded none. */
  readonly keyJson: string | null;
  /** Signatures that the user's own cross-signing keys made over the device: key id to signature. */
  readonly signatures: Record<string, string>;
}

/**
 * Devices of local users with their keys: all of `userIds`, and the single `devices`. Hidden devices are left out. With
 * `withoutKeys` devices that have no keys are there too.
 */
export async function deviceKeys(
  read: ReadHandle,
  userIds: readonly string[],
  devices: readonly (readonly [userId: string, deviceId: string])[],
  withoutKeys = false,
): Promise<DeviceKeyRow[]> {
  return await query<DeviceKeyRow>(
    read,
    `SELECT devices.user_id AS "userId", devices.device_id AS "deviceId", devices.display_name AS "displayName", keys.key_json AS "keyJson",
       coalesce((
         SELECT json_object_agg(signature.key_id, signature.signature) FROM e2e_cross_signing_signatures AS signature
         WHERE signature.user_id = devices.user_id AND signature.target_user_id = devices.user_id AND signature.target_device_id = devices.device_id
       ), '{}'::json) AS signatures
     FROM (
       SELECT user_id, device_id, display_name, hidden FROM devices WHERE user_id = ANY($1::text[])
       UNION ALL
       SELECT devices.user_id, devices.device_id, devices.display_name, devices.hidden
       FROM unnest($2::text[], $3::text[]) AS wanted (user_id, device_id)
       JOIN devices ON devices.user_id = wanted.user_id AND devices.device_id = wanted.device_id
     ) AS devices
     LEFT JOIN e2e_device_keys_json AS keys ON keys.user_id = devices.user_id AND keys.device_id = devices.device_id
     WHERE NOT coalesce(devices.hidden, false) AND ($4 OR keys.key_json IS NOT NULL)`,
    [userIds, devices.map(([userId]) => userId), devices.map(([, deviceId]) => deviceId), withoutKeys],
  );
}

/** Stores a device's identity keys. False when they are those that were stored. */
export async function putDeviceKeys(txn: Txn, userId: string, deviceId: string, keyJson: string, now: number): Promise<boolean> {
  const touched = await execute(
    txn,
    `INSERT INTO e2e_device_keys_json AS stored (user_id, device_id, ts_added_ms, key_json) VALUES ($1, $2, $3, $4)
     ON CONFLICT (user_id, device_id) DO UPDATE SET ts_added_ms = EXCLUDED.ts_added_ms, key_json = EXCLUDED.key_json
     WHERE stored.key_json <> EXCLUDED.key_json`,
    [userId, deviceId, now, keyJson],
  );
  return touched > 0;
}

export interface OneTimeKey {
  readonly algorithm: string;
  readonly keyId: string;
  /** Canonical JSON text. */
  readonly keyJson: string;
}

/**
 * Adds one-time keys; returns the stored ones whose id was taken already, for the caller to compare. To run under READ COMMITTED,
 * keys in a fixed order.
 */
export async function addOneTimeKeys(txn: Txn, userId: string, deviceId: string, keys: readonly OneTimeKey[], now: number): Promise<OneTimeKey[]> {
  const [algorithms, keyIds] = [keys.map((key) => key.algorithm), keys.map((key) => key.keyId)];
  const added = await execute(
    txn,
    `INSERT INTO e2e_one_time_keys_json (user_id, device_id, algorithm, key_id, ts_added_ms, key_json)
     SELECT $1, $2, new.algorithm, new.key_id, $3, new.key_json FROM unnest($4::text[], $5::text[], $6::text[]) AS new (algorithm, key_id, key_json)
     ON CONFLICT (user_id, device_id, algorithm, key_id) DO NOTHING`,
    [userId, deviceId, now, algorithms, keyIds, keys.map((key) => key.keyJson)],
  );
  if (added === keys.length) return [];
  // Those just added come back too: they equal themselves.
  return await query<OneTimeKey>(
    txn,
    `SELECT stored.algorithm, stored.key_id AS "keyId", stored.key_json AS "keyJson"
     FROM unnest($3::text[], $4::text[]) AS new (algorithm, key_id)
     JOIN e2e_one_time_keys_json AS stored ON stored.user_id = $1 AND stored.device_id = $2 AND stored.algorithm = new.algorithm AND stored.key_id = new.key_id`,
    [userId, deviceId, algorithms, keyIds],
  );
}

/** Stores fallback keys, one for each algorithm; a key that differs from the stored one counts as unused. */
export async function putFallbackKeys(txn: Txn, userId: string, deviceId: string, keys: readonly OneTimeKey[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO e2e_fallback_keys_json AS stored (user_id, device_id, algorithm, key_id, key_json, used)
     SELECT $1, $2, new.algorithm, new.key_id, new.key_json, false FROM unnest($3::text[], $4::text[], $5::text[]) AS new (algorithm, key_id, key_json)
     ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET key_id = EXCLUDED.key_id, key_json = EXCLUDED.key_json, used = false
     WHERE stored.key_json <> EXCLUDED.key_json`,
    [userId, deviceId, keys.map((key) => key.algorithm), keys.map((key) => key.keyId), keys.map((key) => key.keyJson)],
  );
}

export interface KeyClaim {
  readonly userId: string;
  readonly deviceId: string;
  readonly algorithm: string;
  readonly count: number;
}

export interface ClaimedKey {
  readonly userId: string;
  readonly deviceId: string;
  readonly algorithm: string;
  readonly keyId: string;
  /** JSON text. */
  readonly keyJson: string;
}

/**
 * Takes one-time keys out, oldest first: a key goes to one claimer only. Keys that another claim is taking at this moment are passed over.
 * To run under READ COMMITTED.
 */
export async function claimOneTimeKeys(txn: Txn, claims: readonly KeyClaim[]): Promise<ClaimedKey[]> {
  return await query<ClaimedKey>(
    txn,
    `WITH chosen AS (
       SELECT oldest.* FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS claim (user_id, device_id, algorithm, wanted)
       CROSS JOIN LATERAL (
         SELECT keys.user_id, keys.device_id, keys.algorithm, keys.key_id FROM e2e_one_time_keys_json AS keys
         WHERE keys.user_id = claim.user_id AND keys.device_id = claim.device_id AND keys.algorithm = claim.algorithm
         ORDER BY keys.ts_added_ms, keys.key_id LIMIT claim.wanted FOR UPDATE SKIP LOCKED
       ) AS oldest
     )
     DELETE FROM e2e_one_time_keys_json AS taken USING chosen
     WHERE taken.user_id = chosen.user_id AND taken.device_id = chosen.device_id AND taken.algorithm = chosen.algorithm AND taken.key_id = chosen.key_id
     RETURNING taken.user_id AS "userId", taken.device_id AS "deviceId", taken.algorithm, taken.key_id AS "keyId", taken.key_json AS "keyJson"`,
    [claims.map((c) => c.userId), claims.map((c) => c.deviceId), claims.map((c) => c.algorithm), claims.map((c) => c.count)],
  );
}

export interface FallbackClaim {
  readonly userId: string;
  readonly deviceId: string;
  readonly algorithm: string;
  readonly markUsed: boolean;
}

/** Fallback keys of devices; they stay, marked as used where asked for. */
export async function claimFallbackKeys(txn: Txn, claims: readonly FallbackClaim[]): Promise<ClaimedKey[]> {
  return await query<ClaimedKey>(
    txn,
    `UPDATE e2e_fallback_keys_json AS keys SET used = keys.used OR claim.mark_used
     FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) AS claim (user_id, device_id, algorithm, mark_used)
     WHERE keys.user_id = claim.user_id AND keys.device_id = claim.device_id AND keys.algorithm = claim.algorithm
     RETURNING keys.user_id AS "userId", keys.device_id AS "deviceId", keys.algorithm, keys.key_id AS "keyId", keys.key_json AS "keyJson"`,
    [claims.map((c) => c.userId), claims.map((c) => c.deviceId), claims.map((c) => c.algorithm), claims.map((c) => c.markUsed)],
  );
}

export interface KeyCounts {
  /** One-time keys left, by algorithm; `signed_curve25519` is always there. */
  readonly oneTimeKeys: Record<string, number>;
  /** Algorithms of which the fallback key has not been given out. */
  readonly unusedFallbackTypes: string[];
}

/** What is left of a device's keys. */
export async function keyCounts(read: ReadHandle, userId: string, deviceId: string): Promise<KeyCounts> {
  const row = await queryOne<{ counts: Record<string, number> | null; unused: string[] | null }>(
    read,
    `SELECT
       (SELECT json_object_agg(algorithm, count) FROM (
          SELECT algorithm, count(*) FROM e2e_one_time_keys_json WHERE user_id = $1 AND device_id = $2 GROUP BY algorithm) AS counted) AS counts,
       (SELECT array_agg(algorithm) FROM e2e_fallback_keys_json WHERE user_id = $1 AND device_id = $2 AND NOT used) AS unused`,
    [userId, deviceId],
  );
  return { oneTimeKeys: { signed_curve25519: 0, ...row?.counts }, unusedFallbackTypes: row?.unused ?? [] };
}

/** As `keyCounts` for all devices of users (appservice transactions, MSC3202): user id to device id to counts. */
export async function keyCountsOfUsers(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, Map<string, KeyCounts>>> {
  const rows = await query<{ user_id: string; device_id: string; counts: Record<string, number> | null; unused: string[] | null }>(
    read,
    `SELECT devices.user_id, devices.device_id,
       (SELECT json_object_agg(algorithm, count) FROM (
          SELECT keys.algorithm, count(*) FROM e2e_one_time_keys_json AS keys
          WHERE keys.user_id = devices.user_id AND keys.device_id = devices.device_id GROUP BY keys.algorithm) AS counted) AS counts,
       (SELECT array_agg(fallback.algorithm) FROM e2e_fallback_keys_json AS fallback
        WHERE fallback.user_id = devices.user_id AND fallback.device_id = devices.device_id AND NOT fallback.used) AS unused
     FROM devices WHERE devices.user_id = ANY($1::text[])`,
    [userIds],
  );
  const result = new Map<string, Map<string, KeyCounts>>();
  for (const row of rows) {
    let devices = result.get(row.user_id);
    if (devices === undefined) result.set(row.user_id, (devices = new Map()));
    devices.set(row.device_id, { oneTimeKeys: row.counts ?? {}, unusedFallbackTypes: row.unused ?? [] });
  }
  return result;
}

/** Deletes the keys of devices that are being deleted. */
export async function deleteKeysOfDevices(txn: Txn, userId: string, deviceIds: readonly string[]): Promise<void> {
  await execute(txn, `DELETE FROM e2e_device_keys_json WHERE user_id = $1 AND device_id = ANY($2::text[])`, [userId, deviceIds]);
  await execute(txn, `DELETE FROM e2e_one_time_keys_json WHERE user_id = $1 AND device_id = ANY($2::text[])`, [userId, deviceIds]);
  await execute(txn, `DELETE FROM e2e_fallback_keys_json WHERE user_id = $1 AND device_id = ANY($2::text[])`, [userId, deviceIds]);
}

/**
 * Of the next `users` users after `afterUser`, deletes one-time keys that are older than `before` and have ids of six characters: what libolm
 * made, and has forgotten by then. Returns the last user looked at, undefined at the end.
 */
export async function deleteOldOneTimeKeys(txn: Txn, afterUser: string, users: number, before: number): Promise<string | undefined> {
  const batch = await query<{ user_id: string }>(txn, `SELECT DISTINCT user_id FROM e2e_one_time_keys_json WHERE user_id > $1 ORDER BY user_id LIMIT $2`, [
    afterUser,
    users,
  ]);
  if (batch.length === 0) return undefined;
  await execute(txn, `DELETE FROM e2e_one_time_keys_json WHERE user_id = ANY($1::text[]) AND ts_added_ms < $2 AND length(key_id) = 6`, [
    batch.map((row) => row.user_id),
    before,
  ]);
  return batch.at(-1)!.user_id;
}
