import type { JsonObject } from "../../../lib/json.ts";
import type { Context } from "../../../services/context.ts";
import { sendEvent, ShadowBanned } from "../../../services/events/send.ts";
import type { Requester } from "../../../services/requester.ts";
import { endpoint } from "../../http/endpoint.ts";
import type { Query } from "../../http/query.ts";

export const ROOM = "/_matrix/client/(api/v1|r0|v3|unstable)/rooms/:roomId";

/** The event is not sent now, but after that many milliseconds (MSC4140). */
export const DELAY = "org.matrix.msc4140.delay";

export const sendMessage = endpoint({
  servlet: "RoomSendEventRestServlet",
  method: "PUT",
  path: `${ROOM}/send/:eventType/:txnId`,
  auth: "guest",
  limit: "message",
  lossless: true,
  handle: (ctx, { requester, params, query, body, url }) =>
    ctx.requestTransactions.once(
      requester,
      url.split("?")[0]!,
      async () => await send(ctx, requester, params.roomId, params.eventType, body, query, params.txnId),
    ),
});

export const sendMessageWithoutTransaction = endpoint({
  servlet: "RoomSendEventRestServlet",
  method: "POST",
  path: `${ROOM}/send/:eventType`,
  auth: "guest",
  limit: "message",
  lossless: true,
  emptyBody: false,
  handle: (ctx, { requester, params, query, body }) => send(ctx, requester, params.roomId, params.eventType, body, query, undefined),
});

async function send(
  ctx: Context,
  requester: Requester,
  roomId: string,
  type: string,
  content: JsonObject,
  query: Query,
  txnId: string | undefined,
): Promise<{ event_id: string } | { delay_id: string }> {
  const delay = query.natural(DELAY);
  if (delay !== undefined)
    return {
      delay_id: await ctx.delayedEvents.add(requester, { roomId, type, stateKey: undefined, content, delay, ...sendParameters(ctx, requester, query) }),
    };
  return await orFakeId(ctx, () => sendEvent(ctx, requester, { roomId, type, content, txnId, ...sendParameters(ctx, requester, query) }));
}

/** `ts` of appservices, and for how long the event is sticky. */
export function sendParameters(
  ctx: Pick<Context, "config">,
  requester: Requester,
  query: Query,
): { timestamp: number | undefined; stickyDurationMs: number | undefined } {
  return {
    timestamp: requester.appserviceId === undefined ? undefined : query.integer("ts"),
    stickyDurationMs: ctx.config.experimental.msc4354Enabled ? query.integer("org.matrix.msc4354.sticky_duration_ms") : undefined,
  };
}

/** Shadow-banned users are told that all went well. */
export async function orFakeId(ctx: Pick<Context, "random">, run: () => Promise<{ eventId: string }>): Promise<{ event_id: string }> {
  try {
    return { event_id: (await run()).eventId };
  } catch (error) {
    if (!(error instanceof ShadowBanned)) throw error;
    return { event_id: `$${ctx.random.letters(43)}` };
  }
}

export const sendRoutes = [sendMessage, sendMessageWithoutTransaction];
