import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** Somebody who proves to own an address: asked for by a client with its secret, proven by a token that was sent to the address. */
export interface ValidationSession {
  readonly sessionId: string;
  readonly medium: string;
  readonly address: string;
  readonly lastSendAttempt: number;
  /** Milliseconds; null: not proven yet. */
  readonly validatedAt: number | null;
}

const COLUMNS = `session_id AS "sessionId", medium, address, last_send_attempt AS "lastSendAttempt", validated_at AS "validatedAt"`;

/** The open session of a client for an address. */
export async function findOpenSession(h: ReadHandle, medium: string, address: string, clientSecret: string): Promise<ValidationSession | undefined> {
  return await queryOne<ValidationSession>(
    h,
    `SELECT ${COLUMNS} FROM threepid_validation_session
     WHERE medium = $1 AND address = $2 AND client_secret = $3 AND validated_at IS NULL LIMIT 1`,
    [medium, address, clientSecret],
  );
}

/** Whether there is a session of that id. */
export async function hasSession(h: ReadHandle, medium: string, sessionId: string): Promise<boolean> {
  return (await queryOne(h, "SELECT 1 FROM threepid_validation_session WHERE medium = $1 AND session_id = $2", [medium, sessionId])) !== undefined;
}

/** Ends a proven session and returns it: only one of those who ask at the same time gets it. */
export async function takeValidatedSession(txn: Txn, medium: string, sessionId: string, clientSecret: string): Promise<ValidationSession | undefined> {
  const session = await queryOne<ValidationSession>(
    txn,
    `DELETE FROM threepid_validation_session
     WHERE medium = $1 AND session_id = $2 AND client_secret = $3 AND validated_at IS NOT NULL RETURNING ${COLUMNS}`,
    [medium, sessionId, clientSecret],
  );
  if (session !== undefined) await execute(txn, "DELETE FROM threepid_validation_token WHERE session_id = $1", [sessionId]);
  return session;
}

export interface ValidationAttempt {
  readonly sessionId: string;
  readonly medium: string;
  readonly address: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly token: string;
  /** Where the browser goes afterwards. */
  readonly nextLink: string | null;
  /** Milliseconds. */
  readonly expires: number;
}

/** Opens a session, or notes another attempt in it, with a token of its own. */
export async function startOrContinueSession(txn: Txn, attempt: ValidationAttempt): Promise<void> {
  await execute(
    txn,
    `INSERT INTO threepid_validation_session (session_id, medium, address, client_secret, last_send_attempt) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (session_id) DO UPDATE SET last_send_attempt = EXCLUDED.last_send_attempt`,
    [attempt.sessionId, attempt.medium, attempt.address, attempt.clientSecret, attempt.sendAttempt],
  );
  await execute(
    txn,
    `INSERT INTO threepid_validation_token (token, session_id, next_link, expires) VALUES ($1, $2, $3, $4)
     ON CONFLICT (token) DO UPDATE SET next_link = EXCLUDED.next_link, expires = EXCLUDED.expires
       WHERE threepid_validation_token.session_id = EXCLUDED.session_id`,
    [attempt.token, attempt.sessionId, attempt.nextLink, attempt.expires],
  );
}

/** What a submitted token is compared with. `token` is undefined where the session has no such token. */
export interface SubmittedToken {
  readonly clientSecret: string;
  readonly validatedAt: number | null;
  readonly token: { readonly nextLink: string | null; readonly expires: number } | undefined;
}

/** The session and its token, locked until the end of the transaction; undefined when there is no such session. */
export async function lockSessionForToken(txn: Txn, medium: string, sessionId: string, token: string): Promise<SubmittedToken | undefined> {
  const row = await queryOne<{ clientSecret: string; validatedAt: number | null; expires: number | null; nextLink: string | null }>(
    txn,
    `SELECT session.client_secret AS "clientSecret", session.validated_at AS "validatedAt", token.expires, token.next_link AS "nextLink"
     FROM threepid_validation_session session
     LEFT JOIN threepid_validation_token token ON token.session_id = session.session_id AND token.token = $3
     WHERE session.session_id = $2 AND session.medium = $1 FOR UPDATE OF session`,
    [medium, sessionId, token],
  );
  if (row === undefined) return undefined;
  const { clientSecret, validatedAt, expires, nextLink } = row;
  return { clientSecret, validatedAt, token: expires === null ? undefined : { nextLink, expires } };
}

export async function markSessionValidated(txn: Txn, sessionId: string, now: number): Promise<void> {
  await execute(txn, "UPDATE threepid_validation_session SET validated_at = $2 WHERE session_id = $1", [sessionId, now]);
}

/** Deletes tokens that expired before `now`. */
export async function deleteExpiredValidationTokens(txn: Txn, now: number): Promise<number> {
  return await execute(txn, "DELETE FROM threepid_validation_token WHERE expires < $1", [now]);
}
