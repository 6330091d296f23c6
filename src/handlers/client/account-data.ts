import { JsonText } from "../../lib/json.ts";
import { forbidden, invalidParam, notFound } from "../../protocol/errors.ts";
import { isRoomId } from "../../protocol/ids.ts";
import { checkMayBeSet, deleteAccountData, deleteRoomAccountData, setAccountData, setRoomAccountData } from "../../services/account-data/account-data.ts";
import type { Requester } from "../../services/requester.ts";
import { globalAccountDataOfType, roomAccountDataOfType } from "../../storage/accounts/account-data.ts";
import { endpoint } from "../http/endpoint.ts";

const GLOBAL = "/_matrix/client/(r0|v3|unstable)/user/:userId/account_data/:type";
const ROOM = "/_matrix/client/(r0|v3|unstable)/user/:userId/rooms/:roomId/account_data/:type";

function checkSelf(requester: Requester, userId: string, verb: string): void {
  if (requester.userId !== userId) throw forbidden(`Cannot ${verb} account data for other users.`);
}

function checkRoomId(roomId: string): void {
  if (!isRoomId(roomId)) throw invalidParam(`${roomId} is not a valid room ID`);
}

export const putAccountData = endpoint({
  servlet: "AccountDataServlet",
  method: "PUT",
  path: GLOBAL,
  auth: "user",
  lossless: true,
  async handle(ctx, { requester, params, body }) {
    checkSelf(requester, params.userId, "add");
    checkMayBeSet(params.type);
    // With MSC3391 an empty object means that the entry is to go.
    if (ctx.config.experimental.msc3391Enabled && Object.keys(body).length === 0) await deleteAccountData(ctx, params.userId, params.type);
    else await setAccountData(ctx, params.userId, params.type, body);
    return {};
  },
});

export const getAccountData = endpoint({
  servlet: "AccountDataServlet",
  method: "GET",
  path: GLOBAL,
  auth: "user",
  async handle(ctx, { requester, params }) {
    checkSelf(requester, params.userId, "get");
    if (params.type === "m.push_rules") return await ctx.pushRules.forClient(requester.userId);
    const content = await globalAccountDataOfType(ctx.read, params.userId, params.type);
    if (content === undefined || (ctx.config.experimental.msc3391Enabled && content === "{}")) throw notFound("Account data not found");
    return new JsonText(content);
  },
});

export const deleteAccountDataUnstable = endpoint({
  servlet: "UnstableAccountDataServlet",
  method: "DELETE",
  path: "/_matrix/client/unstable/org.matrix.msc3391/user/:userId/account_data/:type",
  auth: "user",
  bodyType: "none",
  when: (config) => config.experimental.msc3391Enabled,
  async handle(ctx, { requester, params }) {
    checkSelf(requester, params.userId, "delete");
    checkMayBeSet(params.type);
    await deleteAccountData(ctx, params.userId, params.type);
    return {};
  },
});

export const putRoomAccountData = endpoint({
  servlet: "RoomAccountDataServlet",
  method: "PUT",
  path: ROOM,
  auth: "user",
  lossless: true,
  async handle(ctx, { requester, params, body }) {
    checkSelf(requester, params.userId, "add");
    checkRoomId(params.roomId);
    checkMayBeSet(params.type);
    if (ctx.config.experimental.msc3391Enabled && Object.keys(body).length === 0) await deleteRoomAccountData(ctx, params.userId, params.roomId, params.type);
    else await setRoomAccountData(ctx, params.userId, params.roomId, params.type, body);
    return {};
  },
});

export const getRoomAccountData = endpoint({
  servlet: "RoomAccountDataServlet",
  method: "GET",
  path: ROOM,
  auth: "user",
  async handle(ctx, { requester, params }) {
    checkSelf(requester, params.userId, "get");
    checkRoomId(params.roomId);
    // There are no push rules per room.
    const content = params.type === "m.push_rules" ? "{}" : await roomAccountDataOfType(ctx.read, params.userId, params.roomId, params.type);
    if (content === undefined || (ctx.config.experimental.msc3391Enabled && content === "{}")) throw notFound("Room account data not found");
    return new JsonText(content);
  },
});

export const deleteRoomAccountDataUnstable = endpoint({
  servlet: "UnstableRoomAccountDataServlet",
  method: "DELETE",
  path: "/_matrix/client/unstable/org.matrix.msc3391/user/:userId/rooms/:roomId/account_data/:type",
  auth: "user",
  bodyType: "none",
  when: (config) => config.experimental.msc3391Enabled,
  async handle(ctx, { requester, params }) {
    checkSelf(requester, params.userId, "delete");
    checkRoomId(params.roomId);
    checkMayBeSet(params.type);
    await deleteRoomAccountData(ctx, params.userId, params.roomId, params.type);
    return {};
  },
});

export const accountDataRoutes = [
  putAccountData,
  getAccountData,
  deleteAccountDataUnstable,
  putRoomAccountData,
  getRoomAccountData,
  deleteRoomAccountDataUnstable,
];
