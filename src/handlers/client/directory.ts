import { z } from "zod";
import { forbidden, invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isRoomAlias } from "../../protocol/ids.ts";
import { createAlias, removeAppserviceAlias, resolveAlias } from "../../services/directory/aliases.ts";
import { removeAlias } from "../../services/directory/remove-alias.ts";
import { directoryVisibility, setDirectoryVisibility, setNetworkVisibility } from "../../services/directory/publish.ts";
import { findRoom } from "../../storage/rooms/rooms.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import { endpoint } from "../http/endpoint.ts";

const DIRECTORY = "/_matrix/client/(api/v1|r0|v3|unstable)/directory";

function checkAlias(alias: string): void {
  if (!isRoomAlias(alias)) throw invalidParam("Room alias invalid");
}

export const getAlias = endpoint({
  servlet: "ClientDirectoryServer",
  method: "GET",
  path: `${DIRECTORY}/room/:roomAlias`,
  auth: "none",
  async handle(ctx, { params }) {
    checkAlias(params.roomAlias);
    const { roomId, servers } = await resolveAlias(ctx, params.roomAlias);
    return { room_id: roomId, servers };
  },
});

export const putAlias = endpoint({
  servlet: "ClientDirectoryServer",
  method: "PUT",
  path: `${DIRECTORY}/room/:roomAlias`,
  auth: "user",
  body: z.object({ room_id: z.string(), servers: z.array(z.string()).nullish() }),
  async handle(ctx, { requester, params, body }) {
    checkAlias(params.roomAlias);
    if ((await findRoom(ctx.read, body.room_id)) === undefined) throw new MatrixError(400, "M_UNKNOWN", "Room does not exist");
    await createAlias(ctx, requester, params.roomAlias, body.room_id, { servers: body.servers ?? undefined });
    return {};
  },
});

export const deleteAlias = endpoint({
  servlet: "ClientDirectoryServer",
  method: "DELETE",
  path: `${DIRECTORY}/room/:roomAlias`,
  auth: "user",
  bodyType: "none",
  async handle(ctx, { requester, params }) {
    checkAlias(params.roomAlias);
    if (requester.appserviceId !== undefined) await removeAppserviceAlias(ctx, requester.appserviceId, params.roomAlias);
    else await removeAlias(ctx, requester, params.roomAlias);
    return {};
  },
});

const visibilityBody = z.object({ visibility: z.enum(["public", "private"]).default("public") });

export const getDirectoryVisibility = endpoint({
  servlet: "ClientDirectoryListServer",
  method: "GET",
  path: `${DIRECTORY}/list/room/:roomId`,
  auth: "none",
  handle: async (ctx, { params }) => ({ visibility: await directoryVisibility(ctx, params.roomId) }),
});

export const putDirectoryVisibility = endpoint({
  servlet: "ClientDirectoryListServer",
  method: "PUT",
  path: `${DIRECTORY}/list/room/:roomId`,
  auth: "user",
  body: visibilityBody,
  async handle(ctx, { requester, params, body }) {
    await setDirectoryVisibility(ctx, requester, params.roomId, body.visibility);
    return {};
  },
});

async function editNetwork(
  ctx: Context,
  requester: Requester,
  params: { networkId: string; roomId: string },
  visibility: "public" | "private",
): Promise<object> {
  if (requester.appserviceId === undefined) throw forbidden("Only appservices can edit the appservice published room list");
  await setNetworkVisibility(ctx, requester.appserviceId, params.networkId, params.roomId, visibility);
  return {};
}

export const putNetworkVisibility = endpoint({
  servlet: "ClientAppserviceDirectoryListServer",
  method: "PUT",
  path: `${DIRECTORY}/list/appservice/:networkId/:roomId`,
  auth: "user",
  body: visibilityBody,
  handle: (ctx, { requester, params, body }) => editNetwork(ctx, requester, params, body.visibility),
});

export const deleteNetworkVisibility = endpoint({
  servlet: "ClientAppserviceDirectoryListServer",
  method: "DELETE",
  path: `${DIRECTORY}/list/appservice/:networkId/:roomId`,
  auth: "user",
  bodyType: "none",
  handle: (ctx, { requester, params }) => editNetwork(ctx, requester, params, "private"),
});

export const directoryRoutes = [getAlias, putAlias, deleteAlias, getDirectoryVisibility, putDirectoryVisibility, putNetworkVisibility, deleteNetworkVisibility];
