import { query, type ReadHandle } from "../database.ts";

/** Events of these rooms with stream positions in (`after`, `upTo`], oldest first; no outliers, no rejected ones. */
export async function eventsOfRoomsBetween(
  h: ReadHandle,
  roomIds: readonly string[],
  after: number,
  upTo: number,
  limit: number,
): Promise<{ event_id: string; stream_ordering: number }[]> {
  if (roomIds.length === 0 || after >= upTo) return [];
  return await query(
    h,
    `SELECT events.event_id, events.stream_ordering FROM events
      WHERE events.room_id = ANY($1) AND events.stream_ordering > $2 AND events.stream_ordering <= $3
        AND NOT events.outlier AND events.rejection_reason IS NULL
      ORDER BY events.stream_ordering LIMIT $4`,
    [roomIds, after, upTo, limit],
  );
}
