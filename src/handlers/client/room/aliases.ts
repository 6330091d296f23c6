import { listAliases } from "../../../services/directory/aliases.ts";
import { endpoint } from "../../http/endpoint.ts";

export const getRoomAliases = endpoint({
  servlet: "RoomAliasListServlet",
  method: "GET",
  path: ["/_matrix/client/(r0|v3)/rooms/:roomId/aliases", "/_matrix/client/unstable/org.matrix.msc2432/rooms/:roomId/aliases"],
  auth: "user",
  handle: async (ctx, { requester, params }) => ({ aliases: await listAliases(ctx, requester, params.roomId) }),
});

export const aliasRoutes = [getRoomAliases];
