import { toNumber } from "../../../lib/json.ts";
import { forbidden, invalidParam, MatrixError, missingParam } from "../../../protocol/errors.ts";
import { isUserId } from "../../../protocol/ids.ts";
import { endpoint } from "../../http/endpoint.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_TIMEOUT_MS = 120_000;

export const putTyping = endpoint({
  servlet: "RoomTypingRestServlet",
  method: "PUT",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/rooms/:roomId/typing/:userId",
  auth: "user",
  async handle(ctx, { requester, params, body }) {
    const { roomId, userId } = params;
    await ctx.presence.bumpActive(requester.userId, requester.deviceId);
    if (!isUserId(userId)) throw invalidParam("Expected UserID string to start with '@'");
    if (userId !== requester.userId) throw new MatrixError(400, "M_FORBIDDEN", "Cannot set another user's typing state");
    if (body.typing === undefined) throw missingParam("Missing key 'typing'");
    const asked = body.timeout === undefined ? DEFAULT_TIMEOUT_MS : toNumber(body.timeout);
    if (asked === undefined) throw invalidParam("timeout must be a number");
    // Shadow-banned users type unseen.
    if (requester.shadowBanned) return {};
    if (!(await ctx.members.joinedLocal(roomId)).has(userId)) throw forbidden(`User ${userId} not in room ${roomId}`);
    if (body.typing) ctx.typing.started(roomId, userId, Math.max(0, Math.min(asked, MAX_TIMEOUT_MS)));
    else ctx.typing.stopped(roomId, userId);
    return {};
  },
});

export const typingRoutes = [putTyping];
