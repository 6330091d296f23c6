import { localpartOf } from "../../protocol/ids.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import type { AccountCache } from "./account-cache.ts";

/** A local account, as `users` has it; times as stored: `creationTs` in seconds, the others in milliseconds. */
export interface User {
  readonly name: string;
  readonly passwordHash: string | null;
  readonly creationTs: number;
  readonly admin: boolean;
  readonly isGuest: boolean;
  readonly appserviceId: string | null;
  readonly consentVersion: string | null;
  readonly consentServerNoticeSent: string | null;
  readonly consentTs: number | null;
  /** null, "support", "bot" or a type of the `user_types` config. */
  readonly userType: string | null;
  readonly deactivated: boolean;
  readonly shadowBanned: boolean;
  /** NULL in the table counts as approved. */
  readonly approved: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
}

const COLUMNS = `users.name, users.password_hash AS "passwordHash", users.creation_ts AS "creationTs", users.admin <> 0 AS admin,
  users.is_guest <> 0 AS "isGuest", users.appservice_id AS "appserviceId", users.consent_version AS "consentVersion",
  users.consent_server_notice_sent AS "consentServerNoticeSent", users.consent_ts AS "consentTs", users.user_type AS "userType",
  users.deactivated <> 0 AS deactivated, coalesce(users.shadow_banned, false) AS "shadowBanned", coalesce(users.approved, true) AS approved,
  coalesce(users.locked, false) AS locked, coalesce(users.suspended, false) AS suspended`;

/** The account of exactly this user id. */
export async function getUser(h: ReadHandle, userId: string): Promise<User | undefined> {
  return await queryOne<User>(h, `SELECT ${COLUMNS} FROM users WHERE users.name = $1`, [userId]);
}

/** Accounts by user id; unknown ones are absent. */
export async function getUsers(h: ReadHandle, userIds: readonly string[]): Promise<Map<string, User>> {
  const rows = await query<User>(h, `SELECT ${COLUMNS} FROM users WHERE users.name = ANY($1::text[])`, [userIds]);
  return new Map(rows.map((row) => [row.name, row]));
}

/** Ids and password hashes of all accounts whose id equals `userId` but for case. */
export async function findUsersIgnoringCase(h: ReadHandle, userId: string): Promise<{ name: string; passwordHash: string | null }[]> {
  return await query(h, `SELECT name, password_hash AS "passwordHash" FROM users WHERE lower(name) = lower($1)`, [userId]);
}

/** Which of these ids are taken, whatever their case: in lower case. */
export async function findTakenUserIds(h: ReadHandle, userIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ name: string }>(h, "SELECT DISTINCT lower(name) AS name FROM users WHERE lower(name) = ANY($1::text[])", [
    userIds.map((userId) => userId.toLowerCase()),
  ]);
  return new Set(rows.map(({ name }) => name));
}

export interface NewUser {
  userId: string;
  passwordHash: string | null;
  /** The account exists as a guest and becomes a full one. */
  wasGuest: boolean;
  isGuest: boolean;
  admin: boolean;
  appserviceId: string | null;
  userType: string | null;
  shadowBanned: boolean;
  approved: boolean;
  /** A profile row is made with this name; none for undefined. */
  displayname: string | undefined;
  /** Seconds since the epoch. */
  nowSeconds: number;
}

