import { query, type ReadHandle } from "../database.ts";

/** How many rooms have how many forward extremities (`event_forward_extremities`). Reads the whole index. */
export async function roomsByExtremities(read: ReadHandle): Promise<(readonly [extremities: number, rooms: number])[]> {
  const rows = await query<{ extremities: number; rooms: number }>(
    read,
    `SELECT e.extremities, count(*) AS rooms
     FROM (SELECT count(*) AS extremities FROM event_forward_extremities AS f GROUP BY f.room_id) AS e
     GROUP BY e.extremities
     ORDER BY e.extremities`,
  );
  return rows.map((row) => [row.extremities, row.rooms]);
}
