import type { JsonObject } from "../../lib/json.ts";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import { LoginError } from "../../services/accounts/login-error.ts";
import { termsUrl } from "../../services/accounts/uia-stages.ts";
import { completeStage } from "../../services/accounts/uia.ts";
import type { Context } from "../../services/context.ts";
import { endpoint } from "../http/endpoint.ts";
import { Query } from "../http/query.ts";
import { html, type RawReply, redirect, type Reply } from "../http/reply.ts";
import { orErrorPage } from "../../services/sso/answers.ts";
import { browserReply } from "../synapse/client/browser-answer.ts";

const PATH = "/_matrix/client/(r0|v3|unstable)/auth/:stagetype/fallback/web";

/** The stage that sends to the account management of the authentication service (MSC4312), by its stable and its first name. */
const CROSS_SIGNING_RESET: ReadonlySet<string> = new Set(["m.oauth", "org.matrix.cross_signing_reset"]);

/** Pages for stages that a client leaves to the browser. The form posts back to the same address. */
const PAGES: Readonly<
  Record<
    string,
    { readonly template: string; readonly values: (ctx: Context) => Record<string, unknown>; readonly field?: { name: string; key: string; missing: string } }
  >
> = {
  "m.login.recaptcha": {
    template: "recaptcha.html",
    values: (ctx) => ({ sitekey: ctx.config.captcha.recaptchaPublicKey }),
    field: { name: "g-recaptcha-response", key: "response", missing: "No captcha response supplied" },
  },
  "m.login.terms": { template: "terms.html", values: (ctx) => ({ terms_url: termsUrl(ctx) }) },
  "m.login.registration_token": {
    template: "registration_token.html",
    values: () => ({}),
    field: { name: "token", key: "token", missing: "Missing string query parameter token" },
  },
};

/** The page of a stage. */
export const authFallbackPage = endpoint({
  servlet: "AuthRestServlet",
  method: "GET",
  path: PATH,
  auth: "none",
  async handle(ctx, { params, query, headers, ip }): Promise<RawReply | Reply> {
    const session = query.string("session");
    if (!session) throw noSession();
    const { stagetype: stageType } = params;
    if (ctx.delegatedAuth !== undefined && CROSS_SIGNING_RESET.has(stageType)) return redirect(await ctx.delegatedAuth.crossSigningResetUrl());
    if (stageType === "m.login.sso") {
      const start = ctx.accountHooks.startSsoAuth;
      if (start === undefined) throw notFound("Unknown auth stage type");
      const idpId = ctx.config.experimental.msc4450Enabled ? query.string("io.element.idp_id") : undefined;
      return browserReply(await orErrorPage(ctx, async () => ({ status: 200, ...(await start(ctx, { session, idpId, headers, ip })) })));
    }
    return html(200, page(ctx, stageType, session));
  },
});

/** What the form of such a page sends. */
export const authFallbackSubmit = endpoint({
  servlet: "AuthRestServlet",
  method: "POST",
  path: PATH,
  auth: "none",
  bodyType: "raw",
  maxBody: 65_536,
  async handle(ctx, { params, query, body, ip }) {
    // As Synapse reads it: from the query or from the form.
    const form = new Query((body as unknown as Buffer).toString("utf8"));
    const given = (name: string): string | undefined => query.string(name) ?? form.string(name);
    const session = given("session");
    if (!session) throw noSession();
    const { stagetype: stageType } = params;
    if (stageType === "m.login.sso") throw new MatrixError(404, "M_UNKNOWN", "Fallback SSO auth does not support POST requests.");
    const spec = pageSpec(stageType);
    const auth: JsonObject = { session };
    if (spec.field !== undefined) {
      const value = given(spec.field.name);
      if (!value) throw new MatrixError(400, "M_UNKNOWN", spec.field.missing);
      auth[spec.field.key] = value;
    }
    try {
      await completeStage(ctx, stageType, auth, ip);
    } catch (error) {
      if (error instanceof LoginError) return html(200, page(ctx, stageType, session, error.message));
      throw error;
    }
    return html(200, ctx.templates.render("auth_success.html"));
  },
});

function page(ctx: Context, stageType: string, session: string, error?: string): string {
  const { template, values } = pageSpec(stageType);
  return ctx.templates.render(template, {
    session,
    myurl: `/_matrix/client/v3/auth/${stageType}/fallback/web`,
    ...values(ctx),
    ...(error === undefined ? {} : { error }),
  });
}

function pageSpec(stageType: string): (typeof PAGES)[string] {
  const spec = Object.hasOwn(PAGES, stageType) ? PAGES[stageType] : undefined;
  if (spec === undefined) throw new MatrixError(404, "M_UNKNOWN", "Unknown auth stage type");
  return spec;
}

const noSession = (): MatrixError => new MatrixError(400, "M_UNKNOWN", "No session supplied");