/** Makes the account (or upgrades the guest) and its profile; false when the id is taken. */
export async function insertUser(txn: Txn, cache: AccountCache, user: NewUser): Promise<boolean> {
  txn.afterCommit(() => cache.forgetUser(user.userId));
  const values = [
    user.userId,
    user.passwordHash,
    user.nowSeconds,
    user.isGuest ? 1 : 0,
    user.appserviceId,
    user.admin ? 1 : 0,
    user.userType,
    user.shadowBanned,
    user.approved,
  ];
  const touched = user.wasGuest
    ? await execute(
        txn,
        `UPDATE users SET password_hash = $2, upgrade_ts = $3, is_guest = $4, appservice_id = $5, admin = $6, user_type = $7, shadow_banned = $8, approved = $9
         WHERE name = $1 AND is_guest = 1`,
        values,
      )
    : await execute(
        txn,
        `INSERT INTO users (name, password_hash, creation_ts, is_guest, appservice_id, admin, user_type, shadow_banned, approved)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING`,
        values,
      );
  if (touched === 0) return false;
  if (user.displayname !== undefined && user.displayname !== "") {
    await execute(txn, `INSERT INTO profiles (full_user_id, user_id, displayname) VALUES ($1, $2, $3) ON CONFLICT (user_id) DO NOTHING`, [
      user.userId,
      localpartOf(user.userId),
      user.displayname.replaceAll("\u0000", ""),
    ]);
  }
  return true;
}

/** The number of the next user without a name of its own (guests): `nextval('user_id_seq')`. */
export async function nextNumericLocalpart(txn: Txn): Promise<string> {
  const row = await queryOne<{ id: number }>(txn, "SELECT nextval('user_id_seq') AS id");
  return String(row!.id);
}

/** False when there is no such user. */
export async function setPasswordHash(txn: Txn, cache: AccountCache, userId: string, hash: string | null): Promise<boolean> {
  txn.afterCommit(() => cache.forgetUser(userId));
  return (await execute(txn, "UPDATE users SET password_hash = $2 WHERE name = $1", [userId, hash])) > 0;
}

/** Columns that an admin or the server itself sets on an account. */
export interface UserFlags {
  admin?: boolean;
  deactivated?: boolean;
  locked?: boolean;
  suspended?: boolean;
  shadowBanned?: boolean;
  approved?: boolean;
  userType?: string | null;
}

/** Sets the flags that are given, leaves the others; false when there is no such user. */
export async function setUserFlags(txn: Txn, cache: AccountCache, userId: string, flags: UserFlags): Promise<boolean> {
  txn.afterCommit(() => cache.forgetUser(userId));
  const touched = await execute(
    txn,
    `UPDATE users SET
       admin = coalesce($2::smallint, admin), deactivated = coalesce($3::smallint, deactivated), locked = coalesce($4::boolean, locked),
       suspended = coalesce($5::boolean, suspended), shadow_banned = coalesce($6::boolean, shadow_banned), approved = coalesce($7::boolean, approved),
       user_type = CASE WHEN $8::boolean THEN $9::text ELSE user_type END
     WHERE name = $1`,
    [
      userId,
      smallint(flags.admin),
      smallint(flags.deactivated),
      flags.locked ?? null,
      flags.suspended ?? null,
      flags.shadowBanned ?? null,
      flags.approved ?? null,
      flags.userType !== undefined,
      flags.userType ?? null,
    ],
  );
  return touched > 0;
}

/** Records that the user agreed to this version of the terms at `now` (milliseconds). */
export async function setConsentVersion(txn: Txn, cache: AccountCache, userId: string, version: string, now: number): Promise<void> {
  txn.afterCommit(() => cache.forgetUser(userId));
  await execute(txn, "UPDATE users SET consent_version = $2, consent_ts = $3 WHERE name = $1", [userId, version, now]);
}

/** Records that the server notice about this version of the terms was sent. */
export async function setConsentNoticeSent(txn: Txn, cache: AccountCache, userId: string, version: string): Promise<void> {
  txn.afterCommit(() => cache.forgetUser(userId));
  await execute(txn, "UPDATE users SET consent_server_notice_sent = $2 WHERE name = $1", [userId, version]);
}

/** Accounts that are neither bots nor support users. */
export async function countRealUsers(h: ReadHandle): Promise<number> {
  const row = await queryOne<{ count: number }>(h, "SELECT count(*) AS count FROM users WHERE user_type IS NULL OR user_type NOT IN ('bot', 'support')");
  return row!.count;
}

function smallint(value: boolean | undefined): number | null {
  return value === undefined ? null : value ? 1 : 0;
}
