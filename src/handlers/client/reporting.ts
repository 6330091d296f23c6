import { z } from "zod";
import { badJson } from "../../protocol/errors.ts";
import { reportEvent, reportRoom, reportUser } from "../../services/rooms/reports.ts";
import { endpoint } from "../http/endpoint.ts";

export const postEventReport = endpoint({
  servlet: "ReportEventRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/rooms/:roomId/report/:eventId",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { requester, params, body }) {
    if (body.reason !== undefined && typeof body.reason !== "string") throw badJson("Param 'reason' must be a string");
    if (!ctx.config.experimental.msc4277Enabled && body.score !== undefined && !Number.isSafeInteger(body.score))
      throw badJson("Param 'score' must be an integer");
    await reportEvent(ctx, requester, params.roomId, params.eventId, body);
    return {};
  },
});

const reasonBody = z.object({ reason: z.string() });

export const postRoomReport = endpoint({
  servlet: "ReportRoomRestServlet",
  method: "POST",
  path: "/_matrix/client/v3/rooms/:roomId/report",
  auth: "user",
  body: reasonBody,
  async handle(ctx, { requester, params, body }) {
    await reportRoom(ctx, requester, params.roomId, body.reason);
    return {};
  },
});

export const postUserReport = endpoint({
  servlet: "ReportUserRestServlet",
  method: "POST",
  path: "/_matrix/client/v3/users/:targetUserId/report",
  auth: "user",
  body: reasonBody,
  async handle(ctx, { requester, params, body }) {
    await reportUser(ctx, requester, params.targetUserId, body.reason);
    return {};
  },
});

export const reportRoutes = [postEventReport, postRoomReport, postUserReport];
