import { toNumber } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { searchUsers } from "../../services/directory/user-directory.ts";
import { endpoint } from "../http/endpoint.ts";

export const searchUserDirectory = endpoint({
  servlet: "UserDirectorySearchRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/user_directory/search",
  auth: "user",
  async handle(ctx, { requester, body }) {
    if (!ctx.config.userDirectory.enabled) return { limited: false, results: [] };
    await ctx.limits.check("userDirectory", requester.userId, { requester });
    if (typeof body.search_term !== "string") throw new MatrixError(400, "M_UNKNOWN", "`search_term` is required field");
    return await searchUsers(ctx, requester.userId, body.search_term, Math.trunc(toNumber(body.limit) ?? 10));
  },
});

export const userDirectoryRoutes = [searchUserDirectory];
