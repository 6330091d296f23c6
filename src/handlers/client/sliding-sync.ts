import { unrecognized } from "../../protocol/errors.ts";
import { checkBlocking } from "../../services/accounts/blocking.ts";
import { parsePosition, slidingSync } from "../../services/sliding-sync/sliding-sync.ts";
import { slidingSyncBody } from "../../services/sliding-sync/request.ts";
import { endpoint } from "../http/endpoint.ts";

export const postSlidingSync = endpoint({
  servlet: "SlidingSyncRestServlet",
  method: "POST",
  path: "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
  auth: "guest",
  emptyBody: false,
  body: slidingSyncBody,
  async handle(ctx, { requester, query, body, signal }) {
    if (!(await ctx.features.has(requester.userId, "msc3575"))) throw unrecognized();
    const pos = query.string("pos");
    const request = { requester, position: pos === undefined ? undefined : parsePosition(pos), body, timeoutMs: query.integer("timeout", 0) };
    await checkBlocking(ctx, { requester });
    return await slidingSync(ctx, request, signal);
  },
});

export const slidingSyncRoutes = [postSlidingSync];
