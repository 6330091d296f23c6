import { query, type ReadHandle } from "../database.ts";

/** Stored events that follow each of these, by the id that they follow. */
export async function eventsFollowing(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, string[]>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{ prev_event_id: string; ids: string[] }>(
    read,
    `SELECT g.prev_event_id, array_agg(g.event_id) AS ids FROM event_edges AS g
     WHERE g.prev_event_id = ANY($1) AND g.is_state IS FALSE GROUP BY g.prev_event_id`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.prev_event_id, row.ids]));
}
