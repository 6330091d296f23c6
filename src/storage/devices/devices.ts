import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * The `devices` table and the identity provider's sessions behind devices. Hidden rows are cross-signing keys, not devices: they are
 * never listed, changed or deleted here.
 */
export interface Device {
  readonly deviceId: string;
  readonly displayName: string | null;
  /** Milliseconds; written some seconds late. */
  readonly lastSeen: number | null;
  readonly ip: string | null;
  readonly userAgent: string | null;
}

const COLUMNS = `devices.device_id AS "deviceId", devices.display_name AS "displayName", devices.last_seen AS "lastSeen", devices.ip, devices.user_agent AS "userAgent"`;

export async function getDevice(h: ReadHandle, userId: string, deviceId: string): Promise<Device | undefined> {
  return await queryOne<Device>(h, `SELECT ${COLUMNS} FROM devices WHERE user_id = $1 AND device_id = $2 AND NOT coalesce(hidden, false)`, [userId, deviceId]);
}

export async function getDevicesOfUser(h: ReadHandle, userId: string): Promise<Device[]> {
  return await query<Device>(h, `SELECT ${COLUMNS} FROM devices WHERE user_id = $1 AND NOT coalesce(hidden, false)`, [userId]);
}

/** Makes the device if the user has none of that id. "hidden": the id belongs to a cross-signing key and cannot be used. */
export async function insertDevice(txn: Txn, userId: string, deviceId: string, displayName: string | null): Promise<"new" | "known" | "hidden"> {
  const added = await execute(
    txn,
    "INSERT INTO devices (user_id, device_id, display_name, hidden) VALUES ($1, $2, $3, false) ON CONFLICT (user_id, device_id) DO NOTHING",
    [userId, deviceId, displayName],
  );
  if (added > 0) return "new";
  const row = await queryOne<{ hidden: boolean | null }>(txn, "SELECT hidden FROM devices WHERE user_id = $1 AND device_id = $2", [userId, deviceId]);
  return row?.hidden === true ? "hidden" : "known";
}

/** Remembers the identity provider's session that made the device, for back-channel logout. */
export async function insertDeviceAuthProvider(txn: Txn, userId: string, deviceId: string, providerId: string, sessionId: string): Promise<void> {
  await execute(txn, "INSERT INTO device_auth_providers (user_id, device_id, auth_provider_id, auth_provider_session_id) VALUES ($1, $2, $3, $4)", [
    userId,
    deviceId,
    providerId,
    sessionId,
  ]);
}

/** Devices made through a session of an identity provider. */
export async function getDevicesOfAuthSession(h: ReadHandle, providerId: string, sessionId: string): Promise<{ userId: string; deviceId: string }[]> {
  return await query(
    h,
    `SELECT user_id AS "userId", device_id AS "deviceId" FROM device_auth_providers WHERE auth_provider_id = $1 AND auth_provider_session_id = $2`,
    [providerId, sessionId],
  );
}

/** False when the user has no such device. */
export async function setDeviceName(txn: Txn, userId: string, deviceId: string, displayName: string): Promise<boolean> {
  const touched = await execute(txn, "UPDATE devices SET display_name = $3 WHERE user_id = $1 AND device_id = $2 AND NOT coalesce(hidden, false)", [
    userId,
    deviceId,
    displayName,
  ]);
  return touched > 0;
}

/** Deletes the devices and their provider links; the caller deletes keys, tokens and pushers. Returns the devices that existed. */
export async function deleteDevices(txn: Txn, userId: string, deviceIds: readonly string[]): Promise<string[]> {
  const [rows] = await Promise.all([
    query<{ deviceId: string }>(
      txn,
      `DELETE FROM devices WHERE user_id = $1 AND device_id = ANY($2::text[]) AND NOT coalesce(hidden, false) RETURNING device_id AS "deviceId"`,
      [userId, deviceIds],
    ),
    execute(txn, "DELETE FROM device_auth_providers WHERE user_id = $1 AND device_id = ANY($2::text[])", [userId, deviceIds]),
  ]);
  return rows.map(({ deviceId }) => deviceId);
}

/** Devices not seen since `before` (milliseconds), by user. */
export async function getStaleDevices(h: ReadHandle, before: number): Promise<Map<string, string[]>> {
  const rows = await query<{ userId: string; deviceIds: string[] }>(
    h,
    `SELECT user_id AS "userId", array_agg(device_id) AS "deviceIds" FROM devices WHERE last_seen < $1 AND NOT coalesce(hidden, false) GROUP BY user_id`,
    [before],
  );
  return new Map(rows.map(({ userId, deviceIds }) => [userId, deviceIds]));
}
