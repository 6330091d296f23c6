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

/** Events whose time is over (`event_expiry`), the first ones first. */
export async function expiredEvents(h: ReadHandle, now: number, limit: number): Promise<string[]> {
  const rows = await query<{ id: string }>(h, "SELECT event_id AS id FROM event_expiry WHERE expiry_ts <= $1 ORDER BY expiry_ts LIMIT $2", [now, limit]);
  return rows.map(({ id }) => id);
}

/** Of events that are gone nothing is left to expire. */
export async function deleteExpiries(txn: Txn, eventIds: readonly string[]): Promise<void> {
  await execute(txn, "DELETE FROM event_expiry WHERE event_id = ANY($1::text[])", [eventIds]);
}

/** Redactions that came in before a time and are not carried out in the database, the first ones first. */
export async function redactionsToCarryOut(h: ReadHandle, before: number, limit: number): Promise<{ id: string; redacts: string }[]> {
  return await query(
    h,
    `SELECT redactions.event_id AS id, redactions.redacts FROM redactions
      WHERE NOT redactions.have_censored AND redactions.received_ts <= $1
      ORDER BY redactions.received_ts LIMIT $2`,
    [before, limit],
  );
}

export async function markCarriedOut(txn: Txn, redactionIds: readonly string[]): Promise<void> {
  await execute(txn, "UPDATE redactions SET have_censored = TRUE WHERE event_id = ANY($1::text[])", [redactionIds]);
}
