import { invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import { endpoint } from "../http/endpoint.ts";

const EVENTS = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
const ACTIONS = ["cancel", "restart", "send"] as const;
type Action = (typeof ACTIONS)[number];

export const listDelayedEvents = endpoint({
  servlet: "DelayedEventsServlet",
  method: "GET",
  path: EVENTS,
  auth: "user",
  limit: "delayedEventMgmt",
  handle: async (ctx, { requester }) => ({ delayed_events: await ctx.delayedEvents.list(requester) }),
});

export const updateDelayedEvent = endpoint({
  servlet: "UpdateDelayedEventServlet",
  method: "POST",
  path: `${EVENTS}/:delayId`,
  auth: "optional",
  limit: "delayedEventMgmt",
  emptyBody: false,
  handle(ctx, { params, body, requester, ip }) {
    const wanted = body["action"];
    if (wanted === undefined) throw missingParam("'action' is missing");
    const action = ACTIONS.find((known) => known === wanted);
    if (action === undefined) throw invalidParam(`'action' is not one of ${ACTIONS.map((known) => `'${known}'`).join(", ")}`);
    return update(ctx, action, params.delayId, requester, ip);
  },
});

export const cancelDelayedEvent = endpoint({
  servlet: "CancelDelayedEventServlet",
  method: "POST",
  path: `${EVENTS}/:delayId/cancel`,
  auth: "optional",
  limit: "delayedEventMgmt",
  bodyType: "none",
  handle: (ctx, { params, requester, ip }) => update(ctx, "cancel", params.delayId, requester, ip),
});

export const restartDelayedEvent = endpoint({
  servlet: "RestartDelayedEventServlet",
  method: "POST",
  path: `${EVENTS}/:delayId/restart`,
  auth: "optional",
  limit: "delayedEventMgmt",
  bodyType: "none",
  handle: (ctx, { params, requester, ip }) => update(ctx, "restart", params.delayId, requester, ip),
});

export const sendDelayedEvent = endpoint({
  servlet: "SendDelayedEventServlet",
  method: "POST",
  path: `${EVENTS}/:delayId/send`,
  auth: "optional",
  limit: "delayedEventMgmt",
  bodyType: "none",
  handle: (ctx, { params, requester, ip }) => update(ctx, "send", params.delayId, requester, ip),
});

/** Who knows the id may act, with or without a token. */
async function update(ctx: Context, action: Action, delayId: string, requester: Requester | undefined, ip: string): Promise<object> {
  if (requester?.isGuest) throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed");
  await ctx.limits.check("delayedEventMgmt", requester?.userId ?? ip, { requester });
  await ctx.delayedEvents[action](delayId);
  return {};
}

export const delayedEventRoutes = [listDelayedEvents, updateDelayedEvent, cancelDelayedEvent, restartDelayedEvent, sendDelayedEvent];
