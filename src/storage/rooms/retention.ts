import { query, type ReadHandle } from "../database.ts";

/** How long a room's messages are kept, by its current `m.room.retention` event; milliseconds. */
export interface RetentionPolicy {
  readonly minLifetime: number | undefined;
  readonly maxLifetime: number | undefined;
}

/** Policies of those rooms that have one. */
export async function retentionOfRooms(h: ReadHandle, roomIds: readonly string[]): Promise<Map<string, RetentionPolicy>> {
  const rows = await query<{ room_id: string; min_lifetime: number | null; max_lifetime: number | null }>(
    h,
    `SELECT room_retention.room_id, room_retention.min_lifetime, room_retention.max_lifetime
       FROM room_retention
       JOIN current_state_events ON current_state_events.event_id = room_retention.event_id AND current_state_events.room_id = room_retention.room_id
      WHERE room_retention.room_id = ANY($1)`,
    [roomIds],
  );
  return new Map(rows.map((row) => [row.room_id, { minLifetime: row.min_lifetime ?? undefined, maxLifetime: row.max_lifetime ?? undefined }]));
}

export interface RetentionRange {
  /** Exclusive. */
  readonly shortest: number | undefined;
  /** Inclusive. */
  readonly longest: number | undefined;
  /** Rooms without a longest lifetime of their own, too. */
  readonly withoutPolicy: boolean;
}

/** Rooms whose messages are kept for a time in that range, with it (milliseconds; undefined: the room says nothing). */
export async function roomsKeptFor(h: ReadHandle, range: RetentionRange): Promise<Map<string, number | undefined>> {
  const rows = await query<{ room_id: string; max_lifetime: number | null }>(
    h,
    `SELECT policy.room_id, policy.max_lifetime
       FROM (SELECT rooms.room_id, room_retention.max_lifetime
               FROM (SELECT DISTINCT current_state_events.room_id FROM current_state_events) AS rooms
               LEFT JOIN current_state_events AS current
                 ON current.room_id = rooms.room_id AND current.type = 'm.room.retention' AND current.state_key = ''
               LEFT JOIN room_retention ON room_retention.room_id = current.room_id AND room_retention.event_id = current.event_id) AS policy
      WHERE (policy.max_lifetime IS NULL AND $3)
         OR (policy.max_lifetime IS NOT NULL AND ($1::bigint IS NULL OR policy.max_lifetime > $1) AND ($2::bigint IS NULL OR policy.max_lifetime <= $2))`,
    [range.shortest ?? null, range.longest ?? null, range.withoutPolicy],
  );
  return new Map(rows.map((row) => [row.room_id, row.max_lifetime ?? undefined]));
}
