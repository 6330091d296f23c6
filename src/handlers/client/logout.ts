import { logout as endSession, logoutAll as endAllSessions } from "../../services/accounts/sessions.ts";
import { accessToken } from "../http/authenticate.ts";
import { endpoint } from "../http/endpoint.ts";

/** Ends the session of the token, and deletes its device. */
export const logout = endpoint({
  servlet: "LogoutRestServlet",
  method: "POST",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/logout",
  auth: "user",
  bodyType: "none",
  allowLocked: true,
  allowExpired: true,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { requester, headers, query }) {
    await endSession(ctx, requester, accessToken(headers, query)!);
    return {};
  },
});

/** Ends all sessions of the user. */
export const logoutAll = endpoint({
  servlet: "LogoutAllRestServlet",
  method: "POST",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/logout/all",
  auth: "user",
  bodyType: "none",
  allowLocked: true,
  allowExpired: true,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { requester }) {
    await endAllSessions(ctx, requester.userId);
    return {};
  },
});
