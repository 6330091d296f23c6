import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Statistics of rooms and users: `room_stats_current`, `room_stats_state`, `user_stats_current`, and how far they follow the state changes. */
export const ROOM_COUNTERS = [
  "current_state_events",
  "joined_members",
  "invited_members",
  "knocked_members",
  "left_members",
  "banned_members",
  "local_users_in_room",
] as const;
export type RoomCounter = (typeof ROOM_COUNTERS)[number];

export const ROOM_STATE_COLUMNS = [
  "name",
  "canonical_alias",
  "join_rules",
  "history_visibility",
  "encryption",
  "avatar",
  "guest_access",
  "is_federatable",
  "topic",
  "room_type",
] as const;
export type RoomStateColumn = (typeof ROOM_STATE_COLUMNS)[number];
export type RoomStateUpdate = Partial<Record<RoomStateColumn, string | boolean | null>>;

export async function statsPosition(h: ReadHandle): Promise<number> {
  return (await queryOne<{ stream_id: number }>(h, "SELECT stream_id FROM stats_incremental_position"))?.stream_id ?? 0;
}

export async function setStatsPosition(txn: Txn, position: number): Promise<void> {
  await execute(txn, "UPDATE stats_incremental_position SET stream_id = $1", [position]);
}

/** Of these rooms, the stream id up to which each one's counters already hold the changes. */
export async function countedUpTo(h: ReadHandle, roomIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await query<{ room_id: string; completed_delta_stream_id: number }>(
    h,
    "SELECT room_id, completed_delta_stream_id FROM room_stats_current WHERE room_id = ANY($1)",
    [roomIds],
  );
  return new Map(rows.map((row) => [row.room_id, row.completed_delta_stream_id]));
}

/** Adds differences to the counters of rooms; `position` is what they hold from now on. Rooms that were purged meanwhile stay away. */
export async function addToRoomCounters(txn: Txn, differences: ReadonlyMap<string, Partial<Record<RoomCounter, number>>>, position: number): Promise<void> {
  if (differences.size === 0) return;
  const columns = ROOM_COUNTERS.map((counter) => [...differences.values()].map((difference) => difference[counter] ?? 0));
  await execute(
    txn,
    `INSERT INTO room_stats_current AS stored (room_id, ${ROOM_COUNTERS.join(", ")}, completed_delta_stream_id)
     SELECT given.*, $${ROOM_COUNTERS.length + 2}
       FROM unnest($1::text[], ${ROOM_COUNTERS.map((_, i) => `$${i + 2}::int[]`).join(", ")}) AS given (room_id, ${ROOM_COUNTERS.join(", ")})
      WHERE EXISTS (SELECT FROM rooms WHERE rooms.room_id = given.room_id)
     ON CONFLICT (room_id) DO UPDATE SET completed_delta_stream_id = EXCLUDED.completed_delta_stream_id,
       ${ROOM_COUNTERS.map((counter) => `${counter} = COALESCE(stored.${counter}, 0) + EXCLUDED.${counter}`).join(", ")}`,
    [[...differences.keys()], ...columns, position],
  );
}

/** Adds differences to the number of rooms that users are joined to. */
export async function addToUserCounters(txn: Txn, joinedRooms: ReadonlyMap<string, number>, position: number): Promise<void> {
  if (joinedRooms.size === 0) return;
  await execute(
    txn,
    `INSERT INTO user_stats_current AS stored (user_id, joined_rooms, completed_delta_stream_id)
     SELECT given.user_id, given.difference, $3 FROM unnest($1::text[], $2::bigint[]) AS given (user_id, difference)
     ON CONFLICT (user_id) DO UPDATE SET joined_rooms = stored.joined_rooms + EXCLUDED.joined_rooms,
       completed_delta_stream_id = EXCLUDED.completed_delta_stream_id`,
    [[...joinedRooms.keys()], [...joinedRooms.values()], position],
  );
}

