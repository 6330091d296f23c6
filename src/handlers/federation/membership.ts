import { isJsonObject } from "../../lib/json.ts";
import { badJson, missingParam } from "../../protocol/errors.ts";
import { receiveInvite } from "../../services/federation/inbound/invites.ts";
import { makeJoin, makeKnock, makeLeave } from "../../services/federation/inbound/make-membership.ts";
import { receiveJoin, receiveKnock, receiveLeave } from "../../services/federation/inbound/send-membership.ts";
import { receiveBinding, receiveExchange } from "../../services/federation/inbound/third-party-invites.ts";
import { endpoint } from "../http/endpoint.ts";
import { federationEndpoint } from "./endpoint.ts";

const V1 = "/_matrix/federation/v1";
const V2 = "/_matrix/federation/v2";

export const getMakeJoin = federationEndpoint({
  servlet: "FederationMakeJoinServlet",
  method: "GET",
  path: `${V1}/make_join/:roomId/:userId`,
  handle(ctx, { origin, params, query }) {
    const versions = query.strings("ver");
    return makeJoin(ctx, { origin, ...params }, versions.length === 0 ? ["1"] : versions);
  },
});

export const getMakeLeave = federationEndpoint({
  servlet: "FederationMakeLeaveServlet",
  method: "GET",
  path: `${V1}/make_leave/:roomId/:userId`,
  handle: (ctx, { origin, params }) => makeLeave(ctx, { origin, ...params }),
});

export const getMakeKnock = federationEndpoint({
  servlet: "FederationMakeKnockServlet",
  method: "GET",
  path: `${V1}/make_knock/:roomId/:userId`,
  handle(ctx, { origin, params, query }) {
    query.requiredString("ver");
    return makeKnock(ctx, { origin, ...params }, query.strings("ver"));
  },
});

/** The oldest endpoints answer with a status beside the body. */
const withStatus = async (answer: Promise<unknown>): Promise<unknown> => [200, await answer];

export const sendJoinV1 = federationEndpoint({
  servlet: "FederationV1SendJoinServlet",
  method: "PUT",
  path: `${V1}/send_join/:roomId/:eventId`,
  handle: (ctx, { origin, params, body }) => withStatus(receiveJoin(ctx, { origin, ...params, pdu: body }, false)),
});

export const sendJoinV2 = federationEndpoint({
  servlet: "FederationV2SendJoinServlet",
  method: "PUT",
  path: `${V2}/send_join/:roomId/:eventId`,
  handle: (ctx, { origin, params, query, body }) => receiveJoin(ctx, { origin, ...params, pdu: body }, query.boolean("omit_members", false)),
});

export const sendLeaveV1 = federationEndpoint({
  servlet: "FederationV1SendLeaveServlet",
  method: "PUT",
  path: `${V1}/send_leave/:roomId/:eventId`,
  handle: (ctx, { origin, params, body }) => withStatus(receiveLeave(ctx, { origin, ...params, pdu: body })),
});

export const sendLeaveV2 = federationEndpoint({
  servlet: "FederationV2SendLeaveServlet",
  method: "PUT",
  path: `${V2}/send_leave/:roomId/:eventId`,
  handle: (ctx, { origin, params, body }) => receiveLeave(ctx, { origin, ...params, pdu: body }),
});

export const sendKnock = federationEndpoint({
  servlet: "FederationV1SendKnockServlet",
  method: "PUT",
  path: `${V1}/send_knock/:roomId/:eventId`,
  handle: (ctx, { origin, params, body }) => receiveKnock(ctx, { origin, ...params, pdu: body }),
});

/** Rooms of version 1 alone: the version is not told. */
export const inviteV1 = federationEndpoint({
  servlet: "FederationV1InviteServlet",
  method: "PUT",
  path: `${V1}/invite/:roomId/:eventId`,
  handle(ctx, { origin, params, body }) {
    const unsigned = isJsonObject(body.unsigned) ? body.unsigned : {};
    const answer = receiveInvite(ctx, { origin, ...params, pdu: body, roomVersion: "1", strippedState: unsigned.invite_room_state });
    return withStatus(answer.then((event) => ({ event })));
  },
});

export const inviteV2 = federationEndpoint({
  servlet: "FederationV2InviteServlet",
  method: "PUT",
  path: `${V2}/invite/:roomId/:eventId`,
  async handle(ctx, { origin, params, body }) {
    const { event, room_version: roomVersion, invite_room_state: strippedState } = body;
    if (event === undefined || roomVersion === undefined) throw missingParam("Missing params: 'event', 'room_version'");
    if (!isJsonObject(event) || typeof roomVersion !== "string") throw badJson("Malformed invite");
    return { event: await receiveInvite(ctx, { origin, ...params, pdu: event, roomVersion, strippedState }) };
  },
});

export const exchangeThirdPartyInvite = federationEndpoint({
  servlet: "FederationThirdPartyInviteExchangeServlet",
  method: "PUT",
  path: `${V1}/exchange_third_party_invite/:roomId`,
  async handle(ctx, { origin, params, body }) {
    await receiveExchange(ctx, origin, params.roomId, body);
    return {};
  },
});

export const onThirdPartyBinding = endpoint({
  servlet: "On3pidBindServlet",
  // Identity servers send POST and Synapse takes nothing else; the specification says PUT.
  method: ["POST", "PUT"],
  path: `${V1}/3pid/onbind`,
  auth: "none",
  handle: (ctx, { ip, body }) =>
    ctx.inbound.limiter.run(`address ${ip}`, async () => {
      await receiveBinding(ctx, body);
      return {};
    }),
});

export const membershipRoutes = [
  getMakeJoin,
  getMakeLeave,
  getMakeKnock,
  sendJoinV1,
  sendJoinV2,
  sendLeaveV1,
  sendLeaveV2,
  sendKnock,
  inviteV1,
  inviteV2,
  exchangeThirdPartyInvite,
  onThirdPartyBinding,
];
