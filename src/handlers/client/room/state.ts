import type { JsonObject } from "../../../lib/json.ts";
import { notFound } from "../../../protocol/errors.ts";
import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import type { Context } from "../../../services/context.ts";
import { sendEvent } from "../../../services/events/send.ts";
import { presentEvent, presentEvents } from "../../../services/present.ts";
import type { Requester } from "../../../services/requester.ts";
import { requireReadAccess } from "../../../services/rooms/access.ts";
import type { StatePair } from "../../../storage/state/snapshot.ts";
import { endpoint } from "../../http/endpoint.ts";
import type { Query } from "../../http/query.ts";
import { orFakeId, ROOM, sendParameters } from "./send.ts";

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
  if (access.membership === "join" || access.eventId === undefined) return [...(await ctx.state.current(roomId, key === undefined ? undefined : [key])).values()];
  const ids = (await ctx.state.afterEvents([access.eventId], only === undefined ? undefined : [only])).get(access.eventId);
  return ids === undefined ? [] : [...(await ctx.state.hydrate(ids)).values()];
}

async function write(ctx: Context, requester: Requester, roomId: string, type: string, stateKey: string, content: JsonObject, query: Query): Promise<{ event_id: string }> {
  return await orFakeId(ctx, () => sendEvent(ctx, requester, { roomId, type, stateKey, content, ...sendParameters(ctx, requester, query) }));
}

export const stateRoutes = [getState, getStateEvent, getStateEventWithKey, putStateEvent, putStateEventWithKey];
