import { createLoginToken } from "../../services/accounts/login.ts";
import { requireInteractiveAuth } from "../../services/accounts/uia.ts";
import { endpoint } from "../http/endpoint.ts";

/** A token with which another client of the same user logs in (MSC3882). */
export const requestLoginToken = endpoint({
  servlet: "LoginTokenRequestServlet",
  method: "POST",
  path: ["/_matrix/client/v1/login/get_token", "/_matrix/client/unstable/org.matrix.msc3882/login/token"],
  auth: "user",
  emptyBody: false,
  limit: "loginTokenRequest",
  when: (config) => config.auth.loginViaExistingEnabled,
  async handle(ctx, request) {
    const { userId } = request.requester;
    const { loginViaExistingRequireUiAuth, loginViaExistingTokenTimeoutMs: lifetimeMs } = ctx.config.auth;
    if (loginViaExistingRequireUiAuth)
      await requireInteractiveAuth(ctx, request.requester, request, { description: "issue a new access token for your account" });
    await ctx.limits.check("loginTokenRequest", userId.toLowerCase());
    return { login_token: await createLoginToken(ctx, userId, { lifetimeMs }), expires_in: Math.floor(lifetimeMs / 1000), expires_in_ms: lifetimeMs };
  },
});
