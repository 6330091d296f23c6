import { missingParam, notFound } from "../../../protocol/errors.ts";
import { clientEvent } from "../../../protocol/event/serialise.ts";
import { presentEvent, presentEvents } from "../../../services/present.ts";
import { eventContext } from "../../../services/rooms/event-context.ts";
import { parseRoomEventFilter } from "../../../services/rooms/event-filter.ts";
import { eventForTime } from "../../../services/rooms/near-time.ts";
import { messagesPage } from "../../client/room/messages-page.ts";
import { endpoint } from "../../http/endpoint.ts";

const ROOM = "/_synapse/admin/v1/rooms/:roomId";
const MAX_CONTEXT = 1000;

/** Any page of any room. */
export const getMessages = endpoint({
  servlet: "RoomMessagesRestServlet",
  method: "GET",
  path: `${ROOM}/messages`,
  auth: "admin",
  handle: (ctx, request) => messagesPage(ctx, request, { asAdmin: true }),
});

export const getContext = endpoint({
  servlet: "RoomEventContextServlet",
  method: "GET",
  path: `${ROOM}/context/:eventId`,
  auth: "admin",
  async handle(ctx, { requester, params, query }) {
    const limit = Math.min(query.natural("limit", 10), MAX_CONTEXT);
    const filter = parseRoomEventFilter(ctx, query.string("filter"));
    const found = await eventContext(ctx, requester, params.roomId, params.eventId, limit, filter, { asAdmin: true });
    if (found === undefined) throw notFound("Event not found.");
    const options = { bundles: found.bundles, previous: true, impersonal: true };
    return {
      events_before: await presentEvents(ctx, requester, found.before, options),
      event: await presentEvent(ctx, requester, found.event, options),
      events_after: await presentEvents(ctx, requester, found.after, options),
      state: await presentEvents(ctx, requester, found.state, { impersonal: true }),
      start: found.start,
      end: found.end,
    };
  },
});

export const getTimestampToEvent = endpoint({
  servlet: "RoomTimestampToEventRestServlet",
  method: "GET",
  path: `${ROOM}/timestamp_to_event`,
  auth: "admin",
  async handle(ctx, { params, query }) {
    const timestamp = query.natural("ts");
    if (timestamp === undefined) throw missingParam("Missing required integer query parameter ts");
    const found = await eventForTime(ctx, params.roomId, timestamp, query.oneOf("dir", ["b", "f"], "f") === "b");
    return { event_id: found.eventId, origin_server_ts: found.originServerTs };
  },
});

/** An event as it is stored, with what it held before it was redacted as long as that is kept. */
export const fetchEvent = endpoint({
  servlet: "EventRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/fetch_event/:eventId",
  auth: "admin",
  async handle(ctx, { params, requester }) {
    const event = await ctx.events.one(params.eventId, { raw: true });
    if (event === undefined) throw notFound("Event not found");
    const stickyEvents = ctx.config.experimental.msc4354Enabled;
    return {
      event: clientEvent(event, { now: ctx.clock.now(), format: "federation", reader: requester, adminMetadata: true, strippedState: true, stickyEvents }),
    };
  },
});

export const roomTimelineRoutes = [getMessages, getContext, getTimestampToEvent, fetchEvent];
