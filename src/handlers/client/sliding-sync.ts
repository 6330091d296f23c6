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
  handle(ctx, { requester, query, body, signal }) {
    const pos = query.string("pos");
    return slidingSync(ctx, { requester, position: pos === undefined ? undefined : parsePosition(pos), body, timeoutMs: query.integer("timeout", 0) }, signal);
  },
});

export const slidingSyncRoutes = [postSlidingSync];
