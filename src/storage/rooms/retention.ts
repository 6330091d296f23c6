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
