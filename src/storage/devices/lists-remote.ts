import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * What the server knows of remote users' devices: `device_lists_remote_cache` (content as their servers sent it), `_extremeties` (the last
 * update seen, a text), `_resync` (lists that must be fetched anew), `_pending` (updates that came while the state of a shared room was
 * partial). A list is to be trusted when the user has an extremity, no resync row, and shares a room with us.
 */
export interface RemoteDevice {
  readonly deviceId: string;
  /** JSON text. */
  readonly content: string;
}

/** Of these remote users, those whose cached lists may be used: subscribed to and not stale. */
export async function usersWithCachedDevices(read: ReadHandle, userIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ user_id: string }>(
    read,
    `SELECT extremity.user_id FROM device_lists_remote_extremeties AS extremity
     WHERE extremity.user_id = ANY($1::text[]) AND NOT EXISTS (SELECT FROM device_lists_remote_resync AS stale WHERE stale.user_id = extremity.user_id)`,
    [userIds],
  );
  return new Set(rows.map((row) => row.user_id));
}

/** Cached devices of remote users; users without any are left out. */
export async function cachedDevices(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, RemoteDevice[]>> {
  const rows = await query<RemoteDevice & { userId: string }>(
    read,
    `SELECT user_id AS "userId", device_id AS "deviceId", content FROM device_lists_remote_cache WHERE user_id = ANY($1::text[])`,
    [userIds],
  );
  const result = new Map<string, RemoteDevice[]>();
  for (const { userId, deviceId, content } of rows) {
    const list = result.get(userId);
    if (list === undefined) result.set(userId, [{ deviceId, content }]);
    else list.push({ deviceId, content });
  }
  return result;
}

/** The last update of a remote user's list; undefined when we never had one. */
export async function lastRemoteUpdate(read: ReadHandle, userId: string): Promise<string | undefined> {
  return (await queryOne<{ stream_id: string }>(read, `SELECT stream_id FROM device_lists_remote_extremeties WHERE user_id = $1`, [userId]))?.stream_id;
}

/** Applies one update: the device with its content, or its deletion (content undefined). */
export async function putRemoteDevice(txn: Txn, userId: string, deviceId: string, content: string | undefined, streamId: string): Promise<void> {
  if (content === undefined) await execute(txn, `DELETE FROM device_lists_remote_cache WHERE user_id = $1 AND device_id = $2`, [userId, deviceId]);
  else {
    await execute(
      txn,
      `INSERT INTO device_lists_remote_cache (user_id, device_id, content) VALUES ($1, $2, $3)
       ON CONFLICT (user_id, device_id) DO UPDATE SET content = EXCLUDED.content`,
      [userId, deviceId, content],
    );
  }
  await putExtremity(txn, userId, streamId);
}

/** Replaces the whole list. */
export async function replaceRemoteDevices(txn: Txn, userId: string, devices: readonly RemoteDevice[], streamId: string): Promise<void> {
  await execute(txn, `DELETE FROM device_lists_remote_cache WHERE user_id = $1`, [userId]);
  await execute(
    txn,
    `INSERT INTO device_lists_remote_cache (user_id, device_id, content)
     SELECT $1, new.device_id, new.content FROM unnest($2::text[], $3::text[]) AS new (device_id, content)`,
    [userId, devices.map((device) => device.deviceId), devices.map((device) => device.content)],
  );
  await putExtremity(txn, userId, streamId);
}

async function putExtremity(txn: Txn, userId: string, streamId: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO device_lists_remote_extremeties (user_id, stream_id) VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET stream_id = EXCLUDED.stream_id`,
    [userId, streamId],
  );
}

/** The lists of these users must be fetched anew. */
export async function markStale(txn: Txn, userIds: readonly string[], now: number): Promise<void> {
  await execute(txn, `INSERT INTO device_lists_remote_resync (user_id, added_ts) SELECT unnest($1::text[]), $2 ON CONFLICT (user_id) DO NOTHING`, [
    userIds,
    now,
  ]);
}

export async function markFresh(txn: Txn, userId: string): Promise<void> {
  await execute(txn, `DELETE FROM device_lists_remote_resync WHERE user_id = $1`, [userId]);
}

/** Users whose lists must be fetched anew, longest waiting first. */
export async function staleUsers(read: ReadHandle, limit: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(read, `SELECT user_id FROM device_lists_remote_resync ORDER BY added_ts LIMIT $1`, [limit]);
  return rows.map((row) => row.user_id);
}

/** Those of these users who share no room with us: their servers send us no updates any more, and what is cached is not to be trusted. */
export async function unsubscribeFromStrangers(txn: Txn, userIds: readonly string[]): Promise<void> {
  await execute(
    txn,
    `DELETE FROM device_lists_remote_extremeties AS extremity WHERE extremity.user_id = ANY($1::text[]) AND NOT EXISTS (
       SELECT FROM current_state_events AS member
       WHERE member.type = 'm.room.member' AND member.state_key = extremity.user_id AND member.membership = 'join')`,
    [userIds],
  );
}

/** Notes an update to be looked at again when rooms with partial state have their full state. */
export async function addPendingUpdate(txn: Txn, userId: string, deviceId: string, streamId: number, instanceName: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO device_lists_remote_pending (stream_id, user_id, device_id, instance_name) VALUES ($1, $2, $3, $4)
     ON CONFLICT (user_id, device_id) DO UPDATE SET stream_id = EXCLUDED.stream_id, instance_name = EXCLUDED.instance_name`,
    [streamId, userId, deviceId, instanceName],
  );
}

/** Updates noted since the room was joined, of users who turned out to be in it. */
export async function pendingUpdatesInRoom(read: ReadHandle, roomId: string): Promise<{ userId: string; deviceId: string }[]> {
  return await query(
    read,
    `SELECT pending.user_id AS "userId", pending.device_id AS "deviceId"
     FROM partial_state_rooms AS partial
     JOIN current_state_events AS member ON member.room_id = partial.room_id AND member.type = 'm.room.member' AND member.membership = 'join'
     JOIN device_lists_remote_pending AS pending ON pending.user_id = member.state_key AND pending.stream_id > partial.device_lists_stream_id
     WHERE partial.room_id = $1`,
    [roomId],
  );
}

/** Whether any room has partial state. */
export async function anyPartialStateRoom(read: ReadHandle): Promise<boolean> {
  return (await queryOne(read, `SELECT FROM partial_state_rooms LIMIT 1`)) !== undefined;
}
