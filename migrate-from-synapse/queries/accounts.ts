import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";
import { broken, type Broken } from "./broken.ts";

export interface UserNumbers {
  readonly users: number;
  /** Of another domain. */
  readonly foreign: number;
  readonly foreignExample: string | null;
  /** A hash that is no bcrypt hash. */
  readonly oddHashes: number;
  readonly withPassword: number;
  /** Flags other than 0 and 1. */
  readonly oddFlags: number;
  /** Created in what can only be milliseconds. */
  readonly oddTimes: number;
  readonly foreignFirst: boolean;
}

/** All that the accounts say, in one walk over them. */
export async function userNumbers(h: ReadHandle, serverName: string): Promise<UserNumbers> {
  const foreign = "substr(name, strpos(name, ':') + 1) <> $1";
  return (await queryOne(
    h,
    `SELECT count(*)::int AS users, count(*) FILTER (WHERE ${foreign})::int AS foreign, min(name) FILTER (WHERE ${foreign}) AS "foreignExample",
            count(*) FILTER (WHERE password_hash IS NOT NULL AND password_hash <> '' AND password_hash !~ '^[$]2[abxy]?[$]')::int AS "oddHashes",
            count(*) FILTER (WHERE password_hash IS NOT NULL)::int AS "withPassword",
            count(*) FILTER (WHERE admin NOT IN (0, 1) OR deactivated NOT IN (0, 1) OR is_guest NOT IN (0, 1))::int AS "oddFlags",
            count(*) FILTER (WHERE creation_ts > 100000000000)::int AS "oddTimes",
            COALESCE((SELECT ${foreign} FROM users LIMIT 1), false) AS "foreignFirst"
     FROM users`,
    [serverName],
  ))!;
}

export const tokensOfNobody = (h: ReadHandle): Promise<Broken> =>
  broken(h, "SELECT t.user_id AS id FROM access_tokens AS t LEFT JOIN users AS u ON u.name = t.user_id WHERE u.name IS NULL");

/** The identity providers of accounts, by an index. */
export async function authProviders(h: ReadHandle): Promise<string[]> {
  const rows = await query<{ provider: string }>(
    h,
    `WITH RECURSIVE providers (provider) AS (
       SELECT min(auth_provider) FROM user_external_ids
       UNION ALL SELECT (SELECT min(auth_provider) FROM user_external_ids WHERE auth_provider > providers.provider) FROM providers WHERE provider IS NOT NULL)
     SELECT provider FROM providers WHERE provider IS NOT NULL`,
  );
  return rows.map(({ provider }) => provider);
}

export const namelessProfiles = (h: ReadHandle): Promise<Broken> =>
  broken(h, "SELECT user_id AS id FROM profiles WHERE full_user_id IS NULL UNION ALL SELECT user_id FROM user_filters WHERE full_user_id IS NULL");

/** Flows that would have to begin again: sign-ins of the last hour, tokens by which to sign in. */
export async function flowsInProgress(h: ReadHandle, now: number): Promise<number> {
  const row = await queryOne<{ flows: number }>(
    h,
    `SELECT (SELECT count(*) FROM ui_auth_sessions WHERE creation_time > $1::bigint - 3600000)
          + (SELECT count(*) FROM login_tokens WHERE expiry_ts > $1 AND used_ts IS NULL)
          + (SELECT count(*) FROM threepid_validation_session WHERE last_send_attempt > 0 AND validated_at IS NULL AND session_id IN
             (SELECT session_id FROM threepid_validation_token WHERE expires > $1)) AS flows`,
    [now],
  );
  return row!.flows;
}

export async function monthlyActive(h: ReadHandle): Promise<number> {
  return (await queryOne<{ users: number }>(h, "SELECT count(*)::int AS users FROM monthly_active_users"))!.users;
}

export async function profileUpdates(h: ReadHandle): Promise<boolean> {
  return (await queryOne<{ any: boolean }>(h, "SELECT EXISTS (SELECT FROM profile_updates) AS any"))!.any;
}
