import { stringifyAscii, type Json, type JsonObject } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A user-interactive authentication in progress. `clientdict` is the body of the request, `serverdict` what the server keeps beside it. */
export interface UiAuthSession {
  readonly sessionId: string;
  readonly clientdict: JsonObject;
  readonly serverdict: JsonObject;
  readonly uri: string;
  readonly method: string;
  readonly description: string;
}

/** Neither `clientdict` nor `serverdict` may hold a password: the caller takes it out (CVE-2023-41335). */
export async function insertUiAuthSession(txn: Txn, session: UiAuthSession, now: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO ui_auth_sessions (session_id, clientdict, uri, method, description, serverdict, creation_time) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [session.sessionId, stringifyAscii(session.clientdict), session.uri, session.method, session.description, stringifyAscii(session.serverdict), now],
  );
}

export async function getUiAuthSession(h: ReadHandle, sessionId: string): Promise<UiAuthSession | undefined> {
  const row = await queryOne<{ clientdict: string; serverdict: string; uri: string; method: string; description: string }>(
    h,
    "SELECT clientdict, serverdict, uri, method, description FROM ui_auth_sessions WHERE session_id = $1",
    [sessionId],
  );
  if (row === undefined) return undefined;
  return { ...row, sessionId, clientdict: JSON.parse(row.clientdict) as JsonObject, serverdict: JSON.parse(row.serverdict) as JsonObject };
}

export async function setUiAuthClientdict(txn: Txn, sessionId: string, clientdict: JsonObject): Promise<void> {
  await execute(txn, "UPDATE ui_auth_sessions SET clientdict = $2 WHERE session_id = $1", [sessionId, stringifyAscii(clientdict)]);
}

/** Sets one key of the session's server-side data; false when there is no such session. */
export async function setUiAuthData(txn: Txn, sessionId: string, key: string, value: Json): Promise<boolean> {
  const row = await queryOne<{ serverdict: string }>(txn, "SELECT serverdict FROM ui_auth_sessions WHERE session_id = $1 FOR UPDATE", [sessionId]);
  if (row === undefined) return false;
  const data = { ...(JSON.parse(row.serverdict) as JsonObject), [key]: value };
  await execute(txn, "UPDATE ui_auth_sessions SET serverdict = $2 WHERE session_id = $1", [sessionId, stringifyAscii(data)]);
  return true;
}

/** Notes that the stage is passed, with its result; false when there is no such session. */
export async function completeUiAuthStage(txn: Txn, sessionId: string, stage: string, result: Json): Promise<boolean> {
  const touched = await execute(
    txn,
    `INSERT INTO ui_auth_sessions_credentials (session_id, stage_type, result)
     SELECT session_id, $2, $3 FROM ui_auth_sessions WHERE session_id = $1
     ON CONFLICT (session_id, stage_type) DO UPDATE SET result = EXCLUDED.result`,
    [sessionId, stage, stringifyAscii(result)],
  );
  return touched > 0;
}

/** Results of the stages passed, by stage. */
export async function getCompletedUiAuthStages(h: ReadHandle, sessionId: string): Promise<Map<string, Json>> {
  const rows = await query<{ stage: string; result: string }>(
    h,
    "SELECT stage_type AS stage, result FROM ui_auth_sessions_credentials WHERE session_id = $1 ORDER BY ctid",
    [sessionId],
  );
  return new Map(rows.map(({ stage, result }) => [stage, JSON.parse(result) as Json]));
}

export async function addUiAuthClient(txn: Txn, sessionId: string, userAgent: string, ip: string): Promise<void> {
  await execute(
    txn,
    `INSERT INTO ui_auth_sessions_ips (session_id, user_agent, ip) SELECT session_id, $2, $3 FROM ui_auth_sessions WHERE session_id = $1
     ON CONFLICT (session_id, ip, user_agent) DO NOTHING`,
    [sessionId, userAgent, ip],
  );
}

/** User agents and addresses seen on a session. */
export async function getUiAuthClients(h: ReadHandle, sessionId: string): Promise<{ userAgent: string; ip: string }[]> {
  return await query(h, `SELECT user_agent AS "userAgent", ip FROM ui_auth_sessions_ips WHERE session_id = $1`, [sessionId]);
}

/** Deletes sessions made up to `until` (milliseconds); registration tokens that they held are free again. */
export async function deleteOldUiAuthSessions(txn: Txn, until: number): Promise<void> {
  await execute(
    txn,
    `WITH held AS (
       SELECT credentials.result::jsonb #>> '{}' AS token, count(*) AS uses
       FROM ui_auth_sessions_credentials AS credentials JOIN ui_auth_sessions USING (session_id)
       WHERE ui_auth_sessions.creation_time <= $1 AND credentials.stage_type = 'm.login.registration_token'
         AND jsonb_typeof(credentials.result::jsonb) = 'string'
       GROUP BY 1
     )
     UPDATE registration_tokens SET pending = registration_tokens.pending - held.uses FROM held WHERE registration_tokens.token = held.token`,
    [until],
  );
  const old = "session_id IN (SELECT session_id FROM ui_auth_sessions WHERE creation_time <= $1)";
  await execute(txn, `DELETE FROM ui_auth_sessions_ips WHERE ${old}`, [until]);
  await execute(txn, `DELETE FROM ui_auth_sessions_credentials WHERE ${old}`, [until]);
  await execute(txn, "DELETE FROM ui_auth_sessions WHERE creation_time <= $1", [until]);
}

/**
 * Takes passwords out of sessions that an old Synapse left (CVE-2023-41335: before 1.93 the request's password was stored). Returns the
 * number of sessions that were cleaned.
 */
export async function purgePasswordsFromUiAuthSessions(txn: Txn): Promise<number> {
  return await execute(
    txn,
    `UPDATE ui_auth_sessions SET clientdict = ((clientdict::jsonb - 'password' - 'new_password') #- '{auth,password}')::text
     WHERE clientdict LIKE '%password"%'
       AND (clientdict::jsonb ? 'password' OR clientdict::jsonb ? 'new_password' OR clientdict::jsonb #> '{auth,password}' IS NOT NULL)`,
  );
}
