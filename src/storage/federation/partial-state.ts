import { query, type ReadHandle } from "../database.ts";

/** Rooms whose state is not wholly known yet, with the servers that were in them when this one joined. */
export async function serversOfPartialRooms(read: ReadHandle): Promise<Map<string, string[]>> {
  const rows = await query<{ room_id: string; servers: string[] }>(
    read,
    `SELECT p.room_id, array_remove(array_agg(s.server_name), NULL) AS servers
     FROM partial_state_rooms AS p LEFT JOIN partial_state_rooms_servers AS s ON s.room_id = p.room_id
     GROUP BY p.room_id`,
  );
  return new Map(rows.map((row) => [row.room_id, row.servers]));
}
