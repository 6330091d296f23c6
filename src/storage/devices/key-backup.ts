import { JsonText } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** `e2e_room_keys` and `e2e_room_keys_versions`: backed-up room keys. Deleted versions keep their row, so that a number is never used twice. */
export interface BackupVersion {
  readonly version: number;
  readonly algorithm: string;
  readonly authData: JsonText;
  /** Counts the changes of the keys. */
  readonly etag: number;
}

interface VersionRow {
  version: number;
  algorithm: string;
  auth_data: string;
  etag: number | null;
}

const backupVersionOf = (row: VersionRow | undefined): BackupVersion | undefined =>
  row && { version: row.version, algorithm: row.algorithm, authData: new JsonText(row.auth_data), etag: row.etag ?? 0 };

/** A version of a user's backup, by default the current one; undefined when there is none. */
export async function backupVersion(read: ReadHandle, userId: string, version?: number): Promise<BackupVersion | undefined> {
  const row = await queryOne<VersionRow>(
    read,
    `SELECT version, algorithm, auth_data, etag FROM e2e_room_keys_versions
     WHERE user_id = $1 AND deleted = 0 AND ($2::bigint IS NULL OR version = $2) ORDER BY version DESC LIMIT 1`,
    [userId, version ?? null],
  );
  return backupVersionOf(row);
}

/** As `backupVersion` of one version, which nobody else can change until the transaction ends. To run under READ COMMITTED. */
export async function lockBackupVersion(txn: Txn, userId: string, version: number): Promise<BackupVersion | undefined> {
  const row = await queryOne<VersionRow>(
    txn,
    `SELECT version, algorithm, auth_data, etag FROM e2e_room_keys_versions WHERE user_id = $1 AND version = $2 AND deleted = 0 FOR UPDATE`,
    [userId, version],
  );
  return backupVersionOf(row);
}

/** Makes the next version and returns its number. Two at the same time clash: the caller tries again on a unique violation. */
export async function addBackupVersion(txn: Txn, userId: string, algorithm: string, authData: string): Promise<number> {
  const row = await queryOne<{ version: number }>(
    txn,
    `INSERT INTO e2e_room_keys_versions (user_id, version, algorithm, auth_data)
     SELECT $1, coalesce(max(version), 0) + 1, $2, $3 FROM e2e_room_keys_versions WHERE user_id = $1 RETURNING version`,
    [userId, algorithm, authData],
  );
  return row!.version;
}

export async function setBackupAuthData(txn: Txn, userId: string, version: number, authData: string): Promise<void> {
  await execute(txn, `UPDATE e2e_room_keys_versions SET auth_data = $3 WHERE user_id = $1 AND version = $2`, [userId, version, authData]);
}

export async function setBackupEtag(txn: Txn, userId: string, version: number, etag: number): Promise<void> {
  await execute(txn, `UPDATE e2e_room_keys_versions SET etag = $3 WHERE user_id = $1 AND version = $2`, [userId, version, etag]);
}

/** Deletes a version's keys and marks it as deleted. False when there is no such version. */
export async function deleteBackupVersion(txn: Txn, userId: string, version: number): Promise<boolean> {
  await execute(txn, `DELETE FROM e2e_room_keys WHERE user_id = $1 AND version = $2`, [userId, version]);
  return (await execute(txn, `UPDATE e2e_room_keys_versions SET deleted = 1 WHERE user_id = $1 AND version = $2`, [userId, version])) > 0;
}

/** Removes all backups of a user (deactivation). */
export async function purgeBackups(txn: Txn, userId: string): Promise<void> {
  await execute(txn, `DELETE FROM e2e_room_keys WHERE user_id = $1`, [userId]);
  await execute(txn, `DELETE FROM e2e_room_keys_versions WHERE user_id = $1`, [userId]);
}

export interface BackedUpKey {
  readonly roomId: string;
  readonly sessionId: string;
  readonly firstMessageIndex: number;
  readonly forwardedCount: number;
  readonly isVerified: boolean;
  /** JSON text. */
  readonly sessionData: string;
}

/**
 * Stores keys; one that is there already is replaced only by a better one: verified where the stored one is not, or with a lower first index,
 * or forwarded less often. Returns how many were added or replaced.
 */
export async function putBackedUpKeys(txn: Txn, userId: string, version: number, keys: readonly BackedUpKey[]): Promise<number> {
  return await execute(
    txn,
    `INSERT INTO e2e_room_keys AS stored (user_id, version, room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)
     SELECT $1, $2, new.* FROM unnest($3::text[], $4::text[], $5::int[], $6::int[], $7::boolean[], $8::text[]) AS new
     ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET
       first_message_index = EXCLUDED.first_message_index, forwarded_count = EXCLUDED.forwarded_count,
       is_verified = EXCLUDED.is_verified, session_data = EXCLUDED.session_data
     WHERE (EXCLUDED.is_verified AND NOT coalesce(stored.is_verified, false))
       OR EXCLUDED.first_message_index < stored.first_message_index OR EXCLUDED.forwarded_count < stored.forwarded_count`,
    [
      userId,
      version,
      keys.map((key) => key.roomId),
      keys.map((key) => key.sessionId),
      keys.map((key) => key.firstMessageIndex),
      keys.map((key) => key.forwardedCount),
      keys.map((key) => key.isVerified),
      keys.map((key) => key.sessionData),
    ],
  );
}

/** Keys of a version: all, those of a room, or that of one session. */
export async function backedUpKeys(read: ReadHandle, userId: string, version: number, roomId?: string, sessionId?: string): Promise<BackedUpKey[]> {
  return await query<BackedUpKey>(
    read,
    `SELECT room_id AS "roomId", session_id AS "sessionId", coalesce(first_message_index, 0) AS "firstMessageIndex",
       coalesce(forwarded_count, 0) AS "forwardedCount", coalesce(is_verified, false) AS "isVerified", session_data AS "sessionData"
     FROM e2e_room_keys
     WHERE user_id = $1 AND version = $2 AND ($3::text IS NULL OR room_id = $3) AND ($4::text IS NULL OR session_id = $4)`,
    [userId, version, roomId ?? null, sessionId ?? null],
  );
}

export async function deleteBackedUpKeys(txn: Txn, userId: string, version: number, roomId?: string, sessionId?: string): Promise<void> {
  await execute(
    txn,
    `DELETE FROM e2e_room_keys WHERE user_id = $1 AND version = $2 AND ($3::text IS NULL OR room_id = $3) AND ($4::text IS NULL OR session_id = $4)`,
    [userId, version, roomId ?? null, sessionId ?? null],
  );
}

export async function countBackedUpKeys(read: ReadHandle, userId: string, version: number): Promise<number> {
  const row = await queryOne<{ count: number }>(read, `SELECT count(*) AS count FROM e2e_room_keys WHERE user_id = $1 AND version = $2`, [userId, version]);
  return row!.count;
}
