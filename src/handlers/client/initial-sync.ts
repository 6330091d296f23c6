import { initialSync, roomInitialSync } from "../../services/rooms/initial-sync.ts";
import { endpoint } from "../http/endpoint.ts";
import { parsePagination } from "./room/pagination.ts";

const CLIENT = "/_matrix/client/(api/v1|r0|v3|unstable)";

export const getInitialSync = endpoint({
  servlet: "InitialSyncRestServlet",
  method: "GET",
  path: `${CLIENT}/initialSync`,
  auth: "user",
  async handle(ctx, { requester, query }) {
    const { limit } = parsePagination(query, { limit: 10 });
    return await initialSync(ctx, requester, { limit, archived: query.boolean("archived", false), raw: query.has("raw") });
  },
});

export const getRoomInitialSync = endpoint({
  servlet: "RoomInitialSyncRestServlet",
  method: "GET",
  path: `${CLIENT}/rooms/:roomId/initialSync`,
  auth: "guest",
  handle: (ctx, { requester, params, query }) => roomInitialSync(ctx, requester, params.roomId, parsePagination(query, { limit: 10 }).limit),
});

export const initialSyncRoutes = [getInitialSync, getRoomInitialSync];
