import { forbidden, invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isRoomId, isServerName, isUserId } from "../../protocol/ids.ts";
import { endpoint } from "../http/endpoint.ts";

const SCOPE = "urn:matrix:client:io.element.msc4502:rooms:is_joined";

/** Tells application services (with the scope for it) whether a user or a server is in a room (MSC4502). */
export const getIsJoined = endpoint({
  servlet: "AppserviceRoomMembershipRestServlet",
  method: "GET",
  path: "/_matrix/client/unstable/io.element.msc4502/rooms/:roomId/is_joined",
  auth: "user",
  when: ({ experimental }) => experimental.msc4502Enabled,
  async handle(ctx, { requester, params, query }) {
    const appservice = requester.appserviceId === undefined ? undefined : ctx.appservices.byId(requester.appserviceId);
    if (!requester.scope.includes(SCOPE) && appservice?.scopes.includes(SCOPE) !== true) throw forbidden(`Missing ${SCOPE} scope`);
    if (!isRoomId(params.roomId)) throw invalidParam("Invalid room ID");
    const userId = query.string("mxid");
    const server = query.string("server_name");
    if ((userId === undefined) === (server === undefined)) {
      throw new MatrixError(400, "M_MISSING_PARAM", "Exactly one of 'mxid' or 'server_name' query parameters must be given");
    }
    if (userId !== undefined) {
      if (!isUserId(userId)) throw invalidParam(`Invalid MXID: ${userId}`);
      return { joined: (await ctx.members.joined(params.roomId)).has(userId) };
    }
    if (!isServerName(server)) throw invalidParam(`Invalid server name: ${server!}`);
    return { joined: (await ctx.members.joinedServers(params.roomId)).has(server) };
  },
});

export const roomMembershipRoutes = [getIsJoined];
