import { MatrixError } from "../../../protocol/errors.ts";
import { roomHierarchy, roomSummary } from "../../../services/rooms/hierarchy.ts";
import { resolveRoom } from "../../../services/rooms/resolve-room.ts";
import { endpoint } from "../../http/endpoint.ts";

export const getHierarchy = endpoint({
  servlet: "RoomHierarchyRestServlet",
  method: "GET",
  path: "/_matrix/client/v1/rooms/:roomId/hierarchy",
  auth: "guest",
  async handle(ctx, { requester, params, query }) {
    const limit = query.integer("limit");
    const maxDepth = query.integer("max_depth");
    if (limit !== undefined && limit < 0) throw new MatrixError(400, "M_INVALID_PARAM", "limit must not be negative");
    if (maxDepth !== undefined && maxDepth < 0) throw new MatrixError(400, "M_INVALID_PARAM", "max_depth must not be negative");
    const from = query.string("from");
    return await roomHierarchy(ctx, requester, {
      roomId: params.roomId,
      suggestedOnly: query.boolean("suggested_only", false),
      maxDepth,
      limit,
      from: from === "" ? undefined : from,
      via: ctx.config.experimental.msc4235Enabled ? query.strings("org.matrix.msc4235.via") : undefined,
    });
  },
});

export const getRoomSummary = endpoint({
  servlet: "RoomSummaryRestServlet",
  method: "GET",
  path: [
    "/_matrix/client/v1/room_summary/:roomIdentifier",
    "/_matrix/client/unstable/im.nheko.summary/summary/:roomIdentifier",
    "/_matrix/client/unstable/im.nheko.summary/rooms/:roomIdentifier/summary",
  ],
  auth: "optional",
  async handle(ctx, { requester, params, query }) {
    const via = query.strings("via");
    const { roomId, servers } = await resolveRoom(ctx, params.roomIdentifier, via.length > 0 ? via : undefined);
    return await roomSummary(ctx, requester?.userId, roomId, servers);
  },
});

export const hierarchyRoutes = [getHierarchy, getRoomSummary];
