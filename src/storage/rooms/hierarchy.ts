import { query, type ReadHandle } from "../database.ts";

/** Of these rooms, those with a joined member of this server. */
export async function roomsWeAreIn(h: ReadHandle, roomIds: readonly string[]): Promise<Set<string>> {
  if (roomIds.length === 0) return new Set();
  const rows = await query<{ room_id: string }>(
    h,
    `SELECT given.room_id FROM unnest($1::text[]) AS given (room_id)
      WHERE EXISTS (SELECT FROM local_current_membership AS own WHERE own.room_id = given.room_id AND own.membership = 'join')`,
    [roomIds],
  );
  return new Set(rows.map((row) => row.room_id));
}

export interface SummaryStateRow {
  readonly room_id: string;
  readonly type: string;
  readonly state_key: string;
  readonly event_id: string;
}

/** What decides who may see a room in a hierarchy, the user's own membership, and, with `children`, the children of spaces. */
export async function summaryState(h: ReadHandle, roomIds: readonly string[], userId: string | undefined, children: boolean): Promise<SummaryStateRow[]> {
  if (roomIds.length === 0) return [];
  return await query<SummaryStateRow>(
    h,
    `SELECT current_state_events.room_id, current_state_events.type, current_state_events.state_key, current_state_events.event_id
       FROM current_state_events
      WHERE current_state_events.room_id = ANY($1)
        AND ((current_state_events.type IN ('m.room.join_rules', 'm.room.history_visibility') AND current_state_events.state_key = '')
          OR (current_state_events.type = 'm.room.member' AND current_state_events.state_key = $2)
          OR ($3 AND current_state_events.type = 'm.space.child'))`,
    [roomIds, userId ?? null, children],
  );
}

/** Of these rooms, those in whose current state a user of `server` is joined or invited. */
export async function roomsOfServer(h: ReadHandle, roomIds: readonly string[], server: string, memberships: readonly string[]): Promise<Set<string>> {
  if (roomIds.length === 0) return new Set();
  const rows = await query<{ room_id: string }>(
    h,
    `SELECT DISTINCT member.room_id FROM current_state_events AS member
      WHERE member.room_id = ANY($1) AND member.type = 'm.room.member' AND member.membership = ANY($3)
        AND substr(member.state_key, strpos(member.state_key, ':') + 1) = $2`,
    [roomIds, server, memberships],
  );
  return new Set(rows.map((row) => row.room_id));
}
