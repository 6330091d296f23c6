import type { JsonObject } from "../../../lib/json.ts";
import { invalidParam, notFound } from "../../../protocol/errors.ts";
import type { Context } from "../../../services/context.ts";
import { sendEvent } from "../../../services/events/send.ts";
import type { Requester } from "../../../services/requester.ts";
import { endpoint } from "../../http/endpoint.ts";
import { orFakeId, ROOM } from "./send.ts";

export const redactEvent = endpoint({
  servlet: "RoomRedactEventRestServlet",
  method: "PUT",
  path: `${ROOM}/redact/:eventId/:txnId`,
  auth: "user",
  lossless: true,
  handle: (ctx, { requester, params, body, url }) =>
    ctx.requestTransactions.once(requester, url.split("?")[0]!, async () => await redact(ctx, requester, params.roomId, params.eventId, body, params.txnId)),
});

export const redactEventWithoutTransaction = endpoint({
  servlet: "RoomRedactEventRestServlet",
  method: "POST",
  path: `${ROOM}/redact/:eventId`,
  auth: "user",
  lossless: true,
  emptyBody: false,
  handle: (ctx, { requester, params, body }) => redact(ctx, requester, params.roomId, params.eventId, body, undefined),
});

/** Clients may send the event to redact in the content as room version 11 has it, but no other one than the path names. */
async function redact(
  ctx: Context,
  requester: Requester,
  roomId: string,
  eventId: string,
  content: JsonObject,
  txnId: string | undefined,
): Promise<{ event_id: string }> {
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined) throw notFound(`Could not find room version for ${roomId}`);
  if (version.redactsInContent && content.redacts !== undefined && content.redacts !== eventId) {
    throw invalidParam("Cannot provide a redacts value incoherent with the event_id of the URL parameter");
  }
  return await orFakeId(ctx, () => sendEvent(ctx, requester, { roomId, type: "m.room.redaction", content, redacts: eventId, txnId }));
}

export const redactRoutes = [redactEvent, redactEventWithoutTransaction];
