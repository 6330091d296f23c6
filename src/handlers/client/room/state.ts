import type { JsonObject } from "../../../lib/json.ts";
import { invalidParam, MatrixError, notFound } from "../../../protocol/errors.ts";
import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import { isUserId } from "../../../protocol/ids.ts";
import type { Context } from "../../../services/context.ts";
import { sendEvent } from "../../../services/events/send.ts";
import { presentEvent, presentEvents } from "../../../services/present.ts";
import type { Requester } from "../../../services/requester.ts";
import { requireReadAccess } from "../../../services/room-access/access.ts";
import type { MembershipAction } from "../../../services/rooms/local-membership.ts";
import { updateMembership } from "../../../services/rooms/membership.ts";
import type { StatePair } from "../../../storage/state/snapshot.ts";
import { endpoint } from "../../http/endpoint.ts";
import type { Query } from "../../http/query.ts";
import { DELAY, orFakeId, ROOM, sendParameters } from "./send.ts";

export const getState = endpoint({
  servlet: "RoomStateRestServlet",
  method: "GET",
  path: `${ROOM}/state`,
  auth: "guest",
  async handle(ctx, { requester, params }) {
    return await presentEvents(ctx, requester, await stateFor(ctx, requester, params.roomId), { previous: true });
  },
});

const WITHOUT_KEY = [`${ROOM}/state/:eventType`, `${ROOM}/state/:eventType/`] as const;

export const getStateEvent = endpoint({
  servlet: "RoomStateEventRestServlet",
  method: "GET",
  path: WITHOUT_KEY,
  auth: "guest",
  handle: (ctx, { requester, params, query }) => read(ctx, requester, params.roomId, params.eventType, "", query),
});

export const getStateEventWithKey = endpoint({
  servlet: "RoomStateEventRestServlet",
  method: "GET",
  path: `${ROOM}/state/:eventType/:stateKey`,
  auth: "guest",
  handle: (ctx, { requester, params, query }) => read(ctx, requester, params.roomId, params.eventType, params.stateKey, query),
});

export const putStateEvent = endpoint({
  servlet: "RoomStateEventRestServlet",
  method: "PUT",
  path: WITHOUT_KEY,
  auth: "guest",
  lossless: true,
  handle: (ctx, { requester, params, query, body }) => write(ctx, requester, params.roomId, params.eventType, "", body, query),
});

export const putStateEventWithKey = endpoint({
  servlet: "RoomStateEventRestServlet",
  method: "PUT",
  path: `${ROOM}/state/:eventType/:stateKey`,
  auth: "guest",
  lossless: true,
  handle: (ctx, { requester, params, query, body }) => write(ctx, requester, params.roomId, params.eventType, params.stateKey, body, query),
});

async function read(ctx: Context, requester: Requester, roomId: string, type: string, stateKey: string, query: Query): Promise<unknown> {
  const format = query.oneOf("format", ["content", "event"], "content");
  const [event] = await stateFor(ctx, requester, roomId, [type, stateKey]);
  if (event === undefined) throw notFound("Event not found.");
  return format === "event" ? await presentEvent(ctx, requester, event, { format: "client", previous: true }) : event.content;
}

/** The current state, for those who left the state at that time; all of it or one event. */
async function stateFor(ctx: Context, requester: Requester, roomId: string, only?: StatePair): Promise<MatrixEvent[]> {
  const access = await requireReadAccess(ctx, requester, roomId, { departed: true });
  const key = only === undefined ? undefined : stateKeyOf(only[0], only[1] ?? "");
  if (access.membership === "join" || access.eventId === undefined)
    return [...(await ctx.state.current(roomId, key === undefined ? undefined : [key])).values()];
  const ids = (await ctx.state.afterEvents([access.eventId], only === undefined ? undefined : [only])).get(access.eventId);
  return ids === undefined ? [] : [...(await ctx.state.hydrate(ids)).values()];
}

async function write(
  ctx: Context,
  requester: Requester,
  roomId: string,
  type: string,
  stateKey: string,
  content: JsonObject,
  query: Query,
): Promise<{ event_id: string } | { delay_id: string }> {
  const { spamChecker } = ctx.modules;
  if (spamChecker.has("user_may_send_state_event") && !(await ctx.isServerAdmin(requester)))
    await spamChecker.requireMaySendState(requester.userId, roomId, type, stateKey, content);
  const delay = query.natural(DELAY);
  if (delay !== undefined)
    return { delay_id: await ctx.delayedEvents.add(requester, { roomId, type, stateKey, content, delay, ...sendParameters(ctx, requester, query) }) };
  if (type === "m.room.member") return await writeMembership(ctx, requester, roomId, stateKey, content, query);
  return await orFakeId(ctx, () => sendEvent(ctx, requester, { roomId, type, stateKey, content, ...sendParameters(ctx, requester, query) }));
}

async function writeMembership(
  ctx: Context,
  requester: Requester,
  roomId: string,
  target: string,
  content: JsonObject,
  query: Query,
): Promise<{ event_id: string }> {
  const { membership } = content;
  if (typeof membership !== "string") throw new MatrixError(400, "M_UNKNOWN", "Invalid membership (must be a string)");
  if (!isUserId(target)) throw invalidParam("Expected UserID string to start with '@'");
  const { timestamp } = sendParameters(ctx, requester, query);
  return await orFakeId(ctx, () => updateMembership(ctx, requester, { roomId, target, action: membership as MembershipAction, content, timestamp }));
}

export const stateRoutes = [getState, getStateEvent, getStateEventWithKey, putStateEvent, putStateEventWithKey];
