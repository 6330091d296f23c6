import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import { forbidden, invalidParam, MatrixError, missingParam } from "../../../protocol/errors.ts";
import { isUserId } from "../../../protocol/ids.ts";
import type { Context } from "../../../services/context.ts";
import { ShadowBanned } from "../../../services/events/send.ts";
import type { Requester } from "../../../services/requester.ts";
import { forget } from "../../../services/room-access/forget.ts";
import { updateMembership } from "../../../services/rooms/membership.ts";
import { resolveRoom } from "../../../services/rooms/resolve-room.ts";
import { inviteThreepid } from "../../../services/rooms/threepid-invites.ts";
import { endpoint } from "../../http/endpoint.ts";
import type { Query } from "../../http/query.ts";

const CLIENT = "/_matrix/client/(api/v1|r0|v3|unstable)";
const ROOM = `${CLIENT}/rooms/:roomId` as const;
type Action = "join" | "invite" | "leave" | "ban" | "unban" | "kick";

/** Servers that may help to find a room: `via`, or its older name. */
export function serversToAsk(query: Query): string[] | undefined {
  const via = query.strings("via");
  if (via.length > 0) return via;
  const names = query.strings("server_name");
  return names.length > 0 ? names : undefined;
}

async function joinByIdOrAlias(
  ctx: Context,
  requester: Requester,
  identifier: string,
  query: Query,
  body: JsonObject,
  txnId: string | undefined,
): Promise<object> {
  const { roomId, servers } = await resolveRoom(ctx, identifier, serversToAsk(query));
  const signed = body.third_party_signed;
  await updateMembership(ctx, requester, {
    roomId,
    target: requester.userId,
    action: "join",
    content: body,
    remoteServers: servers,
    thirdPartySigned: isJsonObject(signed) ? signed : undefined,
    txnId,
  });
  return { room_id: roomId };
}

export const postJoin = endpoint({
  servlet: "JoinRoomAliasServlet",
  method: "POST",
  path: `${CLIENT}/join/:roomIdentifier`,
  auth: "guest",
  lossless: true,
  handle: (ctx, { requester, params, query, body }) => joinByIdOrAlias(ctx, requester, params.roomIdentifier, query, body, undefined),
});

export const putJoin = endpoint({
  servlet: "JoinRoomAliasServlet",
  method: "PUT",
  path: `${CLIENT}/join/:roomIdentifier/:txnId`,
  auth: "guest",
  emptyBody: true,
  lossless: true,
  handle: (ctx, { requester, params, query, body, url }) =>
    ctx.requestTransactions.once(requester, url.split("?")[0]!, () => joinByIdOrAlias(ctx, requester, params.roomIdentifier, query, body, params.txnId)),
});

async function act(ctx: Context, requester: Requester, action: Action, roomId: string, body: JsonObject, txnId: string | undefined): Promise<object> {
  if (requester.isGuest && action !== "join" && action !== "leave") throw forbidden("Guest access not allowed");
  const answer = action === "join" ? { room_id: roomId } : {};
  try {
    if (action === "invite" && body.medium !== undefined && body.address !== undefined) {
      await inviteThreepid(ctx, requester, roomId, parseThreepid(body), txnId);
      return answer;
    }
    const signed = body.third_party_signed;
    await updateMembership(ctx, requester, {
      roomId,
      target: action === "join" || action === "leave" ? requester.userId : parseTarget(body),
      action,
      content: contentOf(ctx, body),
      thirdPartySigned: isJsonObject(signed) ? signed : undefined,
      txnId,
    });
  } catch (error) {
    // Shadow-banned users are not to know.
    if (!(error instanceof ShadowBanned)) throw error;
  }
  return answer;
}

function parseThreepid(body: JsonObject): { medium: string; address: string; idServer: string; idAccessToken: string } {
  const { medium, address, id_server: idServer, id_access_token: idAccessToken } = body;
  if (idServer === undefined || idAccessToken === undefined)
    throw new MatrixError(400, "M_MISSING_PARAM", "`id_server` and `id_access_token` are required when doing 3pid invite");
  if (typeof medium !== "string" || typeof address !== "string" || typeof idServer !== "string" || typeof idAccessToken !== "string")
    throw invalidParam("Parameters of 3pid invites must be strings");
  return { medium, address, idServer, idAccessToken };
}

function parseTarget(body: JsonObject): string {
  if (body.user_id === undefined) throw missingParam("Missing params: ['user_id']");
  if (!isUserId(body.user_id)) throw invalidParam("Expected UserID string to start with '@'");
  return body.user_id;
}

function contentOf(ctx: Context, body: JsonObject): JsonObject {
  const redact = "org.matrix.msc4293.redact_events";
  return {
    ...(body.reason === undefined ? {} : { reason: body.reason }),
    ...(ctx.config.experimental.msc4293Enabled && body[redact] !== undefined ? { [redact]: body[redact] } : {}),
  };
}

export const postMembership = endpoint({
  servlet: "RoomMembershipRestServlet",
  method: "POST",
  path: `${ROOM}/:membershipAction=join|invite|leave|ban|unban|kick`,
  auth: "guest",
  lossless: true,
  handle: (ctx, { requester, params, body }) => act(ctx, requester, params.membershipAction as Action, params.roomId, body, undefined),
});

export const putMembership = endpoint({
  servlet: "RoomMembershipRestServlet",
  method: "PUT",
  path: `${ROOM}/:membershipAction=join|invite|leave|ban|unban|kick/:txnId`,
  auth: "guest",
  emptyBody: true,
  lossless: true,
  handle: (ctx, { requester, params, body, url }) =>
    ctx.requestTransactions.once(requester, url.split("?")[0]!, () =>
      act(ctx, requester, params.membershipAction as Action, params.roomId, body, params.txnId),
    ),
});

export const postForget = endpoint({
  servlet: "RoomForgetRestServlet",
  method: "POST",
  path: `${ROOM}/forget`,
  auth: "user",
  bodyType: "none",
  async handle(ctx, { requester, params }) {
    await forget(ctx, requester.userId, params.roomId);
    return {};
  },
});

export const putForget = endpoint({
  servlet: "RoomForgetRestServlet",
  method: "PUT",
  path: `${ROOM}/forget/:txnId`,
  auth: "user",
  bodyType: "none",
  handle: (ctx, { requester, params, url }) =>
    ctx.requestTransactions.once(requester, url.split("?")[0]!, async () => {
      await forget(ctx, requester.userId, params.roomId);
      return {};
    }),
});

export const membershipRoutes = [postJoin, putJoin, postMembership, putMembership, postForget, putForget];
