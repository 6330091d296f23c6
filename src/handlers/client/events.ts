import { MatrixError } from "../../protocol/errors.ts";
import { presentEvent } from "../../services/present.ts";
import { eventStream } from "../../services/rooms/event-stream.ts";
import { visibleEvent } from "../../services/room-access/single-event.ts";
import { endpoint } from "../http/endpoint.ts";
import { Reply } from "../http/reply.ts";
import { parsePagination } from "./room/pagination.ts";

const CLIENT = "/_matrix/client/(api/v1|r0|v3|unstable)";
const DEFAULT_TIMEOUT_MS = 30_000;
const MIN_TIMEOUT_MS = 500;

export const getEvents = endpoint({
  servlet: "EventStreamRestServlet",
  method: "GET",
  path: `${CLIENT}/events`,
  auth: "guest",
  async handle(ctx, { requester, query, signal }) {
    const roomId = query.string("room_id");
    if (requester.isGuest && roomId === undefined) throw new MatrixError(400, "M_UNKNOWN", "Guest users must specify room_id param");
    const { from, limit } = parsePagination(query, { limit: 10 });
    const text = query.string("timeout");
    if (text !== undefined && !/^\s*-?\d{1,12}\s*$/.test(text)) throw new MatrixError(400, "M_UNKNOWN", "timeout must be in milliseconds.");
    const timeout = text === undefined ? DEFAULT_TIMEOUT_MS : Number(text);
    const timeoutMs = timeout === 0 ? 0 : Math.max(timeout, MIN_TIMEOUT_MS);
    return await eventStream(ctx, requester, { from, limit, timeoutMs, roomId, raw: query.has("raw") }, signal);
  },
});

export const getEventById = endpoint({
  servlet: "EventRestServlet",
  method: "GET",
  path: `${CLIENT}/events/:eventId`,
  auth: "user",
  async handle(ctx, { requester, params }) {
    const event = await visibleEvent(ctx, requester.userId, undefined, params.eventId);
    // As Synapse: a bare string.
    if (event === undefined) return new Reply(404, "Event not found.");
    return await presentEvent(ctx, requester, event, { previous: true });
  },
});

export const eventRoutes = [getEvents, getEventById];
