import { stateKeyOf, type StateKey } from "../../protocol/event/event.ts";
import { query, type ReadHandle } from "../database.ts";

/** The current state of a room by `current_state_events`; empty for rooms that the server is not in. */
export async function readCurrentState(read: ReadHandle, roomId: string): Promise<[StateKey, string][]> {
  const rows = await query<{ type: string; state_key: string; event_id: string }>(
    read,
    `SELECT c.type, c.state_key, c.event_id FROM current_state_events AS c WHERE c.room_id = $1`,
    [roomId],
  );
  return rows.map((row) => [stateKeyOf(row.type, row.state_key), row.event_id]);
}

/** Current state events of many rooms for the given types with any state key, in one query: rows of room, key and event id. */
export async function readCurrentStateOfTypes(
  read: ReadHandle,
  roomIds: readonly string[],
  types: readonly string[],
): Promise<{ roomId: string; type: string; stateKey: string; eventId: string }[]> {
  if (roomIds.length === 0 || types.length === 0) return [];
  const rows = await query<{ room_id: string; type: string; state_key: string; event_id: string }>(
    read,
    `SELECT c.room_id, c.type, c.state_key, c.event_id FROM current_state_events AS c WHERE c.room_id = ANY($1) AND c.type = ANY($2)`,
    [roomIds, types],
  );
  return rows.map((row) => ({ roomId: row.room_id, type: row.type, stateKey: row.state_key, eventId: row.event_id }));
}

/** The current states of many rooms, in one query; rooms without any are absent. */
export async function readCurrentStates(read: ReadHandle, roomIds: readonly string[]): Promise<Map<string, [StateKey, string][]>> {
  const rows = await query<{ room_id: string; type: string; state_key: string; event_id: string }>(
    read,
    `SELECT c.room_id, c.type, c.state_key, c.event_id FROM current_state_events AS c WHERE c.room_id = ANY($1)`,
    [roomIds],
  );
  const byRoom = new Map<string, [StateKey, string][]>();
  for (const row of rows) {
    let list = byRoom.get(row.room_id);
    if (list === undefined) byRoom.set(row.room_id, (list = []));
    list.push([stateKeyOf(row.type, row.state_key), row.event_id]);
  }
  return byRoom;
}

export interface MemberCounts {
  readonly joined: number;
  readonly invited: number;
}

/** Number of members of each room by its current state; rooms without any are absent. */
export async function readMemberCounts(read: ReadHandle, roomIds: readonly string[]): Promise<Map<string, MemberCounts>> {
  const rows = await query<{ room_id: string } & MemberCounts>(
    read,
    `SELECT room_id, count(*) FILTER (WHERE membership = 'join') AS joined, count(*) FILTER (WHERE membership = 'invite') AS invited
     FROM current_state_events
     WHERE type = 'm.room.member' AND room_id = ANY($1) AND membership IN ('join', 'invite')
     GROUP BY room_id`,
    [roomIds],
  );
  return new Map(rows.map(({ room_id, joined, invited }) => [room_id, { joined, invited }]));
}
