import { splitStateKey, type StateKey } from "../../protocol/event/event.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * How far the compression of state groups has come: in the tables of `synapse_auto_compressor`, which no homeserver reads, so that either
 * program goes on where the other stopped.
 */
export async function makeCompressorTables(txn: Txn): Promise<void> {
  await execute(
    txn,
    `CREATE TABLE IF NOT EXISTS state_compressor_state (
       room_id text NOT NULL, level_num int NOT NULL, max_size int NOT NULL, current_length int NOT NULL, current_head bigint,
       UNIQUE (room_id, level_num))`,
  );
  await execute(txn, "CREATE TABLE IF NOT EXISTS state_compressor_progress (room_id text PRIMARY KEY, last_compressed bigint NOT NULL)");
  await execute(
    txn,
    `CREATE TABLE IF NOT EXISTS state_compressor_total_progress (
       lock char(1) NOT NULL DEFAULT 'X' UNIQUE CHECK (lock = 'X'), lowest_uncompressed_group bigint NOT NULL)`,
  );
  await execute(txn, "INSERT INTO state_compressor_total_progress (lowest_uncompressed_group) VALUES (0) ON CONFLICT (lock) DO NOTHING");
}

/** False on a database that is not one of a homeserver. */
export async function hasStateGroups(h: ReadHandle): Promise<boolean> {
  return (await queryOne<{ there: boolean }>(h, "SELECT to_regclass('state_groups_state') IS NOT NULL AS there"))!.there;
}

export async function hasCompressorTables(h: ReadHandle): Promise<boolean> {
  const row = await queryOne<{ there: boolean }>(
    h,
    `SELECT to_regclass('state_compressor_state') IS NOT NULL AND to_regclass('state_compressor_progress') IS NOT NULL
            AND to_regclass('state_compressor_total_progress') IS NOT NULL AS there`,
  );
  return row!.there;
}

/** Where a run begins: the lowest group that may be left to do, and the last one done in each room. */
export interface CompressorProgress {
  readonly lowest: number;
  readonly lastInRoom: ReadonlyMap<string, number>;
}

export async function compressorProgress(h: ReadHandle): Promise<CompressorProgress> {
  const [total, rooms] = await Promise.all([
    queryOne<{ lowest: number }>(h, "SELECT lowest_uncompressed_group AS lowest FROM state_compressor_total_progress"),
    query<{ room_id: string; last_compressed: number }>(h, "SELECT room_id, last_compressed FROM state_compressor_progress"),
  ]);
  return { lowest: total?.lowest ?? 0, lastInRoom: new Map(rooms.map((row) => [row.room_id, row.last_compressed])) };
}

/** The lowest group from `lowest` on that is not done: of rooms with an entry, only groups after it count. */
export async function nextGroupToCompress(h: ReadHandle, { lowest, lastInRoom }: CompressorProgress): Promise<{ group: number; roomId: string } | undefined> {
  const row = await queryOne<{ id: number; room_id: string }>(
    h,
    `SELECT g.id, g.room_id FROM state_groups AS g LEFT JOIN unnest($2::text[], $3::bigint[]) AS done (room_id, last) ON done.room_id = g.room_id
     WHERE g.id >= $1 AND g.id > COALESCE(done.last, -1) ORDER BY g.id LIMIT 1`,
    [lowest, [...lastInRoom.keys()], [...lastInRoom.values()]],
  );
  return row === undefined ? undefined : { group: row.id, roomId: row.room_id };
}

export interface StoredLevel {
  readonly maxLength: number;
  readonly length: number;
  readonly head: number | undefined;
}

/** The levels of a room, lowest first; empty when none are stored. Heads that are gone are left out. */
export async function compressorLevels(h: ReadHandle, roomId: string): Promise<StoredLevel[]> {
  const rows = await query<{ max_size: number; current_length: number; head: number | null }>(
    h,
    `SELECT s.max_size, s.current_length, g.id AS head
     FROM state_compressor_state AS s LEFT JOIN state_groups AS g ON g.id = s.current_head AND g.room_id = s.room_id
     WHERE s.room_id = $1 ORDER BY s.level_num`,
    [roomId],
  );
  return rows.map((row) => ({ maxLength: row.max_size, length: row.head === null ? 0 : row.current_length, head: row.head ?? undefined }));
}

