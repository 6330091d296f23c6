import { z } from "zod";
import { MatrixError } from "../../../protocol/errors.ts";
import { requireInteractiveAuth } from "../../../services/accounts/uia.ts";
import type { Context } from "../../../services/context.ts";
import { bindThreepid, unbindThreepid } from "../../../services/threepid/bind.ts";
import { changesDisabled } from "../../../services/threepid/email.ts";
import { submitMsisdnToken } from "../../../services/threepid/msisdn.ts";
import { addProvenThreepid, readCredentials, removeThreepid } from "../../../services/threepid/threepids.ts";
import { checkBody } from "../../http/body.ts";
import { endpoint } from "../../http/endpoint.ts";
import { readEmailedLink, submitEmailedLink } from "../../submit-token.ts";
import { clientSecret, VERSIONS } from "./token-route.ts";

const sid = z.string().max(255);
const text = z
  .string()
  .max(500)
  .refine((value) => !value.includes("\0"), "must not hold NUL");
const session = z.looseObject({ client_secret: clientSecret, sid });
const binding = z.object({ client_secret: clientSecret, sid, id_server: z.string(), id_access_token: z.string().max(10_000) });
const removal = z.object({ address: text, medium: z.enum(["email", "msisdn"]), id_server: z.string().nullish() });

function requireChanges(ctx: Pick<Context, "config">): void {
  if (!ctx.config.registration.enable3pidChanges) throw changesDisabled();
}

/** Adds a proven address to the account; the older way, without user-interactive authentication. */
export const addThreepidOfOld = endpoint({
  servlet: "ThreepidRestServlet",
  method: "POST",
  path: `${VERSIONS}/account/3pid`,
  auth: "user",
  emptyBody: false,
  async handle(ctx, { body, requester }) {
    if (ctx.config.mas.enabled) throw new MatrixError(404, "M_UNRECOGNIZED", "Not found");
    requireChanges(ctx);
    await addProvenThreepid(ctx, requester.userId, readCredentials(body));
    return {};
  },
});

/** Adds a proven address to the account. */
export const addThreepid = endpoint({
  servlet: "ThreepidAddRestServlet",
  method: "POST",
  path: `${VERSIONS}/account/3pid/add`,
  auth: "user",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, request) {
    requireChanges(ctx);
    const { requester } = request;
    const body = checkBody(session, request.body);
    await requireInteractiveAuth(ctx, requester, request, { description: "add a third-party identifier to your account" });
    await addProvenThreepid(ctx, requester.userId, { sid: body.sid, clientSecret: body.client_secret });
    return {};
  },
});

/** Tells an identity server that the user owns an address that it verified. */
export const bind = endpoint({
  servlet: "ThreepidBindRestServlet",
  method: "POST",
  path: `${VERSIONS}/account/3pid/bind`,
  auth: "user",
  body: binding,
  async handle(ctx, { body, requester }) {
    await bindThreepid(ctx, requester.userId, {
      sid: body.sid,
      clientSecret: body.client_secret,
      idServer: body.id_server,
      idAccessToken: body.id_access_token,
    });
    return {};
  },
});

/** Takes that back. */
export const unbind = endpoint({
  servlet: "ThreepidUnbindRestServlet",
  method: "POST",
  path: `${VERSIONS}/account/3pid/unbind`,
  auth: "user",
  body: removal,
  async handle(ctx, { body, requester }) {
    const unbound = await unbindThreepid(ctx, requester.userId, body, body.id_server || undefined);
    return { id_server_unbind_result: unbound ? "success" : "no-support" };
  },
});

/** Takes an address from the account. */
export const deleteThreepid = endpoint({
  servlet: "ThreepidDeleteRestServlet",
  method: "POST",
  path: `${VERSIONS}/account/3pid/delete`,
  auth: "user",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body: raw, requester }) {
    requireChanges(ctx);
    const body = checkBody(removal, raw);
    let unbound: boolean;
    try {
      unbound = await unbindThreepid(ctx, requester.userId, body, body.id_server || undefined);
    } catch (error) {
      if (error instanceof MatrixError && error.status === 400) throw error;
      throw new MatrixError(500, "M_UNKNOWN", "Failed to remove threepid");
    }
    await removeThreepid(ctx, requester.userId, body.medium, body.address);
    return { id_server_unbind_result: unbound ? "success" : "no-support" };
  },
});

/** The link of the mail to an address that the user wants to add. */
export const submitEmail = endpoint({
  servlet: "AddThreepidEmailSubmitTokenServlet",
  method: "GET",
  path: "/_matrix/client/unstable/add_threepid/email/submit_token",
  auth: "none",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { query }) {
    if (!ctx.config.email.canVerifyEmail) {
      throw new MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "Adding an email to your account is disabled on this server");
    }
    const { addThreepidSuccessHtml: success, addThreepidFailureHtml: failure } = ctx.config.email.templates;
    return await submitEmailedLink(
      ctx,
      readEmailedLink((name) => query.requiredString(name)),
      { success, failure },
    );
  },
});

/** The code of the message to a phone. */
export const submitMsisdn = endpoint({
  servlet: "AddThreepidMsisdnSubmitTokenServlet",
  method: "POST",
  path: "/_matrix/client/unstable/add_threepid/msisdn/submit_token",
  auth: "none",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body: raw }) {
    if (ctx.config.registration.threepidDelegateMsisdn === undefined && ctx.config.myelin.sms === undefined) {
      throw new MatrixError(400, "M_UNKNOWN", "This homeserver is not validating phone numbers. Use an identity server instead.");
    }
    const body = checkBody(z.object({ client_secret: clientSecret, sid, token: z.string().max(255) }), raw);
    return await submitMsisdnToken(ctx, { clientSecret: body.client_secret, sid: body.sid, token: body.token });
  },
});

export const threepidRoutes = [addThreepidOfOld, addThreepid, bind, unbind, deleteThreepid, submitEmail, submitMsisdn];
