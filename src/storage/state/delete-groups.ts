import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** Deletes all state groups of a room; nothing refers to them any more. */
export async function deleteStateGroupsOfRoom(txn: Txn, roomId: string): Promise<void> {
  await execute(txn, "SET LOCAL statement_timeout TO 0");
  const groups = "SELECT id FROM state_groups WHERE room_id = $1";
  await execute(txn, `DELETE FROM state_groups_pending_deletion WHERE state_group IN (${groups})`, [roomId]);
  await execute(txn, `DELETE FROM state_group_edges WHERE state_group IN (${groups})`, [roomId]);
  await execute(txn, `DELETE FROM state_groups_state WHERE state_group IN (${groups})`, [roomId]);
  await execute(txn, "DELETE FROM state_groups WHERE room_id = $1", [roomId]);
}

/** Of these groups, those that events have. */
export async function referencedGroups(h: ReadHandle, groups: readonly number[]): Promise<Set<number>> {
  const rows = await query<{ id: number }>(
    h,
    "SELECT given.id FROM unnest($1::bigint[]) AS given (id) WHERE EXISTS (SELECT FROM event_to_state_groups AS e WHERE e.state_group = given.id)",
    [groups],
  );
  return new Set(rows.map((row) => row.id));
}

/** Groups that these build on, and groups that build on them. */
export async function neighbourGroups(h: ReadHandle, groups: readonly number[]): Promise<number[]> {
  const rows = await query<{ id: number }>(
    h,
    `SELECT prev_state_group AS id FROM state_group_edges WHERE state_group = ANY($1::bigint[])
     UNION SELECT state_group FROM state_group_edges WHERE prev_state_group = ANY($1::bigint[])`,
    [groups],
  );
  return rows.map((row) => row.id);
}

/** Notes groups for deletion, which comes when they are still not in use some time later. `now` in milliseconds. */
export async function markGroupsForDeletion(txn: Txn, groups: readonly number[], now: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO state_groups_pending_deletion (state_group, insertion_ts) SELECT state_group, $2 FROM unnest($1::bigint[]) AS given (state_group)
     ON CONFLICT (state_group) DO NOTHING`,
    [groups, now],
  );
}

/** The groups of one room that were noted at one time before `before` and are not being written just now; undefined when there are none. */
export async function nextGroupsToDelete(h: ReadHandle, before: number): Promise<{ roomId: string; groups: Map<number, number> } | undefined> {
  const rows = await query<{ room_id: string; id: number; sequence_number: number }>(
    h,
    `WITH waiting AS (
       SELECT g.room_id, g.id, d.insertion_ts, d.sequence_number FROM state_groups_pending_deletion AS d
       JOIN state_groups AS g ON g.id = d.state_group
       WHERE d.insertion_ts < $1 AND NOT EXISTS (SELECT FROM state_groups_persisting AS p WHERE p.state_group = d.state_group)
     ), first AS (SELECT room_id, insertion_ts FROM waiting ORDER BY insertion_ts LIMIT 1)
     SELECT waiting.room_id, waiting.id, waiting.sequence_number FROM waiting JOIN first ON first.room_id = waiting.room_id AND first.insertion_ts = waiting.insertion_ts`,
    [before],
  );
  const [first] = rows;
  return first === undefined ? undefined : { roomId: first.room_id, groups: new Map(rows.map((row) => [row.id, row.sequence_number])) };
}

/** These groups are in use after all. */
export async function unmarkGroups(txn: Txn, groups: readonly number[]): Promise<void> {
  await execute(txn, "DELETE FROM state_groups_pending_deletion WHERE state_group = ANY($1::bigint[])", [groups]);
}

/**
 * Deletes groups that were noted for deletion (with the sequence numbers of then) before `before`, but for those that have come into use or
 * bear such. Groups that stay and built on a deleted one get their full state. Returns those deleted.
 */
export async function deleteMarkedGroups(txn: Txn, groups: ReadonlyMap<number, number>, before: number): Promise<number[]> {
  const ids = [...groups.keys()];
  await execute(txn, "SET LOCAL statement_timeout TO 0");
  await query(txn, "SELECT id FROM state_groups WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", [ids]);
  const rows = await query<{ id: number }>(
    txn,
    `WITH RECURSIVE given AS (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS g (id, sequence_number)),
     blocked AS (
       SELECT id FROM given
       WHERE EXISTS (SELECT FROM state_groups_persisting AS p WHERE p.state_group = given.id)
          OR EXISTS (SELECT FROM event_to_state_groups AS e WHERE e.state_group = given.id)
          OR EXISTS (SELECT FROM state_groups_pending_deletion AS d WHERE d.state_group = given.id
                      AND (d.sequence_number <> given.sequence_number OR d.insertion_ts >= $3))
       UNION
       SELECT edge.prev_state_group FROM state_group_edges AS edge JOIN blocked ON blocked.id = edge.state_group
     )
     SELECT given.id FROM given JOIN state_groups_pending_deletion AS d ON d.state_group = given.id
      WHERE given.id NOT IN (SELECT id FROM blocked)`,
    [ids, [...groups.values()], before],
  );
  const gone = rows.map((row) => row.id);
  if (gone.length === 0) return [];
  const staying = (
    await query<{ id: number }>(
      txn,
      "SELECT DISTINCT state_group AS id FROM state_group_edges WHERE prev_state_group = ANY($1::bigint[]) AND NOT state_group = ANY($1::bigint[])",
      [gone],
    )
  ).map((row) => row.id);
  if (staying.length > 0) await writeInFull(txn, staying);
  await execute(txn, "DELETE FROM state_groups_state WHERE state_group = ANY($1::bigint[])", [gone]);
  await execute(txn, "DELETE FROM state_group_edges WHERE state_group = ANY($1::bigint[])", [gone]);
  await execute(txn, "DELETE FROM state_groups WHERE id = ANY($1::bigint[])", [gone]);
  await execute(txn, "DELETE FROM state_groups_pending_deletion WHERE state_group = ANY($1::bigint[])", [gone]);
  return gone;
}

/** Makes deltas into full groups: what they take from the groups below becomes their own. */
async function writeInFull(txn: Txn, groups: readonly number[]): Promise<void> {
  await execute(
    txn,
    `WITH RECURSIVE chain AS (
       SELECT given.id AS start, given.id AS at, 0 AS hops FROM unnest($1::bigint[]) AS given (id)
       UNION ALL
       SELECT chain.start, edge.prev_state_group, chain.hops + 1 FROM chain JOIN state_group_edges AS edge ON edge.state_group = chain.at
     ), nearest AS (
       SELECT DISTINCT ON (chain.start, s.type, s.state_key) chain.start, chain.hops, s.room_id, s.type, s.state_key, s.event_id
       FROM chain JOIN state_groups_state AS s ON s.state_group = chain.at
       ORDER BY chain.start, s.type, s.state_key, chain.hops
     )
     INSERT INTO state_groups_state (state_group, room_id, type, state_key, event_id)
     SELECT start, room_id, type, state_key, event_id FROM nearest WHERE hops > 0`,
    [groups],
  );
  await execute(txn, "DELETE FROM state_group_edges WHERE state_group = ANY($1::bigint[])", [groups]);
}
