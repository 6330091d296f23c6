import { createRoom } from "../../../services/rooms/create.ts";
import { endpoint } from "../../http/endpoint.ts";

const PATH = "/_matrix/client/(api/v1|r0|v3|unstable)/createRoom";

export const postCreateRoom = endpoint({
  servlet: "RoomCreateRestServlet",
  method: "POST",
  path: PATH,
  auth: "user",
  emptyBody: false,
  lossless: true,
  handle: async (ctx, { requester, body }) => ({ room_id: (await createRoom(ctx, requester, body)).roomId }),
});

export const putCreateRoom = endpoint({
  servlet: "RoomCreateRestServlet",
  method: "PUT",
  path: `${PATH}/:txnId`,
  auth: "user",
  lossless: true,
  handle: (ctx, { requester, body, url }) =>
    ctx.requestTransactions.once(requester, url.split("?")[0]!, async () => ({ room_id: (await createRoom(ctx, requester, body)).roomId })),
});

export const createRoutes = [postCreateRoom, putCreateRoom];
