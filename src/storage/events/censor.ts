import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** Replaces the stored JSON of events by their pruned form, for good; what was planned to expire them is done. */
export async function pruneStoredEvents(txn: Txn, pruned: ReadonlyMap<string, string>): Promise<void> {
  const ids = [...pruned.keys()];
  await execute(
    txn,
    "UPDATE event_json SET json = pruned.json FROM unnest($1::text[], $2::text[]) AS pruned (event_id, json) WHERE event_json.event_id = pruned.event_id",
    [ids, [...pruned.values()]],
  );
  await execute(txn, "DELETE FROM event_expiry WHERE event_id = ANY($1::text[])", [ids]);
}

/** The membership events of a user in a room, whatever became of them. */
export async function membershipEventIds(h: ReadHandle, userId: string, roomId: string): Promise<string[]> {
  const rows = await query<{ id: string }>(h, "SELECT event_id AS id FROM room_memberships WHERE user_id = $1 AND room_id = $2", [userId, roomId]);
  return rows.map(({ id }) => id);
}