export async function saveCompressorRoom(txn: Txn, roomId: string, levels: readonly StoredLevel[], last: number): Promise<void> {
  await execute(txn, "DELETE FROM state_compressor_state WHERE room_id = $1", [roomId]);
  await execute(
    txn,
    `INSERT INTO state_compressor_state (room_id, level_num, max_size, current_length, current_head)
     SELECT $1, l.number, l.max_size, l.length, l.head FROM unnest($2::int[], $3::int[], $4::bigint[]) WITH ORDINALITY AS l (max_size, length, head, number)`,
    [roomId, levels.map(({ maxLength }) => maxLength), levels.map(({ length }) => length), levels.map(({ head }) => head ?? null)],
  );
  await execute(
    txn,
    `INSERT INTO state_compressor_progress (room_id, last_compressed) VALUES ($1, $2)
     ON CONFLICT (room_id) DO UPDATE SET last_compressed = EXCLUDED.last_compressed`,
    [roomId, last],
  );
}

export async function saveLowestUncompressed(txn: Txn, group: number): Promise<void> {
  await execute(txn, "UPDATE state_compressor_total_progress SET lowest_uncompressed_group = $1", [group]);
}

/** The next groups of a room after `after`, ascending, but for those that are to be deleted. `last`: where the following chunk begins. */
export async function groupsToCompress(h: ReadHandle, roomId: string, after: number, count: number): Promise<{ groups: number[]; last: number | undefined }> {
  const rows = await query<{ id: number; leaving: boolean }>(
    h,
    `SELECT g.id, EXISTS (SELECT FROM state_groups_pending_deletion AS d WHERE d.state_group = g.id) AS leaving
     FROM state_groups AS g WHERE g.room_id = $1 AND g.id > $2 ORDER BY g.id LIMIT $3`,
    [roomId, after, count],
  );
  return { groups: rows.filter(({ leaving }) => !leaving).map(({ id }) => id), last: rows.at(-1)?.id };
}

/** Of these groups, those that are to be deleted: nothing may be built on them. */
export async function leavingGroups(h: ReadHandle, groups: readonly number[]): Promise<Set<number>> {
  const rows = await query<{ id: number }>(h, "SELECT state_group AS id FROM state_groups_pending_deletion WHERE state_group = ANY($1::bigint[])", [groups]);
  return new Set(rows.map(({ id }) => id));
}

export interface GroupLayout {
  readonly group: number;
  readonly base: number | undefined;
  readonly entries: readonly (readonly [StateKey, string])[];
}

/**
 * Stores groups of a room in another way. The update that changes nothing makes whoever deletes one of these groups, or of those they now
 * build on, with an older view of the database fail and begin anew.
 */
export async function rewriteGroups(txn: Txn, roomId: string, layouts: readonly GroupLayout[]): Promise<void> {
  const groups = layouts.map(({ group }) => group);
  const bases = layouts.flatMap(({ base }) => (base === undefined ? [] : [base]));
  const touched = [...new Set([...groups, ...bases])];
  await query(txn, "SELECT id FROM state_groups WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE", [touched]);
  const held = await execute(txn, "UPDATE state_groups SET event_id = event_id WHERE id = ANY($1::bigint[])", [touched]);
  if (held !== touched.length) throw new Error(`State groups of ${roomId} were deleted meanwhile`);
  await execute(txn, "DELETE FROM state_group_edges WHERE state_group = ANY($1::bigint[])", [groups]);
  await execute(txn, "DELETE FROM state_groups_state WHERE state_group = ANY($1::bigint[])", [groups]);
  const onOthers = layouts.filter(({ base }) => base !== undefined);
  await execute(txn, "INSERT INTO state_group_edges (state_group, prev_state_group) SELECT * FROM unnest($1::bigint[], $2::bigint[])", [
    onOthers.map(({ group }) => group),
    onOthers.map(({ base }) => base),
  ]);
  const rows = layouts.flatMap(({ group, entries }) => entries.map(([key, eventId]) => [group, ...splitStateKey(key), eventId] as const));
  for (let start = 0; start < rows.length; start += 20_000) {
    const part = rows.slice(start, start + 20_000);
    await execute(
      txn,
      `INSERT INTO state_groups_state (state_group, room_id, type, state_key, event_id)
       SELECT s.state_group, $1, s.type, s.state_key, s.event_id FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS s (state_group, type, state_key, event_id)`,
      [roomId, part.map((row) => row[0]), part.map((row) => row[1]), part.map((row) => row[2]), part.map((row) => row[3])],
    );
  }
}
