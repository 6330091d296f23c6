import { forbidden, MatrixError, notFound } from "../../../protocol/errors.ts";
import { parseRoomEventFilter } from "../../../services/rooms/event-filter.ts";
import { eventContext } from "../../../services/rooms/event-context.ts";
import { eventForTime } from "../../../services/rooms/near-time.ts";
import { currentPowerLevels } from "../../../services/room-access/power.ts";
import { requireReadAccess } from "../../../services/room-access/access.ts";
import { visibleEvent } from "../../../services/room-access/single-event.ts";
import { bundleAggregations } from "../../../services/relations/bundle.ts";
import { presentEvent, presentEvents } from "../../../services/present.ts";
import { isCensored } from "../../../storage/rooms/censored.ts";
import { missingParam } from "../../../protocol/errors.ts";
import { endpoint } from "../../http/endpoint.ts";
import { messagesPage } from "./messages-page.ts";

const ROOM = "/_matrix/client/(api/v1|r0|v3|unstable)/rooms/:roomId";

export const getMessages = endpoint({
  servlet: "RoomMessageListRestServlet",
  method: "GET",
  path: `${ROOM}/messages`,
  auth: "guest",
  handle: (ctx, request) => messagesPage(ctx, request),
});

export const getContext = endpoint({
  servlet: "RoomEventContextServlet",
  method: "GET",
  path: `${ROOM}/context/:eventId`,
  auth: "guest",
  async handle(ctx, { requester, params, query }) {
    const limit = Math.min(query.natural("limit", 10), 1000);
    const filter = parseRoomEventFilter(ctx, query.string("filter"));
    const found = await eventContext(ctx, requester, params.roomId, params.eventId, limit, filter);
    if (found === undefined) throw notFound("Event not found.");
    const options = { bundles: found.bundles, previous: true };
    return {
      events_before: await presentEvents(ctx, requester, found.before, options),
      event: await presentEvent(ctx, requester, found.event, options),
      events_after: await presentEvents(ctx, requester, found.after, options),
      state: await presentEvents(ctx, requester, found.state),
      start: found.start,
      end: found.end,
    };
  },
});

export const getEvent = endpoint({
  servlet: "RoomEventServlet",
  method: "GET",
  path: `${ROOM}/event/:eventId`,
  auth: "guest",
  async handle(ctx, { requester, params, query }) {
    const { roomId, eventId } = params;
    const unredacted =
      ctx.config.experimental.msc2815Enabled && query.oneOf("fi.mau.msc2815.include_unredacted_content", ["true", "false"], "false") === "true";
    if (unredacted && !(await ctx.isServerAdmin(requester))) {
      const levels = await currentPowerLevels(ctx, roomId);
      if (levels.user(requester.userId) < levels.level("redact")) throw forbidden("You don't have permission to view redacted events in this room.");
    }
    // The specification wants 404 also for those who may not see it.
    const event = await visibleEvent(ctx, requester.userId, roomId, eventId, { unredacted }).catch((error: unknown) => {
      if (error instanceof MatrixError && error.status === 403) return undefined;
      throw error;
    });
    if (event === undefined) throw notFound("Event not found.");
    if (unredacted && (await isCensored(ctx.read, eventId))) {
      const kept = ctx.config.server.redactionRetentionPeriodMs;
      throw new MatrixError(
        404,
        "FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED",
        "The content for that event has already been erased from the database",
        kept === undefined ? {} : { "fi.mau.msc2815.content_keep_ms": kept },
      );
    }
    const bundles = await bundleAggregations(ctx, requester.userId, [event.event]);
    return await presentEvent(ctx, requester, event, { bundles, previous: true });
  },
});

export const getTimestampToEvent = endpoint({
  servlet: "TimestampLookupRestServlet",
  method: "GET",
  path: "/_matrix/client/v1/rooms/:roomId/timestamp_to_event",
  auth: "user",
  async handle(ctx, { requester, params, query }) {
    await requireReadAccess(ctx, requester, params.roomId);
    const timestamp = query.integer("ts");
    if (timestamp === undefined) throw missingParam("Missing integer query parameter ts");
    const direction = query.oneOf("dir", ["f", "b"], "f");
    const found = await eventForTime(ctx, params.roomId, timestamp, direction === "b");
    return { event_id: found.eventId, origin_server_ts: found.originServerTs };
  },
});

export const messageRoutes = [getMessages, getContext, getEvent, getTimestampToEvent];
