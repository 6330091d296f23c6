import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** `presence_stream`: one row for each user, replaced at each change. */
export interface UserPresence {
  readonly userId: string;
  /** `online`, `unavailable`, `offline`, `busy` (MSC3026). */
  readonly state: string;
  /** Milliseconds; 0: never. So are the next two. */
  readonly lastActiveTs: number;
  readonly lastFederationUpdateTs: number;
  readonly lastUserSyncTs: number;
  readonly statusMsg: string | null;
  readonly currentlyActive: boolean;
}

interface Row {
  user_id: string;
  state: string | null;
  last_active_ts: number | null;
  last_federation_update_ts: number | null;
  last_user_sync_ts: number | null;
  status_msg: string | null;
  currently_active: boolean | null;
}

const COLUMNS = `presence_stream.user_id, presence_stream.state, presence_stream.last_active_ts, presence_stream.last_federation_update_ts,
  presence_stream.last_user_sync_ts, presence_stream.status_msg, presence_stream.currently_active`;

const presence = (row: Row): UserPresence => ({
  userId: row.user_id,
  state: row.state ?? "offline",
  lastActiveTs: row.last_active_ts ?? 0,
  lastFederationUpdateTs: row.last_federation_update_ts ?? 0,
  lastUserSyncTs: row.last_user_sync_ts ?? 0,
  statusMsg: row.status_msg,
  currentlyActive: row.currently_active ?? false,
});

/** Everybody who is not offline. */
export async function activePresence(read: ReadHandle): Promise<UserPresence[]> {
  return (await query<Row>(read, `SELECT ${COLUMNS} FROM presence_stream WHERE state <> 'offline'`)).map(presence);
}

/** Stored presence of users; those without a row are left out. */
export async function presenceOf(read: ReadHandle, userIds: readonly string[]): Promise<UserPresence[]> {
  return (await query<Row>(read, `SELECT ${COLUMNS} FROM presence_stream WHERE user_id = ANY($1::text[])`, [userIds])).map(presence);
}

/** Replaces the rows of these users, each at its own position. To run under READ COMMITTED, users in ascending order. */
export async function putPresence(txn: Txn, states: readonly UserPresence[], streamIds: readonly number[], instanceName: string): Promise<void> {
  await execute(txn, `DELETE FROM presence_stream WHERE user_id = ANY($1::text[])`, [states.map((state) => state.userId)]);
  await execute(
    txn,
    `INSERT INTO presence_stream
       (stream_id, user_id, state, last_active_ts, last_federation_update_ts, last_user_sync_ts, status_msg, currently_active, instance_name)
     SELECT new.*, $9 FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::boolean[]) AS new`,
    [
      streamIds,
      states.map((state) => state.userId),
      states.map((state) => state.state),
      states.map((state) => state.lastActiveTs),
      states.map((state) => state.lastFederationUpdateTs),
      states.map((state) => state.lastUserSyncTs),
      states.map((state) => state.statusMsg),
      states.map((state) => state.currentlyActive),
      instanceName,
    ],
  );
}

/** Users who are joined to one of `roomIds` and whose presence changed at a position in (`after`, `upTo`]. */
export async function presenceChangedInRooms(read: ReadHandle, roomIds: readonly string[], after: number, upTo: number): Promise<UserPresence[]> {
  const rows = await query<Row>(
    read,
    `SELECT ${COLUMNS} FROM presence_stream
     WHERE presence_stream.stream_id > $2 AND presence_stream.stream_id <= $3 AND EXISTS (
       SELECT FROM current_state_events AS member
       WHERE member.type = 'm.room.member' AND member.state_key = presence_stream.user_id AND member.membership = 'join' AND member.room_id = ANY($1::text[]))`,
    [roomIds, after, upTo],
  );
  return rows.map(presence);
}

/** Users who are joined to one of `roomIds` and have ever had a presence. */
export async function presenceInRooms(read: ReadHandle, roomIds: readonly string[], includeOffline: boolean): Promise<UserPresence[]> {
  const rows = await query<Row>(
    read,
    `SELECT ${COLUMNS} FROM presence_stream WHERE ($2 OR presence_stream.state <> 'offline') AND presence_stream.user_id IN (
       SELECT member.state_key FROM current_state_events AS member
       WHERE member.type = 'm.room.member' AND member.membership = 'join' AND member.room_id = ANY($1::text[]))`,
    [roomIds, includeOffline],
  );
  return rows.map(presence);
}

/** The rooms that users (of any server) are joined to; users without rooms are left out. */
export async function joinedRoomsOf(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, Set<string>>> {
  const rows = await query<{ user_id: string; room_id: string }>(
    read,
    `SELECT state_key AS user_id, room_id FROM current_state_events
     WHERE type = 'm.room.member' AND membership = 'join' AND state_key = ANY($1::text[])`,
    [userIds],
  );
  const result = new Map<string, Set<string>>();
  for (const { user_id, room_id } of rows) {
    const rooms = result.get(user_id);
    if (rooms === undefined) result.set(user_id, new Set([room_id]));
    else rooms.add(room_id);
  }
  return result;
}

/** Users who are to get all presence anew, with the position up to which their clients have not got it. */
export async function usersToSendFullPresenceTo(read: ReadHandle): Promise<Map<string, number>> {
  const rows = await query<{ user_id: string; presence_stream_id: number }>(
    read,
    "SELECT user_id, presence_stream_id FROM users_to_send_full_presence_to WHERE presence_stream_id IS NOT NULL",
  );
  return new Map(rows.map((row) => [row.user_id, row.presence_stream_id]));
}

/** Ids without an account are passed over. */
export async function putUsersToSendFullPresenceTo(txn: Txn, userIds: readonly string[], position: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO users_to_send_full_presence_to (user_id, presence_stream_id) SELECT u.name, $2 FROM users AS u WHERE u.name = ANY($1)
     ON CONFLICT (user_id) DO UPDATE SET presence_stream_id = EXCLUDED.presence_stream_id`,
    [userIds, position],
  );
}
