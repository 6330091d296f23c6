import { checkUsername } from "../../services/accounts/usernames.ts";
import { endpoint } from "../http/endpoint.ts";

/** Whether somebody could register under the name, also where registration is closed. */
export const adminUsernameAvailable = endpoint({
  servlet: "UsernameAvailableRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/username_available",
  auth: "admin",
  async handle(ctx, { query }) {
    await checkUsername(ctx, query.requiredString("username"));
    return { available: true };
  },
});
