import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A row of `rooms`. */
export interface RoomRow {
  readonly room_id: string;
  /** In the server's directory. */
  readonly is_public: boolean | null;
  /** The empty string when unknown. */
  readonly creator: string | null;
  readonly room_version: string | null;
}

export async function findRoom(h: ReadHandle, roomId: string): Promise<RoomRow | undefined> {
  return await queryOne(h, "SELECT room_id, is_public, creator, room_version FROM rooms WHERE room_id = $1", [roomId]);
}

/** Registers a room that is being created here. False when the id is taken (the transaction stays usable). */
export async function insertRoom(txn: Txn, room: { roomId: string; creator: string; isPublic: boolean; version: string }): Promise<boolean> {
  const count = await execute(
    txn,
    `INSERT INTO rooms (room_id, creator, is_public, room_version, has_auth_chain_index)
     VALUES ($1, $2, $3, $4, true) ON CONFLICT (room_id) DO NOTHING`,
    [room.roomId, room.creator, room.isPublic, room.version],
  );
  return count > 0;
}

/** Registers a room of other servers, or fills in its version; its creator is not known here. */
export async function upsertRemoteRoom(txn: Txn, roomId: string, version: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO rooms (room_id, creator, is_public, room_version, has_auth_chain_index)
     VALUES ($1, '', false, $2, NOT EXISTS (SELECT FROM events AS e WHERE e.room_id = $1))
     ON CONFLICT (room_id) DO UPDATE SET room_version = EXCLUDED.room_version WHERE rooms.room_version IS NULL`,
    [roomId, version],
  );
}

export async function setRoomPublic(txn: Txn, roomId: string, isPublic: boolean): Promise<void> {
  await execute(txn, "UPDATE rooms SET is_public = $2 WHERE room_id = $1", [roomId, isPublic]);
}

/** Publishes or withdraws a room in the list of an appservice's network (`appservice_room_list`). */
export async function setRoomPublicOnNetwork(txn: Txn, appserviceId: string, networkId: string, roomId: string, isPublic: boolean): Promise<void> {
  const sql = isPublic
    ? "INSERT INTO appservice_room_list (appservice_id, network_id, room_id) VALUES ($1, $2, $3) ON CONFLICT (appservice_id, network_id, room_id) DO NOTHING"
    : "DELETE FROM appservice_room_list WHERE appservice_id = $1 AND network_id = $2 AND room_id = $3";
  await execute(txn, sql, [appserviceId, networkId, roomId]);
}

/** True when an admin has blocked the room: nobody here may join it. */
export async function isRoomBlocked(h: ReadHandle, roomId: string): Promise<boolean> {
  return (await queryOne(h, "SELECT 1 AS found FROM blocked_rooms WHERE room_id = $1", [roomId])) !== undefined;
}

/** The admin who blocked the room; undefined when it is not blocked. */
export async function roomBlockedBy(h: ReadHandle, roomId: string): Promise<string | undefined> {
  return (await queryOne<{ user_id: string }>(h, "SELECT user_id FROM blocked_rooms WHERE room_id = $1", [roomId]))?.user_id;
}

export async function blockRoom(txn: Txn, roomId: string, userId: string): Promise<void> {
  await execute(txn, "INSERT INTO blocked_rooms (room_id, user_id) VALUES ($1, $2) ON CONFLICT (room_id) DO NOTHING", [roomId, userId]);
}

export async function unblockRoom(txn: Txn, roomId: string): Promise<void> {
  await execute(txn, "DELETE FROM blocked_rooms WHERE room_id = $1", [roomId]);
}

/** Of these rooms, those that are in the server's directory. */
export async function publicRoomsAmong(h: ReadHandle, roomIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ room_id: string }>(h, "SELECT room_id FROM rooms WHERE is_public AND room_id = ANY($1)", [roomIds]);
  return new Set(rows.map((row) => row.room_id));
}

/** True while the room's state is still being completed after a faster join. */
export async function isPartialStateRoom(h: ReadHandle, roomId: string): Promise<boolean> {
  return (await queryOne(h, "SELECT 1 AS found FROM partial_state_rooms WHERE room_id = $1", [roomId])) !== undefined;
}