/** Sets the columns given for each room; a column left out (undefined) keeps its value, null empties it. Rooms that were purged stay away. */
export async function updateRoomState(txn: Txn, updates: ReadonlyMap<string, RoomStateUpdate>): Promise<void> {
  if (updates.size === 0) return;
  await execute(
    txn,
    `INSERT INTO room_stats_state AS stored (room_id, ${ROOM_STATE_COLUMNS.join(", ")})
     SELECT given.room_id, ${ROOM_STATE_COLUMNS.map((column) => (column === "is_federatable" ? "(given.fields ->> 'is_federatable')::boolean" : `given.fields ->> '${column}'`)).join(", ")}
       FROM unnest($1::text[], $2::jsonb[]) AS given (room_id, fields)
      WHERE EXISTS (SELECT FROM rooms WHERE rooms.room_id = given.room_id)
     ON CONFLICT (room_id) DO NOTHING`,
    [[...updates.keys()], [...updates.values()].map((fields) => JSON.stringify(fields))],
  );
  await execute(
    txn,
    `UPDATE room_stats_state AS stored SET ${ROOM_STATE_COLUMNS.map((column) => {
      const value = column === "is_federatable" ? "(given.fields ->> 'is_federatable')::boolean" : `given.fields ->> '${column}'`;
      return `${column} = CASE WHEN given.fields ? '${column}' THEN ${value} ELSE stored.${column} END`;
    }).join(", ")}
       FROM unnest($1::text[], $2::jsonb[]) AS given (room_id, fields)
      WHERE stored.room_id = given.room_id`,
    [[...updates.keys()], [...updates.values()].map((fields) => JSON.stringify(fields))],
  );
}

/** A room with its statistics, as the admin API and summaries show it; undefined for a room that the server does not know. */
export interface RoomWithStats {
  readonly room_id: string;
  readonly name: string | null;
  readonly canonical_alias: string | null;
  readonly joined_members: number | null;
  readonly joined_local_members: number | null;
  readonly version: string | null;
  readonly creator: string | null;
  readonly encryption: string | null;
  readonly federatable: boolean | null;
  readonly public: boolean | null;
  readonly join_rules: string | null;
  readonly guest_access: string | null;
  readonly history_visibility: string | null;
  readonly state_events: number | null;
  readonly avatar: string | null;
  readonly topic: string | null;
  readonly room_type: string | null;
}

/** Those of the rooms that the server knows. */
export async function roomsWithStats(h: ReadHandle, roomIds: readonly string[]): Promise<Map<string, RoomWithStats>> {
  const rows = await query<RoomWithStats>(
    h,
    `SELECT rooms.room_id, room_stats_state.name, room_stats_state.canonical_alias, room_stats_current.joined_members,
            room_stats_current.local_users_in_room AS joined_local_members, rooms.room_version AS version, rooms.creator,
            room_stats_state.encryption, room_stats_state.is_federatable AS federatable, rooms.is_public AS public, room_stats_state.join_rules,
            room_stats_state.guest_access, room_stats_state.history_visibility, room_stats_current.current_state_events AS state_events,
            room_stats_state.avatar, room_stats_state.topic, room_stats_state.room_type
       FROM rooms
       LEFT JOIN room_stats_state ON room_stats_state.room_id = rooms.room_id
       LEFT JOIN room_stats_current ON room_stats_current.room_id = rooms.room_id
      WHERE rooms.room_id = ANY($1)`,
    [roomIds],
  );
  return new Map(rows.map((row) => [row.room_id, row]));
}

/** Begins the counters of a new user, as of all state changes so far. */
export async function addUserCounters(txn: Txn, userId: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO user_stats_current (user_id, joined_rooms, completed_delta_stream_id)
     SELECT $1, 0, coalesce(max(stream_id), 1) FROM current_state_delta_stream ON CONFLICT (user_id) DO NOTHING`,
    [userId],
  );
}
