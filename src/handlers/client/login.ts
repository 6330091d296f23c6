import { invalidParam, missingParam, missingToken } from "../../protocol/errors.ts";
import { login as logIn, loginFlows } from "../../services/accounts/login.ts";
import { refreshSession } from "../../services/accounts/sessions.ts";
import { clientWellKnown } from "../../services/well-known.ts";
import { authenticateIfAsked } from "../http/authenticate.ts";
import type { Config } from "../../config/config.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import { orErrorPage } from "../../services/sso/answers.ts";
import { beginLogin } from "../../services/sso/redirects.ts";
import { browserPage, browserReply } from "../synapse/client/browser-answer.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";
import { type RawReply, redirect, type Reply } from "../http/reply.ts";

/** What can be used to log in. */
export const getLogin = endpoint({
  servlet: "LoginRestServlet",
  method: "GET",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/login",
  auth: "none",
  when: (config) => !config.mas.enabled,
  handle: (ctx) => ({ flows: loginFlows(ctx) }),
});

/** Logs in: password, token, JWT, appservice. */
export const postLogin = endpoint({
  servlet: "LoginRestServlet",
  method: "POST",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/login",
  auth: "none",
  emptyBody: false,
  limit: "loginAddress",
  when: (config) => !config.mas.enabled,
  async handle(ctx, request) {
    const { body, ip, userAgent } = request;
    const requester = async (): Promise<Requester> => {
      const found = await authenticateIfAsked(ctx, request);
      if (found === undefined) throw missingToken();
      return found;
    };
    const answer = await logIn(ctx, { body, ip, userAgent, requester });
    const wellKnown = await clientWellKnown(ctx);
    return wellKnown === undefined ? answer : { ...answer, well_known: wellKnown };
  },
});

/** A new access token for a refresh token. */
export const refresh = endpoint({
  servlet: "RefreshTokenServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/refresh",
  auth: "none",
  emptyBody: false,
  when: (config) => !config.mas.enabled && config.registration.refreshableAccessTokenLifetimeMs !== undefined,
  async handle(ctx, { body }) {
    const token = body["refresh_token"];
    if (token === undefined) throw missingParam("Missing params: ['refresh_token']");
    if (typeof token !== "string" || token.includes("\0")) throw invalidParam("Invalid param: refresh_token");
    const { accessToken: access, refreshToken, expiresInMs } = await refreshSession(ctx, token);
    return { access_token: access, refresh_token: refreshToken, expires_in_ms: expiresInMs };
  },
});

const hasSso = (config: Config): boolean => !config.mas.enabled && (config.cas.enabled || config.saml2.enabled || config.oidc.enabled);

interface RedirectRequest {
  readonly query: Query;
  readonly url: string;
  readonly headers: { readonly host?: string | undefined; readonly "x-forwarded-proto"?: string | string[] | undefined };
}

/** Sends the browser to an identity provider, or to the page that asks which one. */
export const ssoRedirect = endpoint({
  servlet: "SsoRedirectServlet",
  method: "GET",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/login/(cas|sso)/redirect",
  auth: "none",
  when: hasSso,
  handle: (ctx, request) => redirectToProvider(ctx, request, undefined),
});

/** As above, for a provider that the client chose (MSC2858). */
export const ssoRedirectToIdp = endpoint({
  servlet: "SsoRedirectServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3)/login/sso/redirect/:idpId",
  auth: "none",
  when: hasSso,
  handle: (ctx, request) => redirectToProvider(ctx, request, request.params.idpId),
});

/** Back from the CAS server, with a ticket. */
export const casTicket = endpoint({
  servlet: "CasTicketServlet",
  method: "GET",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/login/cas/ticket",
  auth: "none",
  when: (config) => !config.mas.enabled && config.cas.enabled,
  handle(ctx, { query, headers, userAgent, ip }) {
    const ticket = query.requiredString("ticket");
    const [clientRedirectUrl, session] = [query.string("redirectUrl"), query.string("session")];
    if (!clientRedirectUrl && !session) throw missingParam("Missing string query parameter redirectUrl or session");
    // The service that the ticket was given for: it names the session, or where the client is.
    const purpose = session ? { uiAuthSessionId: session } : { clientRedirectUrl: clientRedirectUrl! };
    return browserPage(ctx, () => ctx.sso.cas!.handleTicket(ctx, { ticket, purpose, cookies: headers.cookie, userAgent, ip }));
  },
});

async function redirectToProvider(ctx: Context, request: RedirectRequest, providerId: string | undefined): Promise<RawReply | Reply> {
  const canonical = canonicalUrl(ctx, request);
  if (canonical !== undefined) return redirect(canonical);
  const clientRedirectUrl = request.query.requiredString("redirectUrl");
  const parameter = (name: string): string | undefined => request.query.string(name);
  return browserReply(await orErrorPage(ctx, () => beginLogin(ctx, { clientRedirectUrl, providerId, parameter })));
}

/**
 * Where the request should have gone: the cookies of the login come back to `public_baseurl` alone. undefined when it is there, as far as
 * the host, and the scheme where a proxy tells it, say.
 */
function canonicalUrl({ config }: Pick<Context, "config">, { url, headers }: RedirectRequest): string | undefined {
  const base = new URL(config.server.publicBaseurl);
  const forwarded = headers["x-forwarded-proto"];
  const scheme = typeof forwarded === "string" ? forwarded.split(",")[0]!.trim().toLowerCase() : undefined;
  const host = (headers.host ?? "").toLowerCase();
  const sameHost = host === "" || host === base.host || host === `${base.hostname}:${base.port || (base.protocol === "https:" ? "443" : "80")}`;
  const sameScheme = (scheme !== "http" && scheme !== "https") || `${scheme}:` === base.protocol;
  return sameHost && sameScheme ? undefined : `${config.server.publicBaseurl.replace(/\/$/, "")}${url.slice(url.indexOf("/_matrix"))}`;
}
