import { invalidParam } from "../../protocol/errors.ts";
import { sendReceipt, setReadMarker } from "../../services/receipts/receipts.ts";
import { endpoint } from "../http/endpoint.ts";
import { readAllowBackward } from "./receipts.ts";

export const postReadMarkers = endpoint({
  servlet: "ReadMarkerRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/rooms/:roomId/read_markers",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { requester, params, body }) {
    const { userId, deviceId } = requester;
    await ctx.presence.bumpActive(userId, deviceId);
    const allowBackward = readAllowBackward(ctx, body);
    for (const receiptType of ["m.read", "m.fully_read", "m.read.private"] as const) {
      const eventId = body[receiptType];
      if (eventId === undefined || eventId === null || eventId === "") continue;
      if (typeof eventId !== "string" || eventId.includes("\0")) throw invalidParam(`${receiptType} must be an event ID`);
      if (receiptType === "m.fully_read") await setReadMarker(ctx, userId, params.roomId, eventId, allowBackward);
      else await sendReceipt(ctx, { roomId: params.roomId, receiptType, userId, eventId, threadId: undefined });
    }
    return {};
  },
});

export const readMarkerRoutes = [postReadMarkers];
