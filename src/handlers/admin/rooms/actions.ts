import { badJson } from "../../../protocol/errors.ts";
import { makeRoomAdmin } from "../../../services/admin/make-room-admin.ts";
import { checkRoomId } from "../../../services/admin/shutdown-room.ts";
import { badRequest, checkUserId, inTheNameOf, localAccount } from "../../../services/admin/targets.ts";
import { updateMembership } from "../../../services/rooms/membership.ts";
import { resolveRoom } from "../../../services/rooms/resolve-room.ts";
import { pruneExtremitiesOf } from "../../../services/admin/forward-extremities.ts";
import { forwardExtremities } from "../../../storage/admin/rooms.ts";
import { blockRoom, roomBlockedBy, unblockRoom } from "../../../storage/rooms/rooms.ts";
import { endpoint } from "../../http/endpoint.ts";
import { requireKeys } from "../body.ts";

const ROOM = "/_synapse/admin/v1/rooms/:roomId";
const IDENTIFIED = "/_synapse/admin/v1/rooms/:roomIdentifier";

/** Brings a local user into a room, by an invite where it needs one. */
export const joinRoom = endpoint({
  servlet: "JoinRoomAliasServlet",
  method: "POST",
  path: "/_synapse/admin/v1/join/:roomIdentifier",
  auth: "admin",
  emptyBody: false,
  async handle(ctx, { params, query, body, requester }) {
    requireKeys(body, ["user_id"]);
    if (typeof body.user_id !== "string") throw badRequest("user_id must be a string");
    const { name: userId } = await localAccount(ctx, body.user_id, "This endpoint can only be used with local users");
    const via = query.strings("server_name");
    const { roomId, servers: remoteServers } = await resolveRoom(ctx, params.roomIdentifier, via.length > 0 ? via : undefined);
    const rules = await ctx.state.currentEvent(roomId, "m.room.join_rules");
    if (rules !== undefined && rules.content.join_rule !== "public") {
      await updateMembership(ctx, requester, { roomId, target: userId, action: "invite", remoteServers }, { rateLimit: false });
    }
    await updateMembership(ctx, inTheNameOf(requester, userId), { roomId, target: userId, action: "join", remoteServers }, { rateLimit: false });
    return { room_id: roomId };
  },
});

export const makeAdmin = endpoint({
  servlet: "MakeRoomAdminRestServlet",
  method: "POST",
  path: `${IDENTIFIED}/make_room_admin`,
  auth: "admin",
  async handle(ctx, { params, body, requester }) {
    const { roomId } = await resolveRoom(ctx, params.roomIdentifier, undefined);
    const userId = body.user_id ?? requester.userId;
    if (typeof userId !== "string") throw badRequest("user_id must be a string");
    checkUserId(userId);
    await makeRoomAdmin(ctx, requester, roomId, userId);
    return {};
  },
});

export const getForwardExtremities = endpoint({
  servlet: "ForwardExtremitiesRestServlet",
  method: "GET",
  path: `${IDENTIFIED}/forward_extremities`,
  auth: "admin",
  async handle(ctx, { params }) {
    const { roomId } = await resolveRoom(ctx, params.roomIdentifier, undefined);
    const results = await forwardExtremities(ctx.read, roomId);
    return { count: results.length, results };
  },
});

/** All but the newest go. */
export const deleteForwardExtremities = endpoint({
  servlet: "ForwardExtremitiesRestServlet",
  method: "DELETE",
  path: `${IDENTIFIED}/forward_extremities`,
  auth: "admin",
  bodyType: "none",
  async handle(ctx, { params }) {
    const { roomId } = await resolveRoom(ctx, params.roomIdentifier, undefined);
    return { deleted: await pruneExtremitiesOf(ctx, roomId) };
  },
});

export const getBlock = endpoint({
  servlet: "BlockRoomRestServlet",
  method: "GET",
  path: `${ROOM}/block`,
  auth: "admin",
  async handle(ctx, { params }) {
    checkRoomId(params.roomId);
    const userId = await roomBlockedBy(ctx.read, params.roomId);
    return userId === undefined ? { block: false } : { block: true, user_id: userId };
  },
});

export const putBlock = endpoint({
  servlet: "BlockRoomRestServlet",
  method: "PUT",
  path: `${ROOM}/block`,
  auth: "admin",
  async handle(ctx, { params, body, requester }) {
    checkRoomId(params.roomId);
    requireKeys(body, ["block"]);
    const { block } = body;
    if (typeof block !== "boolean") throw badJson("Param 'block' must be a boolean.");
    await ctx.transaction("block_room", (txn) => (block ? blockRoom(txn, params.roomId, requester.userId) : unblockRoom(txn, params.roomId)));
    return { block };
  },
});

export const roomActionRoutes = [joinRoom, makeAdmin, getForwardExtremities, deleteForwardExtremities, getBlock, putBlock];
