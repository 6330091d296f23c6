import { joinedMembers, stateFor } from "../../../services/rooms/members.ts";
import { presentEvents } from "../../../services/present.ts";
import { endpoint } from "../../http/endpoint.ts";
import { parseToken } from "./pagination.ts";

const CLIENT = "/_matrix/client/(api/v1|r0|v3|unstable)";

export const getMembers = endpoint({
  servlet: "RoomMemberListRestServlet",
  method: "GET",
  path: `${CLIENT}/rooms/:roomId/members`,
  auth: "guest",
  async handle(ctx, { requester, params, query }) {
    const at = query.string("at");
    const membership = query.string("membership");
    const notMembership = query.string("not_membership");
    const events = await stateFor(ctx, requester, params.roomId, [["m.room.member", undefined]], parseToken(at, "at"));
    const wanted = events.filter((event) => {
      const own = event.content.membership;
      return (
        !(membership !== undefined && membership !== "" && own !== membership) &&
        !(notMembership !== undefined && notMembership !== "" && own === notMembership)
      );
    });
    return { chunk: await presentEvents(ctx, requester, wanted) };
  },
});

export const getJoinedMembers = endpoint({
  servlet: "JoinedRoomMemberListRestServlet",
  method: "GET",
  path: `${CLIENT}/rooms/:roomId/joined_members`,
  auth: "user",
  handle: async (ctx, { requester, params }) => ({ joined: await joinedMembers(ctx, requester, params.roomId) }),
});

export const getJoinedRooms = endpoint({
  servlet: "JoinedRoomsRestServlet",
  method: "GET",
  path: `${CLIENT}/joined_rooms`,
  auth: "guest",
  async handle(ctx, { requester }) {
    const rooms = await ctx.members.roomsOf(requester.userId);
    return { joined_rooms: [...rooms].filter(([, room]) => room.membership === "join").map(([roomId]) => roomId) };
  },
});

export const memberRoutes = [getMembers, getJoinedMembers, getJoinedRooms];
