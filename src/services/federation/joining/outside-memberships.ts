import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import { DestinationDenied, DestinationUnavailable, isUnknownEndpoint, RemoteError } from "../../../outbound/federation/client.ts";
import { forbidden, MatrixError } from "../../../protocol/errors.ts";
import { MatrixEvent } from "../../../protocol/event/event.ts";
import { federationPdu, parseStrippedState } from "../../../protocol/event/serialise.ts";
import { signingKeyIds, verifyEventJson } from "../../../protocol/event/sign.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { upsertRemoteRoom } from "../../../storage/rooms/rooms.ts";
import type { Context } from "../../context.ts";
import { evaluatePush } from "../../events/push-actions.ts";
import type { RemoteMembership } from "../../rooms/remote-rooms.ts";
import type { Requester } from "../../requester.ts";
import { askServers, BadAnswer, relayed } from "../remote-error.ts";
import { putMembership } from "./join-room.ts";
import { makeMembership } from "./membership-template.ts";

const ANSWER_BYTES = 1024 * 1024;

/** Knocks on a room through one of the servers; the knock is kept outside of the room's history. @throws MatrixError */
export async function knockOnRoom(ctx: Context, request: RemoteMembership): Promise<{ eventId: string }> {
  const { roomId } = request;
  const { server, version, event } = await makeMembership(ctx, { ...request, membership: "knock" });
  await registerRoom(ctx, roomId, event);
  const strippedState = await askServers(ctx, "send_knock", [server, ...request.servers], async (destination) => {
    const answer = await ctx.federationClient.requestObject({
      method: "PUT",
      destination,
      path: `/_matrix/federation/v1/send_knock/${encodeURIComponent(roomId)}/${encodeURIComponent(event.eventId)}`,
      content: federationPdu(event, ctx.clock.now()),
      maxBytes: ANSWER_BYTES,
    });
    const state = answer.knock_room_state ?? answer.knock_state_events;
    if (!Array.isArray(state)) throw new BadAnswer("Missing 'knock_room_state' field in send_knock response");
    return state.filter((entry) => parseStrippedState(entry) !== undefined);
  });
  const json = { ...event.json, unsigned: { ...event.unsigned, knock_room_state: strippedState } };
  await storeOutside(ctx, new MatrixEvent(json, version, event.eventId, event.internal));
  return { eventId: event.eventId };
}

/** Tells the inviting server that its invite is rejected, and stores the leave. @throws MatrixError when that server does not answer, or refuses */
export async function rejectInviteAt(ctx: Context, request: { requester: Requester; invite: MatrixEvent; content: JsonObject }): Promise<{ eventId: string }> {
  const { invite } = request;
  const servers = [getDomain(invite.sender)];
  const { event } = await makeMembership(ctx, { roomId: invite.roomId, userId: invite.stateKey!, membership: "leave", servers, content: request.content });
  await askServers(ctx, "send_leave", servers, (server) => putMembership(ctx, "send_leave", server, event));
  await storeOutside(ctx, event);
  return { eventId: event.eventId };
}

/**
 * Asks the invited user's server to take an invite; returns its signatures by server name.
 * @throws MatrixError its refusal; 400 when it does not know the room version; 502 when it cannot be reached
 */
export async function sendInviteTo(ctx: Context, invite: MatrixEvent): Promise<JsonObject> {
  const server = getDomain(invite.stateKey!);
  let returned: JsonObject;
  try {
    returned = await putInvite(ctx, server, invite);
  } catch (error) {
    if (error instanceof RemoteError) throw relayed(error);
    if (error instanceof DestinationDenied) throw forbidden(`Federation denied with ${server}.`);
    if (error instanceof DestinationUnavailable || error instanceof BadAnswer) throw new MatrixError(502, "M_UNKNOWN", `Can't connect to server ${server}`);
    throw error;
  }
  // Of the answer counts the signature: the event is the one that was sent.
  const signatures = isJsonObject(returned.signatures) ? returned.signatures[server] : undefined;
  const signed = { ...invite.json, signatures: { [server]: signatures } };
  for (const keyId of signingKeyIds(signed as JsonObject, server)) {
    const key = await ctx.keyRing.key(server, keyId, invite.roomVersion.enforceKeyValidity ? invite.originServerTs : 0);
    if (key !== undefined && verifyEventJson(signed as JsonObject, invite.roomVersion, server, key)) return { [server]: signatures };
  }
  throw forbidden(`event id ${invite.eventId}: unable to verify signature for ${server}`);
}

async function putInvite(ctx: Context, destination: string, invite: MatrixEvent): Promise<JsonObject> {
  const path = `invite/${encodeURIComponent(invite.roomId)}/${encodeURIComponent(invite.eventId)}`;
  const pdu = federationPdu(invite, ctx.clock.now());
  try {
    const answer = await ctx.federationClient.requestObject({
      method: "PUT",
      destination,
      path: `/_matrix/federation/v2/${path}`,
      content: { event: pdu, room_version: invite.roomVersion.id, invite_room_state: invite.unsigned.invite_room_state ?? [] },
      maxBytes: ANSWER_BYTES,
    });
    return eventIn(answer);
  } catch (error) {
    if (!isUnknownEndpoint(error)) throw error;
    if (invite.roomVersion.eventFormat !== 1) throw new MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "User's homeserver does not support this room version");
  }
  const answer = await ctx.federationClient.request({
    method: "PUT",
    destination,
    path: `/_matrix/federation/v1/${path}`,
    content: pdu,
    maxBytes: ANSWER_BYTES,
  });
  return eventIn(Array.isArray(answer) ? answer[1] : answer);
}

function eventIn(answer: unknown): JsonObject {
  if (!isJsonObject(answer) || !isJsonObject(answer.event)) throw new BadAnswer("Bad 'event' field in response");
  return answer.event;
}

async function registerRoom(ctx: Context, roomId: string, event: MatrixEvent): Promise<void> {
  await ctx.transaction("maybe_store_room_on_outlier_membership", (txn) => upsertRemoteRoom(txn, roomId, event.roomVersion.id), {
    isolation: "read committed",
  });
  ctx.roomVersions.remember(roomId, event.roomVersion);
}

/** A membership that is true though this server does not know the room: an outlier that clients are shown. */
async function storeOutside(ctx: Context, event: MatrixEvent): Promise<void> {
  event.outlier = true;
  event.internal.out_of_band_membership = true;
  const push = await evaluatePush(ctx, { event, before: undefined, levels: undefined });
  await ctx.persister.persist([{ event, push }]);
}
