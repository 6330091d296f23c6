import { query, type ReadHandle } from "../database.ts";

/** The membership that each of these member events says. */
export async function readMemberships(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, string>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{ event_id: string; membership: string }>(
    read,
    `SELECT m.event_id, m.membership FROM room_memberships AS m WHERE m.event_id = ANY($1)`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, row.membership]));
}
