import { notFound } from "../../protocol/errors.ts";
import { renewByToken, sendRenewalMail } from "../../services/accounts/validity.ts";
import { endpoint } from "../http/endpoint.ts";
import { noteRefusal } from "../http/errors.ts";
import { PAGE_HEADERS } from "../http/html-errors.ts";
import { html } from "../http/reply.ts";

/** The link of a renewal mail. */
export const renewAccount = endpoint({
  servlet: "AccountValidityRenewServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/account_validity/renew",
  auth: "none",
  async handle(ctx, { query }) {
    const { accountRenewedHtml, invalidTokenHtml, templateDir } = ctx.config.accountValidity;
    const renewal = await renewByToken(ctx, query.requiredString("token"));
    if (renewal.outcome === "unknown") {
      noteRefusal(ctx, notFound("There is no account with this renewal token"));
      return html(404, ctx.templates.render(invalidTokenHtml, { expiration_ts: 0 }, templateDir), PAGE_HEADERS);
    }
    const template = renewal.outcome === "renewed" ? accountRenewedHtml : "account_previously_renewed.html";
    return html(200, ctx.templates.render(template, { expiration_ts: renewal.expiresAt }, templateDir), PAGE_HEADERS);
  },
});

/** Sends the mail anew, also to users whose account has expired. */
export const sendRenewal = endpoint({
  servlet: "AccountValiditySendMailServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account_validity/send_mail",
  auth: "user",
  bodyType: "none",
  allowExpired: true,
  async handle(ctx, { requester }) {
    await sendRenewalMail(ctx, requester.userId);
    return {};
  },
});

export const accountValidityRoutes = [renewAccount, sendRenewal];
