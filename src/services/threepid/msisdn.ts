import type { JsonObject } from "../../lib/json.ts";
import { percentFormat } from "../../lib/percent-format.ts";
import { HttpError, HttpUnavailable } from "../../outbound/http-client.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { getUserOfThreepid } from "../../storage/threepids/user-threepids.ts";
import { hasSession } from "../../storage/threepids/validation-sessions.ts";
import { phoneToMsisdn } from "../accounts/identifiers.ts";
import type { Context } from "../context.ts";
import { requireThreepidAllowed } from "./allowed.ts";
import { checkNextLink } from "./next-link.ts";
import { isParameter, limitTokenRequests, pretendToSend, requestToken, submitToken } from "./validation.ts";

/**
 * Phone numbers are verified by the identity server of `account_threepid_delegates.msisdn`; where there is none, by codes that this server
 * sends through `myelin.sms`.
 */
export type MsisdnPurpose = "register" | "add_threepid" | "password_reset";

export interface MsisdnTokenRequest {
  /** Two letters. */
  readonly country: string;
  readonly phoneNumber: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink: string | undefined;
  /** Of the client. */
  readonly ip: string;
}

const WORDS = {
  register: {
    denied: "Phone numbers are not authorized to register on this server",
    inUse: "Phone number is already in use",
    unsupported: "Registration by phone number is not supported on this homeserver",
    errcode: "M_UNKNOWN",
  },
  add_threepid: {
    denied: "Account phone numbers are not authorized on this server",
    inUse: "MSISDN is already in use",
    unsupported: "Adding phone numbers to user account is not supported by this homeserver",
    errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED",
  },
  password_reset: {
    denied: "",
    inUse: "",
    unsupported: "Password resets by phone number are not supported by this homeserver",
    errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED",
  },
} as const;

/**
 * `.../msisdn/requestToken`: has a code sent to a phone. Returns the answer for the client: `sid` and where to submit the code.
 * @throws MatrixError 400, 403 M_THREEPID_DENIED, 429
 */
export async function requestMsisdnToken(ctx: Context, purpose: MsisdnPurpose, request: MsisdnTokenRequest): Promise<JsonObject> {
  const words = WORDS[purpose];
  const msisdn = phoneToMsisdn(request.country, request.phoneNumber);
  if (purpose !== "password_reset") await requireThreepidAllowed(ctx, "msisdn", msisdn, { registration: purpose === "register", message: words.denied });
  await limitTokenRequests(ctx, "msisdn", msisdn, request.ip);
  checkNextLink(ctx, request.nextLink);
  const known = (await getUserOfThreepid(ctx.read, "msisdn", msisdn)) !== undefined;
  if (known !== (purpose === "password_reset")) {
    if (ctx.config.server.requestTokenInhibit3pidErrors) return { sid: await pretendToSend(ctx) };
    throw known ? new MatrixError(400, "M_THREEPID_IN_USE", words.inUse) : new MatrixError(400, "M_THREEPID_NOT_FOUND", "Phone number not found");
  }
  const delegate = ctx.config.registration.threepidDelegateMsisdn;
  // The tables of Synapse know no password reset by a delegate's word.
  const byDelegate = delegate !== undefined && purpose !== "password_reset";
  if (!byDelegate && ctx.sms === undefined) throw new MatrixError(400, words.errcode, words.unsupported);
  const answer = byDelegate ? await askDelegate(ctx, delegate, request) : { sid: await sendCode(ctx, msisdn, request) };
  ctx.metrics.threepidRequested("msisdn", purpose, request.sendAttempt);
  // Clients do not know where else to send the code (MSC2078).
  return { ...answer, submit_url: `${ctx.config.server.publicBaseurl}_matrix/client/unstable/add_threepid/msisdn/submit_token` };
}

/** `/add_threepid/msisdn/submit_token`: proves the number by its code; returns the answer for the client. @throws MatrixError 400, 429 */
export async function submitMsisdnToken(ctx: Context, submission: { clientSecret: string; sid: string; token: string }): Promise<JsonObject> {
  const { clientSecret, sid, token } = submission;
  const delegate = ctx.config.registration.threepidDelegateMsisdn;
  // Sessions of this server and of the delegate may both be under way.
  if (ctx.sms !== undefined && (delegate === undefined || (isParameter(sid) && (await hasSession(ctx.read, "msisdn", sid))))) {
    // Six digits are few: no session takes many guesses.
    await ctx.limits.check("smsCode", sid);
    await submitToken(ctx, { medium: "msisdn", sid, clientSecret, token: storedCode(sid, token.replace(/[\s-]+/g, "")) });
    return { success: true };
  }
  if (delegate === undefined) throw new MatrixError(400, "M_UNKNOWN", "This homeserver is not validating phone numbers. Use an identity server instead.");
  try {
    return await ctx.identityServers.submitMsisdnToken(delegate, submission);
  } catch (error) {
    ctx.log.named("synapse.handlers.identity").warn("Error contacting msisdn account_threepid_delegate", { error });
    throw new MatrixError(400, "M_UNKNOWN", "Error contacting the identity server");
  }
}

async function askDelegate(ctx: Context, delegate: string, request: MsisdnTokenRequest): Promise<JsonObject> {
  try {
    return await ctx.identityServers.requestMsisdnToken(delegate, { ...request, nextLink: request.nextLink || undefined });
  } catch (error) {
    if (error instanceof HttpError && error.status >= 400 && error.status < 500) throw new MatrixError(error.status, error.errcode, error.remoteMessage);
    ctx.log.named("synapse.handlers.identity").warn("Proxied requestToken failed", { error });
    throw new MatrixError(500, "M_UNKNOWN", error instanceof HttpUnavailable ? "Timed out contacting identity server" : "Error contacting the identity server");
  }
}

async function sendCode(ctx: Context, msisdn: string, request: MsisdnTokenRequest): Promise<string> {
  const { sms: options } = ctx.config.myelin;
  return await requestToken(ctx, {
    medium: "msisdn",
    address: msisdn,
    clientSecret: request.clientSecret,
    sendAttempt: request.sendAttempt,
    nextLink: undefined,
    lifetimeMs: options!.codeLifetimeMs,
    async send(sessionId) {
      const code = String(ctx.random.below(1_000_000)).padStart(6, "0");
      const { email, server } = ctx.config;
      try {
        await ctx.sms!.send(`+${msisdn}`, percentFormat(options!.text, { code, app: email.appName, server_name: server.serverName }));
      } catch (error) {
        ctx.log.named("synapse.handlers.identity").error("Error sending a code to a phone", { error });
        throw new MatrixError(500, "M_UNKNOWN", "An error was encountered when sending the message");
      }
      return storedCode(sessionId, code);
    },
  });
}

/** Tokens are unique in their table, codes are not. */
const storedCode = (sessionId: string, code: string): string => `${sessionId}:${code}`;
