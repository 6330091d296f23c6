import { JsonText } from "../../lib/json.ts";
import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** `dehydrated_devices` (MSC3814): a user has at most one. */
export async function dehydratedDevice(read: ReadHandle, userId: string): Promise<{ deviceId: string; data: JsonText } | undefined> {
  const row = await queryOne<{ device_id: string; device_data: string }>(read, `SELECT device_id, device_data FROM dehydrated_devices WHERE user_id = $1`, [
    userId,
  ]);
  return row && { deviceId: row.device_id, data: new JsonText(row.device_data) };
}

export async function putDehydratedDevice(txn: Txn, userId: string, deviceId: string, data: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO dehydrated_devices (user_id, device_id, device_data) VALUES ($1, $2, $3)
     ON CONFLICT (user_id) DO UPDATE SET device_id = EXCLUDED.device_id, device_data = EXCLUDED.device_data`,
    [userId, deviceId, data],
  );
}

/** Forgets that one of these devices is dehydrated. False when none is. */
export async function deleteDehydratedDevices(txn: Txn, userId: string, deviceIds: readonly string[]): Promise<boolean> {
  return (await execute(txn, `DELETE FROM dehydrated_devices WHERE user_id = $1 AND device_id = ANY($2::text[])`, [userId, deviceIds])) > 0;
}
