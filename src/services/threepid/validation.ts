import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import {
  deleteExpiredValidationTokens,
  findOpenSession,
  lockSessionForToken,
  markSessionValidated,
  startOrContinueSession,
  type ValidationSession,
} from "../../storage/threepids/validation-sessions.ts";
import type { Context } from "../context.ts";
import { isNextLinkAllowed, withSession } from "./next-link.ts";

/** Proving that somebody owns an address: sessions in Synapse's tables, tokens that are sent to the address. */

const SESSION_ID_LENGTH = 16;
/** Bounds on what clients say (CVE-2021-21394). */
const MAX_PARAMETER = 255;

/** @throws MatrixError 400 M_INVALID_PARAM */
export function checkClientSecret(secret: string): void {
  if (!isClientSecret(secret)) throw invalidParam("Invalid client_secret parameter");
}

/** A secret as the specification wants it; the one that Synapse takes, too. */
export const isClientSecret = (secret: string): boolean => /^[0-9a-zA-Z.=_-]{1,255}$/.test(secret);

/** Whether a text can be the id of a session, or a token: what cannot is not looked up. */
export const isParameter = (text: string): boolean => text.length > 0 && text.length <= MAX_PARAMETER && !text.includes("\0");

/** Counts a request for a token against `rc_3pid_validation`, by the client's address and by the 3PID. @throws MatrixError 429 */
export async function limitTokenRequests(ctx: Pick<Context, "limits">, medium: string, address: string, ip: string): Promise<void> {
  await ctx.limits.check("threepidValidation", `ip\0${medium}\0${ip}`);
  await ctx.limits.check("threepidValidation", `address\0${medium}\0${address}`);
}

/** Answers as if a token had been sent, after some time: whether an address is known stays a secret (`request_token_inhibit_3pid_errors`). */
export async function pretendToSend(ctx: Pick<Context, "clock" | "random">): Promise<string> {
  await ctx.clock.sleep(100 + ctx.random.below(900));
  return ctx.random.letters(SESSION_ID_LENGTH);
}

export interface TokenRequest {
  readonly medium: "email" | "msisdn";
  readonly address: string;
  readonly clientSecret: string;
  /** Requests with the same number as one before send nothing. */
  readonly sendAttempt: number;
  readonly nextLink: string | undefined;
  readonly lifetimeMs: number;
  /** Makes the token of the session and sends it to the address; returns what is stored of it. */
  send(sessionId: string): Promise<string>;
}

/** Sends a token, unless this attempt did so before. Returns the id of the session. */
export async function requestToken(ctx: Pick<Context, "clock" | "random" | "read" | "transaction">, request: TokenRequest): Promise<string> {
  const { medium, address, clientSecret, sendAttempt, nextLink } = request;
  const open: ValidationSession | undefined = await findOpenSession(ctx.read, medium, address, clientSecret);
  if (open !== undefined && sendAttempt <= open.lastSendAttempt) return open.sessionId;
  const sessionId = open?.sessionId ?? ctx.random.letters(SESSION_ID_LENGTH);
  const token = await request.send(sessionId);
  await ctx.transaction("start_or_continue_validation_session", (txn) =>
    startOrContinueSession(txn, {
      sessionId,
      medium,
      address,
      clientSecret,
      sendAttempt,
      token,
      nextLink: nextLink === undefined || nextLink === "" ? null : withSession(nextLink, sessionId),
      expires: ctx.clock.now() + request.lifetimeMs,
    }),
  );
  return sessionId;
}

export interface Submission {
  readonly medium: "email" | "msisdn";
  readonly sid: string;
  readonly clientSecret: string;
  /** As stored. */
  readonly token: string;
}

/**
 * Proves the address of a session by the token that was sent to it. Returns where the browser goes on. A session that is proven already
 * stays so.
 * @throws MatrixError 400 M_THREEPID_AUTH_FAILED with what is wrong, for a person to read
 */
export async function submitToken(ctx: Pick<Context, "clock" | "config" | "transaction">, submission: Submission): Promise<string | undefined> {
  const { medium, sid, clientSecret, token } = submission;
  const refuse = (reason: string): MatrixError => new MatrixError(400, "M_THREEPID_AUTH_FAILED", reason);
  if (!isParameter(sid) || token.length > 2 * MAX_PARAMETER || token.includes("\0")) throw refuse("Validation token not found or has expired");
  return await ctx.transaction("validate_threepid_session_txn", async (txn) => {
    const session = await lockSessionForToken(txn, medium, sid, token);
    if (session === undefined && !ctx.config.server.requestTokenInhibit3pidErrors) throw refuse("Unknown session_id");
    if (session?.token === undefined) throw refuse("Validation token not found or has expired");
    if (session.clientSecret !== clientSecret) throw refuse("This client_secret does not match the provided session_id");
    const { nextLink, expires } = session.token;
    if (session.validatedAt === null) {
      const now = ctx.clock.now();
      if (expires <= now) throw refuse("This token has expired. Please request a new one");
      await markSessionValidated(txn, sid, now);
    }
    // The list of hosts may be shorter by now, and another server may have written the row.
    return nextLink !== null && isNextLinkAllowed(ctx, nextLink) ? nextLink : undefined;
  });
}

/** Deletes tokens that are no longer good; called each half hour. */
export async function cullExpiredTokens(ctx: Pick<Context, "clock" | "transaction">): Promise<void> {
  await ctx.transaction("cull_expired_threepid_validation_tokens", (txn) => deleteExpiredValidationTokens(txn, ctx.clock.now()));
}
