import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { getUserOfThreepid } from "../../storage/threepids/user-threepids.ts";
import { requireThreepidAllowed } from "./allowed.ts";
import type { Context } from "../context.ts";
import { type EmailPurpose, sendAlreadyInUseMail, sendValidationMail } from "./mails.ts";
import { checkNextLink } from "./next-link.ts";
import { limitTokenRequests, pretendToSend, requestToken } from "./validation.ts";

const TOKEN_LENGTH = 32;

export interface EmailTokenRequest {
  /** Canonical. */
  readonly email: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink: string | undefined;
  /** Of the client. */
  readonly ip: string;
}

const DENIED: Readonly<Record<Exclude<EmailPurpose, "password_reset">, string>> = {
  register: "Your email domain is not authorized to register on this server",
  add_threepid: "Your email domain is not authorized on this server",
};

/** Whether addresses can be verified for this at all. @throws MatrixError 400, 403 */
export function requireEmailVerification(ctx: Pick<Context, "config">, purpose: EmailPurpose): void {
  const { email, registration } = ctx.config;
  if (purpose === "add_threepid" && !registration.enable3pidChanges) throw changesDisabled();
  if (!email.canVerifyEmail) {
    if (purpose === "password_reset") throw new MatrixError(400, "M_UNKNOWN", "Email-based password resets have been disabled on this server");
    if (purpose === "register") throw new MatrixError(400, "M_UNKNOWN", "Email-based registration has been disabled on this server");
    throw new MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "Adding an email to your account is disabled on this server");
  }
  if (purpose === "register" && !registration.enableRegistration) throw forbidden("Registration is disabled on this homeserver");
}

export const changesDisabled = (): MatrixError => new MatrixError(400, "M_FORBIDDEN", "3PID changes are disabled on this server");

/**
 * `.../email/requestToken`: sends a link to an address that is new to this server, or, for a password reset, known to it. Returns the id
 * of the session.
 * @throws MatrixError 400, 403 M_THREEPID_DENIED, 429, 500 when the mail cannot be sent
 */
export async function requestEmailToken(ctx: Context, purpose: EmailPurpose, request: EmailTokenRequest): Promise<string> {
  const { email, clientSecret, sendAttempt, nextLink } = request;
  requireEmailVerification(ctx, purpose);
  checkNextLink(ctx, nextLink);
  if (purpose !== "password_reset") await requireThreepidAllowed(ctx, "email", email, { registration: purpose === "register", message: DENIED[purpose] });
  await limitTokenRequests(ctx, "email", email, request.ip);
  const known = (await getUserOfThreepid(ctx.read, "email", email)) !== undefined;
  if (known !== (purpose === "password_reset")) {
    if (!ctx.config.server.requestTokenInhibit3pidErrors) {
      throw known ? new MatrixError(400, "M_THREEPID_IN_USE", "Email is already in use") : new MatrixError(400, "M_THREEPID_NOT_FOUND", "Email not found");
    }
    if (purpose === "register") await sendAlreadyInUseMail(ctx, email);
    return await pretendToSend(ctx);
  }
  const sid = await requestToken(ctx, {
    medium: "email",
    address: email,
    clientSecret,
    sendAttempt,
    nextLink,
    lifetimeMs: ctx.config.email.validationTokenLifetimeMs,
    async send(sessionId) {
      const token = ctx.random.letters(TOKEN_LENGTH);
      await sendValidationMail(ctx, purpose, email, { token, clientSecret, sid: sessionId });
      return token;
    },
  });
  ctx.metrics.threepidRequested("email", purpose, sendAttempt);
  return sid;
}
