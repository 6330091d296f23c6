import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import { validEmail } from "../../services/accounts/identifiers.ts";
import { requestEmailToken, requireEmailVerification } from "../../services/threepid/email.ts";
import { requestMsisdnToken } from "../../services/threepid/msisdn.ts";
import { checkClientSecret } from "../../services/threepid/validation.ts";
import { endpoint } from "../http/endpoint.ts";
import { readEmailedLink, submitEmailedLink } from "../submit-token.ts";
import { tokenRoute, VERSIONS } from "./account/token-route.ts";

/** Sends a link to the address of somebody who registers. */
export const registerEmailToken = endpoint({
  ...tokenRoute,
  servlet: "EmailRegisterRequestTokenRestServlet",
  path: `${VERSIONS}/register/email/requestToken`,
  async handle(ctx, { body, ip }) {
    requireEmailVerification(ctx, "register");
    requireFields(body, ["client_secret", "email", "send_attempt"]);
    const common = readCommon(body);
    return { sid: await requestEmailToken(ctx, "register", { email: validEmail(readText(body, "email")), ...common, ip }) };
  },
});

/** Sends a code to the phone of somebody who registers. */
export const registerMsisdnToken = endpoint({
  ...tokenRoute,
  servlet: "MsisdnRegisterRequestTokenRestServlet",
  path: `${VERSIONS}/register/msisdn/requestToken`,
  async handle(ctx, { body, ip }) {
    requireFields(body, ["client_secret", "country", "phone_number", "send_attempt"]);
    const common = readCommon(body);
    return await requestMsisdnToken(ctx, "register", { country: readText(body, "country"), phoneNumber: readText(body, "phone_number"), ...common, ip });
  },
});

/** The link of the mail to somebody who registers. */
export const submitRegistrationToken = endpoint({
  servlet: "RegistrationSubmitTokenServlet",
  method: "GET",
  path: "/_matrix/client/unstable/registration/:medium/submit_token",
  auth: "none",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { params, query }) {
    if (params.medium !== "email") throw new MatrixError(400, "M_UNKNOWN", "This medium is currently not supported for registration");
    if (!ctx.config.email.canVerifyEmail) throw new MatrixError(400, "M_UNKNOWN", "Email-based registration is disabled on this server");
    const { registrationSuccessHtml: success, registrationFailureHtml: failure } = ctx.config.email.templates;
    return await submitEmailedLink(
      ctx,
      readEmailedLink((name) => query.requiredString(name)),
      { success, failure },
    );
  },
});

export const registerTokenRoutes = [registerEmailToken, registerMsisdnToken, submitRegistrationToken];

function requireFields(body: JsonObject, fields: readonly string[]): void {
  const missing = fields.filter((field) => body[field] === undefined);
  if (missing.length > 0) throw missingParam(`Missing params: ${JSON.stringify(missing)}`);
}

function readText(body: JsonObject, field: string): string {
  const value = body[field];
  if (typeof value !== "string" || value.length > 1000) throw invalidParam(`${field} must be a string of bounded length`);
  return value;
}

function readCommon(body: JsonObject): { clientSecret: string; sendAttempt: number; nextLink: string | undefined } {
  const clientSecret = readText(body, "client_secret");
  checkClientSecret(clientSecret);
  const { send_attempt: sendAttempt, next_link: nextLink = null } = body;
  if (typeof sendAttempt !== "number" || !Number.isSafeInteger(sendAttempt)) throw invalidParam("send_attempt must be an integer");
  if (nextLink !== null && typeof nextLink !== "string") throw invalidParam("next_link must be a string");
  return { clientSecret, sendAttempt, nextLink: nextLink ?? undefined };
}
