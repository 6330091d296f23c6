import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * Changes of device lists: `device_lists_stream` (the newest change of each device), `device_lists_changes_in_room` (each change for each
 * room of its user), `user_signature_stream` (who signed whose keys). All in the stream `deviceLists`.
 */
export interface DeviceChanges {
  readonly userId: string;
  readonly deviceIds: readonly string[];
  /** One for each device, ascending. */
  readonly streamIds: readonly number[];
  /** Rooms that the user is joined to. */
  readonly roomIds: readonly string[];
  /** Changes of remote users are told to nobody: they count as converted. */
  readonly isLocal: boolean;
  readonly now: number;
  readonly instanceName: string;
}

export async function addDeviceChanges(txn: Txn, changes: DeviceChanges): Promise<void> {
  const { userId, deviceIds, streamIds } = changes;
  const removed = execute(txn, `DELETE FROM device_lists_stream WHERE user_id = $1 AND device_id = ANY($2::text[]) AND stream_id < $3`, [
    userId,
    deviceIds,
    streamIds[0],
  ]);
  const added = execute(
    txn,
    `INSERT INTO device_lists_stream (instance_name, stream_id, user_id, device_id)
     SELECT $1, change.stream_id, $2, change.device_id FROM unnest($3::bigint[], $4::text[]) AS change (stream_id, device_id)`,
    [changes.instanceName, userId, streamIds, deviceIds],
  );
  const inRooms = execute(
    txn,
    `INSERT INTO device_lists_changes_in_room
       (user_id, device_id, room_id, stream_id, instance_name, converted_to_destinations, opentracing_context, inserted_ts)
     SELECT $1, change.device_id, room.room_id, change.stream_id, $2, $3, '{}', $4
     FROM unnest($5::bigint[], $6::text[]) AS change (stream_id, device_id) CROSS JOIN unnest($7::text[]) AS room (room_id)`,
    [userId, changes.instanceName, !changes.isLocal, changes.now, streamIds, deviceIds, changes.roomIds],
  );
  await Promise.all([removed, added, inRooms]);
}

/** Rooms that a user, local or remote, is joined to. */
export async function roomsJoinedBy(read: ReadHandle, userId: string): Promise<string[]> {
  const rows = await query<{ room_id: string }>(
    read,
    `SELECT room_id FROM current_state_events WHERE type = 'm.room.member' AND state_key = $1 AND membership = 'join'`,
    [userId],
  );
  return rows.map((row) => row.room_id);
}

/**
 * Users whose devices changed at positions in (`after`, `upTo`] while they were in one of the rooms. undefined when changes as old as
 * `after` have been pruned.
 */
export async function usersChangedInRooms(read: ReadHandle, roomIds: readonly string[], after: number, upTo: number): Promise<string[] | undefined> {
  const rows = await query<{ pruned: boolean; user_id: string | null }>(
    read,
    `SELECT pruned.stream_id > $2 AS pruned, change.user_id
     FROM device_lists_changes_in_room_max_pruned_stream_id AS pruned
     LEFT JOIN (
       SELECT DISTINCT user_id FROM device_lists_changes_in_room WHERE room_id = ANY($1::text[]) AND stream_id > $2 AND stream_id <= $3
     ) AS change ON true`,
    [roomIds, after, upTo],
  );
  if (rows[0]?.pruned === true) return undefined;
  return rows.flatMap((row) => row.user_id ?? []);
}

/** Users among those joined to one of the rooms whose devices changed at positions in (`after`, `upTo`]; for positions older than the pruning. */
export async function membersWithChangedDevices(read: ReadHandle, roomIds: readonly string[], after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    read,
    `SELECT DISTINCT change.user_id FROM device_lists_stream AS change
     WHERE change.stream_id > $2 AND change.stream_id <= $3 AND EXISTS (
       SELECT FROM current_state_events AS member
       WHERE member.type = 'm.room.member' AND member.state_key = change.user_id AND member.membership = 'join' AND member.room_id = ANY($1::text[]))`,
    [roomIds, after, upTo],
  );
  return rows.map((row) => row.user_id);
}

/** Which of these users have a device that changed at a position in (`after`, `upTo`]. */
export async function usersWithChangedDevices(read: ReadHandle, userIds: readonly string[], after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    read,
    `SELECT DISTINCT user_id FROM device_lists_stream WHERE user_id = ANY($1::text[]) AND stream_id > $2 AND stream_id <= $3`,
    [userIds, after, upTo],
  );
  return rows.map((row) => row.user_id);
}

