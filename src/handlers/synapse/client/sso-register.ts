import { registerNewUser } from "../../../services/sso/new-user.ts";
import { endpoint } from "../../http/endpoint.ts";
import { browserPage, mappingSession } from "./browser-answer.ts";

/** Makes the account of a new user, and goes back to the client. */
const ssoRegister = endpoint({
  servlet: "SsoRegisterResource",
  method: "GET",
  path: "/_synapse/client/sso_register",
  auth: "none",
  handle: (ctx, { headers, userAgent, ip }) => browserPage(ctx, () => registerNewUser(ctx, mappingSession(headers), { userAgent, ip })),
});

export const ssoRegisterRoutes = [ssoRegister];
