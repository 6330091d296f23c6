import { invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import { login as logIn, loginFlows } from "../../services/accounts/login.ts";
import { refreshSession } from "../../services/accounts/sessions.ts";
import { clientWellKnown } from "../../services/well-known.ts";
import { accessToken } from "../http/authenticate.ts";
import { endpoint } from "../http/endpoint.ts";

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
  async handle(ctx, { body, ip, userAgent, headers, query }) {
    const requester = (): ReturnType<typeof ctx.authenticate> => {
      const token = accessToken(headers, query);
      if (token === undefined) throw new MatrixError(401, "M_MISSING_TOKEN", "Missing access token");
      return ctx.authenticate({
        token,
        asUser: query.string("user_id"),
        asDevice: query.string("device_id"),
        ip,
        userAgent,
        allowGuest: false,
        allowLocked: false,
        allowExpired: false,
      });
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
