import { missingParam } from "../../../protocol/errors.ts";
import { endpoint } from "../../http/endpoint.ts";
import { htmlErrors, PAGE_HEADERS } from "../../http/html-errors.ts";
import { Query } from "../../http/query.ts";
import { html } from "../../http/reply.ts";
import { readEmailedLink, submitEmailedLink } from "../../submit-token.ts";

const PATH = "/_synapse/client/password_reset/email/submit_token";

/** The link of the mail: asks whether the password is to be reset indeed, so that nothing happens by a visit alone. */
export const confirmPasswordReset = endpoint({
  servlet: "PasswordResetSubmitTokenResource",
  method: "GET",
  path: PATH,
  auth: "none",
  when: (config) => config.email.canVerifyEmail && !config.mas.enabled,
  handle: (ctx, { query }) =>
    htmlErrors(ctx, async () => {
      const { sid, clientSecret, token } = readEmailedLink(required((name) => query.string(name)));
      const { passwordResetConfirmationHtml } = ctx.config.email.templates;
      const page = ctx.templates.render(passwordResetConfirmationHtml, { sid, token, client_secret: clientSecret }, ctx.config.email.templateDir);
      return await Promise.resolve(html(200, page, PAGE_HEADERS));
    }),
});

/** The answer to that page: the address is proven, and the client may set a new password. */
export const submitPasswordReset = endpoint({
  servlet: "PasswordResetSubmitTokenResource",
  method: "POST",
  path: PATH,
  auth: "none",
  bodyType: "raw",
  maxBody: 65_536,
  when: (config) => config.email.canVerifyEmail && !config.mas.enabled,
  handle: (ctx, { query, body }) =>
    htmlErrors(ctx, async () => {
      const form = new Query((body as unknown as Buffer).toString("utf8"));
      const link = readEmailedLink(required((name) => query.string(name) ?? form.string(name)));
      const { passwordResetSuccessHtml: success, passwordResetFailureHtml: failure } = ctx.config.email.templates;
      return await submitEmailedLink(ctx, link, { success, failure });
    }),
});

export const passwordResetRoutes = [confirmPasswordReset, submitPasswordReset];

const required =
  (given: (name: string) => string | undefined) =>
  (name: string): string => {
    const value = given(name);
    if (value === undefined) throw missingParam(`Missing required string query parameter ${name}`);
    return value;
  };
