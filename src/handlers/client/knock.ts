import { updateMembership } from "../../services/rooms/membership.ts";
import { resolveRoom } from "../../services/rooms/resolve-room.ts";
import { endpoint } from "../http/endpoint.ts";
import { serversToAsk } from "./room/membership.ts";

export const postKnock = endpoint({
  servlet: "KnockRoomAliasServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/knock/:roomIdentifier",
  auth: "user",
  emptyBody: false,
  lossless: true,
  async handle(ctx, { requester, params, query, body }) {
    const { roomId, servers } = await resolveRoom(ctx, params.roomIdentifier, serversToAsk(query));
    const content = body.reason === undefined ? {} : { reason: body.reason };
    await updateMembership(ctx, requester, { roomId, target: requester.userId, action: "knock", content, remoteServers: servers });
    return { room_id: roomId };
  },
});

export const knockRoutes = [postKnock];
