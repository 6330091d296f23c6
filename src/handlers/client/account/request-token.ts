import { z } from "zod";
import type { Config } from "../../../config/config.ts";
import { badJson, MatrixError } from "../../../protocol/errors.ts";
import { validEmail } from "../../../services/accounts/identifiers.ts";
import { requestEmailToken, requireEmailVerification } from "../../../services/threepid/email.ts";
import { requestMsisdnToken } from "../../../services/threepid/msisdn.ts";
import { checkBody } from "../../http/body.ts";
import { type Endpoint, endpoint } from "../../http/endpoint.ts";
import { clientSecret, tokenRoute, VERSIONS } from "./token-route.ts";

const tokenRequest = {
  client_secret: clientSecret,
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
  const { client_secret: secret, send_attempt: sendAttempt, next_link: nextLink, email } = checkBody(emailRequest, body);
  return { email: readEmail(email), clientSecret: secret, sendAttempt, nextLink: nextLink ?? undefined, ip };
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

function readMsisdnRequest(body: unknown, ip: string) {
  const { country, phone_number: phoneNumber, client_secret: secret, send_attempt: sendAttempt, next_link: nextLink } = checkBody(msisdnRequest, body);
  return { country, phoneNumber, clientSecret: secret, sendAttempt, nextLink: nextLink ?? undefined, ip };
}

type Purpose = "add_threepid" | "password_reset";

const emailToken = (servlet: string, path: string, purpose: Purpose): Endpoint =>
  endpoint({
    ...tokenRoute,
    servlet,
    path,
    async handle(ctx, { body, ip }) {
      requireEmailVerification(ctx, purpose);
      return { sid: await requestEmailToken(ctx, purpose, readEmailRequest(body, ip)) };
    },
  });

const msisdnToken = (servlet: string, path: string, purpose: Purpose, when: (config: Config) => boolean = tokenRoute.when): Endpoint =>
  endpoint({
    ...tokenRoute,
    servlet,
    path,
    when,
    handle: (ctx, { body, ip }) => requestMsisdnToken(ctx, purpose, readMsisdnRequest(body, ip)),
  });

/** Sends a link to an address that the user wants to add. */
export const addEmailToken = emailToken("EmailThreepidRequestTokenRestServlet", `${VERSIONS}/account/3pid/email/requestToken`, "add_threepid");

/** Sends a link for a new password. */
export const passwordEmailToken = emailToken("EmailPasswordRequestTokenRestServlet", `${VERSIONS}/account/password/email/requestToken`, "password_reset");

/** Sends a code to a phone number that the user wants to add. */
export const addMsisdnToken = msisdnToken("MsisdnThreepidRequestTokenRestServlet", `${VERSIONS}/account/3pid/msisdn/requestToken`, "add_threepid");

/** Sends a code for a new password, where this server sends codes itself (`myelin.sms`); Synapse has no such route. */
export const passwordMsisdnToken = msisdnToken(
  "MsisdnPasswordRequestTokenRestServlet",
  `${VERSIONS}/account/password/msisdn/requestToken`,
  "password_reset",
  (config) => tokenRoute.when(config) && config.myelin.sms !== undefined,
);

export const requestTokenRoutes = [addEmailToken, passwordEmailToken, addMsisdnToken, passwordMsisdnToken];
