import { execute, query, type ReadHandle, type Txn } from "../database.ts";
import { BUMP_TYPES } from "../events/persist/state-tables.ts";

/** What the first filling of the sliding sync tables reads and writes. Rows that are there are up to date: the persister keeps them. */

export async function queueJoinedRooms(txn: Txn): Promise<void> {
  await execute(
    txn,
    `INSERT INTO sliding_sync_joined_rooms_to_recalculate (room_id) SELECT DISTINCT room_id FROM local_current_membership WHERE membership = 'join'
     ON CONFLICT (room_id) DO NOTHING`,
  );
}

export async function roomsToRecalculate(h: ReadHandle, limit: number): Promise<string[]> {
  const rows = await query<{ room_id: string }>(h, "SELECT room_id FROM sliding_sync_joined_rooms_to_recalculate ORDER BY room_id LIMIT $1", [limit]);
  return rows.map(({ room_id }) => room_id);
}

export async function forgetRoomsToRecalculate(txn: Txn, roomIds: readonly string[]): Promise<void> {
  await execute(txn, "DELETE FROM sliding_sync_joined_rooms_to_recalculate WHERE room_id = ANY($1)", [roomIds]);
}

/** The columns of a room's state, as both tables have them. */
export interface StateColumns {
  readonly roomType: string | null;
  readonly roomName: string | null;
  readonly isEncrypted: boolean;
  readonly successor: string | null;
}

/** Adds rooms that have no row, with the positions of their last event and of their last event that moves them up. */
export async function insertJoinedRooms(txn: Txn, rooms: ReadonlyMap<string, StateColumns>): Promise<void> {
  if (rooms.size === 0) return;
  const states = [...rooms.values()];
  const last = (types: string): string =>
    `(SELECT e.stream_ordering FROM events AS e WHERE e.room_id = given.room_id AND NOT e.outlier AND e.rejection_reason IS NULL ${types}
      ORDER BY e.stream_ordering DESC LIMIT 1)`;
  await execute(
    txn,
    `INSERT INTO sliding_sync_joined_rooms (room_id, event_stream_ordering, bump_stamp, room_type, room_name, is_encrypted, tombstone_successor_room_id)
     SELECT given.room_id, last.event, CASE WHEN last.bump > 0 THEN last.bump END, given.room_type, given.room_name, given.is_encrypted, given.successor
     FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::text[]) AS given (room_id, room_type, room_name, is_encrypted, successor),
       LATERAL (SELECT ${last("")} AS event, ${last("AND e.type = ANY($6)")} AS bump) AS last
     WHERE last.event IS NOT NULL
     ON CONFLICT (room_id) DO NOTHING`,
    [
      [...rooms.keys()],
      states.map(({ roomType }) => roomType),
      states.map(({ roomName }) => roomName),
      states.map(({ isEncrypted }) => isEncrypted),
      states.map(({ successor }) => successor),
      [...BUMP_TYPES],
    ],
  );
}

/** A local user's membership that has no snapshot, or an older one. */
export interface MembershipToSnapshot {
  room_id: string;
  user_id: string;
  event_id: string;
  sender: string;
  membership: string;
  stream_ordering: number;
  instance_name: string | null;
  outlier: boolean;
  room_exists: boolean;
  room_version: string | null;
}

/** Of all memberships in the order of room and user; or of those newer than a position, in their order. */
export async function membershipsToSnapshot(
  h: ReadHandle,
  after: { roomId: string; userId: string } | { ordering: number },
  limit: number,
): Promise<MembershipToSnapshot[]> {
  const [where, order, bounds] =
    "ordering" in after
      ? ["c.event_stream_ordering > $2", "c.event_stream_ordering", [after.ordering]]
      : ["(c.room_id, c.user_id) > ($2, $3)", "c.room_id, c.user_id", [after.roomId, after.userId]];
  return await query(
    h,
    `SELECT c.room_id, c.user_id, c.event_id, c.membership, e.sender, e.stream_ordering, e.instance_name, e.outlier,
            r.room_id IS NOT NULL AS room_exists, r.room_version
     FROM local_current_membership AS c
     JOIN events AS e ON e.event_id = c.event_id
     LEFT JOIN rooms AS r ON r.room_id = c.room_id
     LEFT JOIN sliding_sync_membership_snapshots AS s ON s.room_id = c.room_id AND s.user_id = c.user_id
     WHERE ${where} AND s.membership_event_id IS DISTINCT FROM c.event_id
     ORDER BY ${order} LIMIT $1`,
    [limit, ...bounds],
  );
}

