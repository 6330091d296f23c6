import { forbidden, invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import { presenceContent } from "../../services/presence/streams.ts";
import { endpoint } from "../http/endpoint.ts";

const PATH = "/_matrix/client/(api/v1|r0|v3|unstable)/presence/:userId/status";

export const getPresence = endpoint({
  servlet: "PresenceStatusRestServlet",
  method: "GET",
  path: PATH,
  auth: "user",
  async handle(ctx, { requester, params }) {
    if (!ctx.presence.enabled) return { presence: "offline" };
    if (!isUserId(params.userId)) throw invalidParam("Expected UserID string to start with '@'");
    if (!(await ctx.presence.isVisible(params.userId, requester.userId))) throw forbidden("You are not allowed to see their presence.");
    const states = await ctx.presence.get([params.userId]);
    return presenceContent(states.get(params.userId)!, ctx.clock.now(), false);
  },
});

export const putPresence = endpoint({
  servlet: "PresenceStatusRestServlet",
  method: "PUT",
  path: PATH,
  auth: "user",
  limit: "presencePerUser",
  async handle(ctx, { requester, params, body }) {
    if (!isUserId(params.userId)) throw invalidParam("Expected UserID string to start with '@'");
    if (params.userId !== requester.userId) throw forbidden("Can only set your own presence state");
    await ctx.limits.check("presencePerUser", requester.userId, { requester });
    const { presence, status_msg: statusMsg, ...others } = body;
    if (statusMsg !== undefined && typeof statusMsg !== "string") throw new MatrixError(400, "M_UNKNOWN", "status_msg must be a string.");
    if (typeof presence !== "string" || Object.keys(others).length > 0) throw new MatrixError(400, "M_UNKNOWN", "Unable to parse state");
    // Postgres cannot hold U+0000.
    await ctx.presence.set(params.userId, requester.deviceId, presence, statusMsg?.replaceAll("\0", ""));
    return {};
  },
});

export const presenceRoutes = [getPresence, putPresence];
