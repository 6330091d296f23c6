import { query, type ReadHandle } from "../database.ts";

export interface StickyEvent {
  readonly streamId: number;
  readonly roomId: string;
  readonly eventId: string;
}

/** Sticky events (MSC4354) of the rooms at positions in (`since`, `upTo`] that are not over, in the order of their stream; none that was soft-failed. */
export async function stickyEventsInRooms(
  h: ReadHandle,
  roomIds: readonly string[],
  range: { readonly since: number; readonly upTo: number; readonly now: number },
  limit: number,
): Promise<StickyEvent[]> {
  return await query(
    h,
    `SELECT s.stream_id AS "streamId", s.room_id AS "roomId", s.event_id AS "eventId"
       FROM sticky_events AS s JOIN event_json AS j ON j.event_id = s.event_id
      WHERE s.room_id = ANY($1) AND s.stream_id > $2 AND s.stream_id <= $3 AND s.expires_at > $4
        AND NOT COALESCE((j.internal_metadata::jsonb ->> 'soft_failed')::boolean, FALSE)
      ORDER BY s.stream_id LIMIT $5`,
    [roomIds, range.since, range.upTo, range.now, limit],
  );
}
