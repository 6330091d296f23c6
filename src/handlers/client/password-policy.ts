import { passwordPolicy as policy } from "../../services/accounts/passwords.ts";
import { endpoint } from "../http/endpoint.ts";

/** The rules that passwords must keep (MSC2000). */
export const passwordPolicy = endpoint({
  servlet: "PasswordPolicyServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/password_policy",
  auth: "none",
  handle: (ctx) => policy(ctx),
});
