import { isJsonObject, type Json, type JsonObject, JsonText, stringifyAscii } from "../../lib/json.ts";
import { badJson, invalidParam, MatrixError, missingParam, notFound } from "../../protocol/errors.ts";
import { isUniqueViolation } from "../../storage/database.ts";
import {
  addBackupVersion,
  type BackedUpKey,
  backedUpKeys,
  backupVersion,
  type BackupVersion,
  countBackedUpKeys,
  deleteBackedUpKeys,
  deleteBackupVersion,
  lockBackupVersion,
  putBackedUpKeys,
  setBackupAuthData,
  setBackupEtag,
} from "../../storage/devices/key-backup.ts";
import type { Context } from "../context.ts";

/** Server-side key backups (client-server API, "Server-side key backups"). */
export type BackupContext = Pick<Context, "read" | "transaction">;

const READ_COMMITTED = { isolation: "read committed" } as const;
const MAX_INT4 = 2 ** 31 - 1;
const ATTEMPTS = 5;

const unknownVersion = (): MatrixError => notFound("Unknown backup version");

/** Makes a new version, which becomes the current one; returns its number. @throws MatrixError 400 */
export async function createBackupVersion(ctx: BackupContext, userId: string, info: JsonObject): Promise<number> {
  const { algorithm, auth_data: authData } = info;
  if (algorithm === undefined) throw missingParam("Missing params: ['algorithm']");
  if (authData === undefined) throw missingParam("Missing params: ['auth_data']");
  if (typeof algorithm !== "string" || algorithm.includes("\0") || !isJsonObject(authData)) throw badJson("algorithm must be a string, auth_data an object");
  const text = stringifyAscii(authData);
  for (let attempt = 1; ; attempt++) {
    try {
      return await ctx.transaction("create_e2e_room_keys_version", (txn) => addBackupVersion(txn, userId, algorithm, text));
    } catch (error) {
      // Another request of the same user took the number.
      if (attempt === ATTEMPTS || !isUniqueViolation(error)) throw error;
    }
  }
}

/** A version, by default the current one, as clients see it. @throws MatrixError 404 M_NOT_FOUND */
export async function getBackupVersion(ctx: BackupContext, userId: string, version?: string): Promise<Record<string, unknown>> {
  const number = version === undefined ? undefined : versionNumber(version);
  const info = version !== undefined && number === undefined ? undefined : await backupVersion(ctx.read, userId, number);
  if (info === undefined) throw notFound("No backup found");
  return {
    auth_data: info.authData,
    version: String(info.version),
    algorithm: info.algorithm,
    etag: String(info.etag),
    count: await countBackedUpKeys(ctx.read, userId, info.version),
  };
}

/** Replaces the auth data of a version. @throws MatrixError 404; 400 M_INVALID_PARAM when version or algorithm are not those of the backup */
export async function updateBackupVersion(ctx: BackupContext, userId: string, version: string, info: JsonObject): Promise<void> {
  if (info.version !== undefined && info.version !== version) throw invalidParam("Version in body does not match");
  if (info.auth_data !== undefined && !isJsonObject(info.auth_data)) throw badJson("auth_data must be an object");
  await ctx.transaction(
    "update_e2e_room_keys_version",
    async (txn) => {
      const stored = await locked(txn, userId, version);
      if (info.algorithm !== stored.algorithm) throw invalidParam("Algorithm does not match");
      if (info.auth_data !== undefined) await setBackupAuthData(txn, userId, stored.version, stringifyAscii(info.auth_data));
    },
    READ_COMMITTED,
  );
}

/** @throws MatrixError 404 */
export async function removeBackupVersion(ctx: BackupContext, userId: string, version: string): Promise<void> {
  const number = versionNumber(version);
  if (number === undefined) throw unknownVersion();
  const existed = await ctx.transaction("delete_e2e_room_keys_version", (txn) => deleteBackupVersion(txn, userId, number), READ_COMMITTED);
  if (!existed) throw unknownVersion();
}

export interface BackupState {
  readonly etag: string;
  readonly count: number;
}

/**
 * Stores keys in the current version. `rooms` is `{room id: {"sessions": {session id: key}}}`.
 * @throws MatrixError 404; 403 M_WRONG_ROOM_KEYS_VERSION with `current_version` when the version is not the current one; 400
 */
