import { JsonText } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import { type Tags, tagsByRoom } from "./tags.ts";

/**
 * `account_data`, `room_account_data`, `ignored_users`. Contents are JSON text and are handed on as it is. `instance_name` stays
 * NULL, as Synapse leaves it.
 */
export interface AccountDataEntry {
  readonly type: string;
  readonly content: JsonText;
}

export interface RoomAccountDataEntry extends AccountDataEntry {
  readonly roomId: string;
}

interface Row {
  account_data_type: string;
  content: string;
}
interface RoomRow extends Row {
  room_id: string;
}

const entry = (row: Row): AccountDataEntry => ({ type: row.account_data_type, content: new JsonText(row.content) });
const roomEntry = (row: RoomRow): RoomAccountDataEntry => ({ ...entry(row), roomId: row.room_id });

/** All global account data of a user. `withoutDeleted` leaves out what was deleted by MSC3391 (content `{}`). */
export async function globalAccountData(read: ReadHandle, userId: string, withoutDeleted: boolean): Promise<AccountDataEntry[]> {
  const rows = await query<Row>(read, `SELECT account_data_type, content FROM account_data WHERE user_id = $1 AND NOT ($2 AND content = '{}')`, [
    userId,
    withoutDeleted,
  ]);
  return rows.map(entry);
}

/** The JSON text of one type of global account data; undefined when there is none. */
export async function globalAccountDataOfType(read: ReadHandle, userId: string, type: string): Promise<string | undefined> {
  const row = await queryOne<Row>(read, `SELECT account_data_type, content FROM account_data WHERE user_id = $1 AND account_data_type = $2`, [userId, type]);
  return row?.content;
}

/** The JSON text of one type of global account data of several users, by user id. */
export async function globalAccountDataOfUsers(read: ReadHandle, userIds: readonly string[], type: string): Promise<Map<string, string>> {
  const rows = await query<{ user_id: string; content: string }>(
    read,
    `SELECT user_id, content FROM account_data WHERE user_id = ANY($1::text[]) AND account_data_type = $2`,
    [userIds, type],
  );
  return new Map(rows.map((row) => [row.user_id, row.content]));
}

/** Global account data of a user written at positions in (`after`, `upTo`]. */
export async function globalAccountDataBetween(read: ReadHandle, userId: string, after: number, upTo: number): Promise<AccountDataEntry[]> {
  const rows = await query<Row>(
    read,
    `SELECT account_data_type, content FROM account_data WHERE user_id = $1 AND stream_id > $2 AND stream_id <= $3 ORDER BY stream_id`,
    [userId, after, upTo],
  );
  return rows.map(entry);
}

/** Room account data of a user in `roomIds` (all rooms when undefined). */
export async function roomAccountData(
  read: ReadHandle,
  userId: string,
  roomIds: readonly string[] | undefined,
  withoutDeleted: boolean,
): Promise<RoomAccountDataEntry[]> {
  const rows = await query<RoomRow>(
    read,
    `SELECT room_id, account_data_type, content FROM room_account_data
     WHERE user_id = $1 AND ($2::text[] IS NULL OR room_id = ANY($2)) AND NOT ($3 AND content = '{}')`,
    [userId, roomIds ?? null, withoutDeleted],
  );
  return rows.map(roomEntry);
}

/** Room account data of a user written at positions in (`after`, `upTo`], in `roomIds` (all rooms when undefined). */
export async function roomAccountDataBetween(
  read: ReadHandle,
  userId: string,
  after: number,
  upTo: number,
  roomIds: readonly string[] | undefined,
): Promise<RoomAccountDataEntry[]> {
  const rows = await query<RoomRow>(
    read,
    `SELECT room_id, account_data_type, content FROM room_account_data
     WHERE user_id = $1 AND stream_id > $2 AND stream_id <= $3 AND ($4::text[] IS NULL OR room_id = ANY($4)) ORDER BY stream_id`,
    [userId, after, upTo, roomIds ?? null],
  );
  return rows.map(roomEntry);
}

export interface WholeAccountData {
  readonly global: AccountDataEntry[];
  readonly rooms: RoomAccountDataEntry[];
  /** Of the rooms that have tags. */
  readonly tags: Map<string, Tags>;
}

/** What a user has in these rooms, tags with it, and globally where asked for: in one statement. `withoutDeleted` as above. */
export async function wholeAccountData(
  read: ReadHandle,
  userId: string,
  wanted: { readonly global: boolean; readonly roomIds: readonly string[] },
  withoutDeleted: boolean,
): Promise<WholeAccountData> {
  const rows = await query<RoomRow & { kind: "global" | "room" | "tag" }>(
    read,
    `SELECT 'global' AS kind, NULL AS room_id, account_data_type, content FROM account_data WHERE $2 AND user_id = $1 AND NOT ($4 AND content = '{}')
     UNION ALL
     SELECT 'room', room_id, account_data_type, content FROM room_account_data WHERE user_id = $1 AND room_id = ANY($3) AND NOT ($4 AND content = '{}')
     UNION ALL
     SELECT 'tag', room_id, tag, content FROM room_tags WHERE user_id = $1 AND room_id = ANY($3)`,
    [userId, wanted.global, wanted.roomIds, withoutDeleted],
  );
  const of = (kind: string): RoomRow[] => rows.filter((row) => row.kind === kind);
  const tags = tagsByRoom(of("tag").map(({ room_id, account_data_type, content }) => ({ room_id, tag: account_data_type, content })));
  return { global: of("global").map(entry), rooms: of("room").map(roomEntry), tags };
}