/** The last invite or knock before a membership that came from outside: what is known of the room stands in it. */
export async function previousInvites(
  h: ReadHandle,
  memberships: readonly { room_id: string; user_id: string; event_id: string }[],
): Promise<Map<string, string>> {
  const rows = await query<{ event_id: string; invite: string }>(
    h,
    `SELECT given.event_id, found.event_id AS invite
     FROM unnest($1::text[], $2::text[], $3::text[]) AS given (room_id, user_id, event_id),
       LATERAL (SELECT m.event_id FROM room_memberships AS m JOIN events AS e ON e.event_id = m.event_id
                WHERE m.room_id = given.room_id AND m.user_id = given.user_id AND m.membership IN ('invite', 'knock') AND m.event_id <> given.event_id
                ORDER BY e.topological_ordering DESC LIMIT 1) AS found`,
    [memberships.map((row) => row.room_id), memberships.map((row) => row.user_id), memberships.map((row) => row.event_id)],
  );
  return new Map(rows.map((row) => [row.event_id, row.invite]));
}

/** Rooms that are known by old invites only: the snapshots refer to a row in `rooms`. */
export async function insertMissingRooms(txn: Txn, roomIds: readonly string[]): Promise<void> {
  if (roomIds.length === 0) return;
  await execute(
    txn,
    "INSERT INTO rooms (room_id, has_auth_chain_index) SELECT DISTINCT room_id, TRUE FROM unnest($1::text[]) AS room_id ON CONFLICT (room_id) DO NOTHING",
    [roomIds],
  );
}

export async function insertSnapshots(
  txn: Txn,
  snapshots: readonly { of: MembershipToSnapshot; state: StateColumns & { hasKnownState: boolean } }[],
): Promise<void> {
  if (snapshots.length === 0) return;
  await execute(
    txn,
    `INSERT INTO sliding_sync_membership_snapshots AS stored
       (room_id, user_id, sender, membership_event_id, membership, forgotten, event_stream_ordering, event_instance_name,
        has_known_state, room_type, room_name, is_encrypted, tombstone_successor_room_id)
     SELECT given.room_id, given.user_id, given.sender, given.event_id, given.membership, COALESCE(m.forgotten, 0), given.stream_ordering, given.instance_name,
            given.has_known_state, given.room_type, given.room_name, given.is_encrypted, given.successor
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::boolean[], $9::text[], $10::text[], $11::boolean[], $12::text[])
       AS given (room_id, user_id, sender, event_id, membership, stream_ordering, instance_name, has_known_state, room_type, room_name, is_encrypted, successor)
     LEFT JOIN room_memberships AS m ON m.event_id = given.event_id
     ON CONFLICT (room_id, user_id) DO UPDATE SET
       sender = EXCLUDED.sender, membership_event_id = EXCLUDED.membership_event_id, membership = EXCLUDED.membership, forgotten = EXCLUDED.forgotten,
       event_stream_ordering = EXCLUDED.event_stream_ordering, event_instance_name = EXCLUDED.event_instance_name, has_known_state = EXCLUDED.has_known_state,
       room_type = EXCLUDED.room_type, room_name = EXCLUDED.room_name, is_encrypted = EXCLUDED.is_encrypted,
       tombstone_successor_room_id = EXCLUDED.tombstone_successor_room_id
     WHERE stored.membership_event_id <> EXCLUDED.membership_event_id`,
    [
      snapshots.map(({ of }) => of.room_id),
      snapshots.map(({ of }) => of.user_id),
      snapshots.map(({ of }) => of.sender),
      snapshots.map(({ of }) => of.event_id),
      snapshots.map(({ of }) => of.membership),
      snapshots.map(({ of }) => of.stream_ordering),
      snapshots.map(({ of }) => of.instance_name ?? "master"),
      snapshots.map(({ state }) => state.hasKnownState),
      snapshots.map(({ state }) => state.roomType),
      snapshots.map(({ state }) => state.roomName),
      snapshots.map(({ state }) => state.isEncrypted),
      snapshots.map(({ state }) => state.successor),
    ],
  );
}
