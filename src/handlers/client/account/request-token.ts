import { z } from "zod";
import { badJson, MatrixError } from "../../../protocol/errors.ts";
import { validEmail } from "../../../services/accounts/identifiers.ts";
import { requestEmailToken, requireEmailVerification } from "../../../services/threepid/email.ts";
import { requestMsisdnToken } from "../../../services/threepid/msisdn.ts";
import { checkBody } from "../../http/body.ts";
import { endpoint } from "../../http/endpoint.ts";

const tokenRequest = {
  client_secret: z
    .string()
    .max(255)
    .regex(/^[0-9a-zA-Z.=_-]+$/),
  id_server: z.string().nullish(),
  id_access_token: z.string().nullish(),
  next_link: z.string().nullish(),
  send_attempt: z.number().int(),
};
const withToken = (body: { id_server?: string | null | undefined; id_access_token?: string | null | undefined }): boolean =>
  body.id_server === undefined || body.id_server === null || (body.id_access_token !== undefined && body.id_access_token !== null);
const needsToken = "id_access_token is required if an id_server is supplied.";

const emailRequest = z.object({ ...tokenRequest, email: z.string() }).refine(withToken, needsToken);
const msisdnRequest = z.object({ ...tokenRequest, country: z.string().regex(/^[A-Z]{2}$/), phone_number: z.string().max(100) }).refine(withToken, needsToken);

function readEmailRequest(body: unknown, ip: string) {
  const { client_secret: clientSecret, send_attempt: sendAttempt, next_link: nextLink, email } = checkBody(emailRequest, body);
  return { email: readEmail(email), clientSecret, sendAttempt, nextLink: nextLink ?? undefined, ip };
}

/** As Synapse answers here: M_BAD_JSON. */
function readEmail(address: string): string {
  try {
    return validEmail(address);
  } catch (error) {
    if (error instanceof MatrixError) throw badJson(`email: ${error.message}`);
    throw error;
  }
}

/** Sends a link to an address that the user wants to add. */
export const addEmailToken = endpoint({
  servlet: "EmailThreepidRequestTokenRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account/3pid/email/requestToken",
  auth: "none",
  emptyBody: false,
  limit: "threepidValidation",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body, ip }) {
    requireEmailVerification(ctx, "add_threepid");
    return { sid: await requestEmailToken(ctx, "add_threepid", readEmailRequest(body, ip)) };
  },
});

/** Sends a link for a new password. */
export const passwordEmailToken = endpoint({
  servlet: "EmailPasswordRequestTokenRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account/password/email/requestToken",
  auth: "none",
  emptyBody: false,
  limit: "threepidValidation",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body, ip }) {
    requireEmailVerification(ctx, "password_reset");
    return { sid: await requestEmailToken(ctx, "password_reset", readEmailRequest(body, ip)) };
  },
});

/** Sends a code to a phone number that the user wants to add. */
export const addMsisdnToken = endpoint({
  servlet: "MsisdnThreepidRequestTokenRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account/3pid/msisdn/requestToken",
  auth: "none",
  body: msisdnRequest,
  limit: "threepidValidation",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body, ip }) {
    return await requestMsisdnToken(ctx, "add_threepid", readMsisdnRequest(body, ip));
  },
});

/** Sends a code for a new password, where this server sends codes itself (`myelin.sms`); Synapse has no such route. */
export const passwordMsisdnToken = endpoint({
  servlet: "MsisdnPasswordRequestTokenRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account/password/msisdn/requestToken",
  auth: "none",
  body: msisdnRequest,
  limit: "threepidValidation",
  when: (config) => !config.mas.enabled && config.myelin.sms !== undefined,
  async handle(ctx, { body, ip }) {
    return await requestMsisdnToken(ctx, "password_reset", readMsisdnRequest(body, ip));
  },
});

function readMsisdnRequest(body: z.output<typeof msisdnRequest>, ip: string) {
  const { country, phone_number: phoneNumber, client_secret: clientSecret, send_attempt: sendAttempt, next_link: nextLink } = body;
  return { country, phoneNumber, clientSecret, sendAttempt, nextLink: nextLink ?? undefined, ip };
}

export const requestTokenRoutes = [addEmailToken, passwordEmailToken, addMsisdnToken, passwordMsisdnToken];