/** The JSON text of one type of account data of a user in a room; undefined when there is none. */
export async function roomAccountDataOfType(read: ReadHandle, userId: string, roomId: string, type: string): Promise<string | undefined> {
  const row = await queryOne<{ content: string }>(
    read,
    `SELECT content FROM room_account_data WHERE user_id = $1 AND room_id = $2 AND account_data_type = $3`,
    [userId, roomId, type],
  );
  return row?.content;
}

export async function putGlobalAccountData(txn: Txn, userId: string, type: string, content: string, streamId: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO account_data (user_id, account_data_type, stream_id, content) VALUES ($1, $2, $3, $4)
     ON CONFLICT (user_id, account_data_type) DO UPDATE SET stream_id = EXCLUDED.stream_id, content = EXCLUDED.content`,
    [userId, type, streamId, content],
  );
}

export async function putRoomAccountData(txn: Txn, userId: string, roomId: string, type: string, content: string, streamId: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO room_account_data (user_id, room_id, account_data_type, stream_id, content) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (user_id, room_id, account_data_type) DO UPDATE SET stream_id = EXCLUDED.stream_id, content = EXCLUDED.content`,
    [userId, roomId, type, streamId, content],
  );
}

/** Empties an entry (MSC3391: the row stays, with content `{}`). False when there was nothing to delete. */
export async function emptyGlobalAccountData(txn: Txn, userId: string, type: string, streamId: number): Promise<boolean> {
  const touched = await execute(
    txn,
    `UPDATE account_data SET stream_id = $3, content = '{}' WHERE user_id = $1 AND account_data_type = $2 AND content <> '{}'`,
    [userId, type, streamId],
  );
  return touched > 0;
}

/** As `emptyGlobalAccountData` of several types, each with its stream id; returns those that had content. */
export async function emptyGlobalAccountDataOf(txn: Txn, userId: string, types: readonly string[], streamIds: readonly number[]): Promise<string[]> {
  const rows = await query<{ account_data_type: string }>(
    txn,
    `UPDATE account_data AS a SET stream_id = t.stream_id, content = '{}' FROM unnest($2::text[], $3::bigint[]) AS t (type, stream_id)
     WHERE a.user_id = $1 AND a.account_data_type = t.type AND a.content <> '{}' RETURNING a.account_data_type`,
    [userId, types, streamIds],
  );
  return rows.map((row) => row.account_data_type);
}

/** As `emptyGlobalAccountData`, in a room. */
export async function emptyRoomAccountData(txn: Txn, userId: string, roomId: string, type: string, streamId: number): Promise<boolean> {
  const touched = await execute(
    txn,
    `UPDATE room_account_data SET stream_id = $4, content = '{}'
     WHERE user_id = $1 AND room_id = $2 AND account_data_type = $3 AND content <> '{}'`,
    [userId, roomId, type, streamId],
  );
  return touched > 0;
}

/** Makes `ignored_users` of a user equal to `ignored`; returns the ids that were added or removed. */
export async function replaceIgnoredUsers(txn: Txn, userId: string, ignored: readonly string[]): Promise<string[]> {
  const removed = query<{ ignored_user_id: string }>(
    txn,
    `DELETE FROM ignored_users WHERE ignorer_user_id = $1 AND NOT (ignored_user_id = ANY($2::text[])) RETURNING ignored_user_id`,
    [userId, ignored],
  );
  const added = query<{ ignored_user_id: string }>(
    txn,
    `INSERT INTO ignored_users (ignorer_user_id, ignored_user_id) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING RETURNING ignored_user_id`,
    [userId, ignored],
  );
  return [...(await removed), ...(await added)].map((row) => row.ignored_user_id);
}

/** Whom each of `userIds` ignores; every user has an entry. */
export async function ignoredUsers(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, Set<string>>> {
  const rows = await query<{ ignorer_user_id: string; ignored_user_id: string }>(
    read,
    `SELECT ignorer_user_id, ignored_user_id FROM ignored_users WHERE ignorer_user_id = ANY($1::text[])`,
    [userIds],
  );
  const result = new Map(userIds.map((userId) => [userId, new Set<string>()]));
  for (const row of rows) result.get(row.ignorer_user_id)!.add(row.ignored_user_id);
  return result;
}

/** Who ignores each of `userIds`; every user has an entry. */
export async function ignorersOf(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, Set<string>>> {
  const rows = await query<{ ignorer_user_id: string; ignored_user_id: string }>(
    read,
    `SELECT ignorer_user_id, ignored_user_id FROM ignored_users WHERE ignored_user_id = ANY($1::text[])`,
    [userIds],
  );
  const result = new Map(userIds.map((userId) => [userId, new Set<string>()]));
  for (const row of rows) result.get(row.ignored_user_id)!.add(row.ignorer_user_id);
  return result;
}

/** Removes all account data of a user (deactivation); tags stay, as in Synapse. */
export async function purgeAccountData(txn: Txn, userId: string): Promise<void> {
  await execute(txn, `DELETE FROM account_data WHERE user_id = $1`, [userId]);
  await execute(txn, `DELETE FROM room_account_data WHERE user_id = $1`, [userId]);
  await execute(txn, `DELETE FROM ignored_users WHERE ignorer_user_id = $1`, [userId]);
}