export async function uploadBackedUpKeys(ctx: BackupContext, userId: string, version: string, rooms: Json | undefined): Promise<BackupState> {
  const keys = readKeys(rooms);
  return await ctx.transaction(
    "upload_room_keys",
    async (txn) => {
      const current = await backupVersion(txn, userId);
      const number = versionNumber(version);
      if (current === undefined || number === undefined) throw notFound(`Version '${version}' not found`);
      if (current.version !== number) {
        if ((await backupVersion(txn, userId, number)) === undefined) throw notFound(`Version '${version}' not found`);
        throw new MatrixError(403, "M_WRONG_ROOM_KEYS_VERSION", "Wrong room_keys version", { current_version: String(current.version) });
      }
      const stored = await locked(txn, userId, version);
      const changed = keys.length === 0 ? 0 : await putBackedUpKeys(txn, userId, number, keys);
      const etag = changed > 0 ? stored.etag + 1 : stored.etag;
      if (changed > 0) await setBackupEtag(txn, userId, number, etag);
      return { etag: String(etag), count: await countBackedUpKeys(txn, userId, number) };
    },
    READ_COMMITTED,
  );
}

/** Keys as `{room id: {"sessions": {session id: key}}}`: all, of a room, or of a session. @throws MatrixError 404 */
export async function readBackedUpKeys(
  ctx: BackupContext,
  userId: string,
  version: string,
  roomId?: string,
  sessionId?: string,
): Promise<Record<string, { sessions: Record<string, object> }>> {
  const number = versionNumber(version);
  if (number === undefined || (await backupVersion(ctx.read, userId, number)) === undefined) throw unknownVersion();
  const rooms = Object.create(null) as Record<string, { sessions: Record<string, object> }>;
  for (const key of await backedUpKeys(ctx.read, userId, number, roomId, sessionId)) {
    const room = (rooms[key.roomId] ??= { sessions: Object.create(null) as Record<string, object> });
    room.sessions[key.sessionId] = {
      first_message_index: key.firstMessageIndex,
      forwarded_count: key.forwardedCount,
      is_verified: key.isVerified,
      session_data: new JsonText(key.sessionData),
    };
  }
  return rooms;
}

/** Deletes keys: all, of a room, or of a session. @throws MatrixError 404 */
export async function removeBackedUpKeys(ctx: BackupContext, userId: string, version: string, roomId?: string, sessionId?: string): Promise<BackupState> {
  return await ctx.transaction(
    "delete_e2e_room_keys",
    async (txn) => {
      const stored = await locked(txn, userId, version);
      await deleteBackedUpKeys(txn, userId, stored.version, roomId, sessionId);
      await setBackupEtag(txn, userId, stored.version, stored.etag + 1);
      return { etag: String(stored.etag + 1), count: await countBackedUpKeys(txn, userId, stored.version) };
    },
    READ_COMMITTED,
  );
}

async function locked(txn: Parameters<typeof lockBackupVersion>[0], userId: string, version: string): Promise<BackupVersion> {
  const number = versionNumber(version);
  const stored = number === undefined ? undefined : await lockBackupVersion(txn, userId, number);
  if (stored === undefined) throw unknownVersion();
  return stored;
}

/** Versions are counted from 1; anything else is no version. */
const versionNumber = (version: string): number | undefined => (/^\d{1,15}$/.test(version) ? Number(version) : undefined);

function readKeys(rooms: Json | undefined): BackedUpKey[] {
  if (rooms === undefined) throw missingParam("Missing params: ['rooms']");
  if (!isJsonObject(rooms)) throw badJson("rooms must be an object");
  const keys: BackedUpKey[] = [];
  for (const [roomId, room] of Object.entries(rooms)) {
    if (!isJsonObject(room) || !isJsonObject(room.sessions)) throw badJson(`sessions of room ${roomId} must be an object`);
    for (const [sessionId, key] of Object.entries(room.sessions)) keys.push(readKey(roomId, sessionId, key));
  }
  return keys;
}

function readKey(roomId: string, sessionId: string, key: Json | undefined): BackedUpKey {
  const where = `in keys for session ${sessionId} in room ${roomId}`;
  if (!isJsonObject(key) || roomId.includes("\0") || sessionId.includes("\0")) throw badJson(`Expected an object ${where}`);
  const { first_message_index: firstMessageIndex, forwarded_count: forwardedCount, is_verified: isVerified, session_data: sessionData } = key;
  if (typeof isVerified !== "boolean") throw invalidParam(`is_verified must be a boolean ${where}`);
  if (!isCount(firstMessageIndex)) throw invalidParam(`first_message_index must be an integer ${where}`);
  if (!isCount(forwardedCount)) throw invalidParam(`forwarded_count must be an integer ${where}`);
  if (!isJsonObject(sessionData)) throw invalidParam(`session_data must be an object ${where}`);
  return { roomId, sessionId, firstMessageIndex, forwardedCount, isVerified, sessionData: stringifyAscii(sessionData) };
}

const isCount = (value: Json | undefined): value is number => typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_INT4;