/** All users whose devices changed or who signed somebody in (`after`, `upTo`] (appservices, MSC3202). */
export async function allUsersWithChangedDevices(read: ReadHandle, after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    read,
    `SELECT user_id FROM device_lists_stream WHERE stream_id > $1 AND stream_id <= $2
     UNION SELECT from_user_id FROM user_signature_stream WHERE stream_id > $1 AND stream_id <= $2`,
    [after, upTo],
  );
  return rows.map((row) => row.user_id);
}

/** Which of `userIds` are joined to at least one of `roomIds`. */
export async function usersInRooms(read: ReadHandle, userIds: readonly string[], roomIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ state_key: string }>(
    read,
    `SELECT DISTINCT state_key FROM current_state_events
     WHERE type = 'm.room.member' AND membership = 'join' AND state_key = ANY($1::text[]) AND room_id = ANY($2::text[])`,
    [userIds, roomIds],
  );
  return new Set(rows.map((row) => row.state_key));
}

/** Which of `userIds` are joined or invited to a room that `userId` is joined to. */
export async function usersSharingRoomsWith(read: ReadHandle, userId: string, userIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ state_key: string }>(
    read,
    `SELECT DISTINCT other.state_key FROM current_state_events AS mine
     JOIN current_state_events AS other ON other.room_id = mine.room_id AND other.type = 'm.room.member'
       AND other.membership IN ('join', 'invite') AND other.state_key = ANY($2::text[])
     WHERE mine.type = 'm.room.member' AND mine.state_key = $1 AND mine.membership = 'join'`,
    [userId, userIds],
  );
  return new Set(rows.map((row) => row.state_key));
}

/** Users joined to at least one of the rooms. */
export async function usersOfRooms(read: ReadHandle, roomIds: readonly string[]): Promise<string[]> {
  const rows = await query<{ state_key: string }>(
    read,
    `SELECT DISTINCT state_key FROM current_state_events WHERE type = 'm.room.member' AND membership = 'join' AND room_id = ANY($1::text[])`,
    [roomIds],
  );
  return rows.map((row) => row.state_key);
}

/** `from` signed keys of these users. */
export async function addSignatureChange(txn: Txn, from: string, userIdsJson: string, streamId: number, instanceName: string): Promise<void> {
  await execute(txn, `INSERT INTO user_signature_stream (stream_id, from_user_id, user_ids, instance_name) VALUES ($1, $2, $3, $4)`, [
    streamId,
    from,
    userIdsJson,
    instanceName,
  ]);
}

/** JSON lists of the users whose keys `from` signed at positions in (`after`, `upTo`]. */
export async function signatureChanges(read: ReadHandle, from: string, after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_ids: string }>(
    read,
    `SELECT user_ids FROM user_signature_stream WHERE from_user_id = $1 AND stream_id > $2 AND stream_id <= $3`,
    [from, after, upTo],
  );
  return rows.map((row) => row.user_ids);
}

/**
 * Deletes up to `limit` changes in rooms recorded before `before` (milliseconds), oldest first, and notes up to where. The newest change and
 * those not yet told to other servers stay. Returns how many went.
 */
export async function pruneChangesInRooms(txn: Txn, before: number, limit: number): Promise<number> {
  const row = await queryOne<{ count: number; last: number | null }>(
    txn,
    `WITH bound AS (
       SELECT least(
         (SELECT stream_id FROM device_lists_changes_in_room WHERE inserted_ts <= $1 ORDER BY inserted_ts DESC LIMIT 1),
         (SELECT max(stream_id) - 1 FROM device_lists_changes_in_room),
         (SELECT stream_id - 1 FROM device_lists_changes_converted_stream_position)) AS stream_id
       WHERE EXISTS (SELECT FROM device_lists_changes_in_room WHERE inserted_ts <= $1)
     ), removed AS (
       DELETE FROM device_lists_changes_in_room WHERE stream_id IN (
         SELECT old.stream_id FROM device_lists_changes_in_room AS old, bound
         WHERE old.stream_id <= bound.stream_id ORDER BY old.stream_id LIMIT $2)
       RETURNING stream_id
     )
     SELECT count(*) AS count, max(stream_id) AS last FROM removed`,
    [before, limit],
  );
  if (row?.last != null) {
    await execute(txn, `UPDATE device_lists_changes_in_room_max_pruned_stream_id SET stream_id = greatest(stream_id, $1)`, [row.last]);
  }
  return row?.count ?? 0;
}
