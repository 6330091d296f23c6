import type { JsonObject } from "../../../lib/json.ts";
import { invalidParam, notFound } from "../../../protocol/errors.ts";
import type { Context } from "../../../services/context.ts";
import { redactRelated } from "../../../services/events/redact-related.ts";
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
  const { [WITH_RELATIONS]: related, ...rest } = content;
  const withRelations = ctx.config.experimental.msc3912Enabled && Array.isArray(related) ? related.filter((type) => typeof type === "string") : [];
  const sent = withRelations.length > 0 ? rest : content;
  return await orFakeId(ctx, async () => {
    const redaction = await sendEvent(ctx, requester, { roomId, type: "m.room.redaction", content: sent, redacts: eventId, txnId });
    if (withRelations.length > 0) {
      // The answer does not wait for as many redactions as there are relations.
      const { redacts: _, ...reason } = sent;
      redactRelated(ctx, requester, { roomId, eventId }, withRelations, reason).catch((error: unknown) =>
        ctx.log.named("synapse.handlers.relations").error(`What relates to ${eventId} could not be redacted`, { error }),
      );
    }
    return redaction;
  });
}

/** MSC3912: relation types whose events are redacted along. */
const WITH_RELATIONS = "org.matrix.msc3912.with_relations";

export const redactRoutes = [redactEvent, redactEventWithoutTransaction];
