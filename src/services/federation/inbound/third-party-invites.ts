import { isJsonObject, type Json, type JsonObject } from "../../../lib/json.ts";
import { badJson, forbidden, MatrixError, missingParam } from "../../../protocol/errors.ts";
import { stateKeyOf } from "../../../protocol/event/event.ts";
import { getDomain, isRoomId, isServerName, isUserId } from "../../../protocol/ids.ts";
import type { Context } from "../../context.ts";
import { storeMembership } from "../../rooms/local-membership.ts";
import { requireStandingKey } from "../../threepid/standing-keys.ts";
import { requesterFor } from "../../requester.ts";
import { requireAllowedByAcl, requireRoomVersion } from "./access.ts";

/** Invites by address whose owner is known now (server-server API, "Third-party invites"). */
interface Exchange {
  readonly roomId: string;
  /** Who invited the address. */
  readonly sender: string;
  readonly target: string;
  /** What the identity server signed: `mxid`, `token`, `signatures`. */
  readonly signed: JsonObject;
}

const MOST_INVITES = 100;

/** Another server hands in what its user has got (`/exchange_third_party_invite`). @throws MatrixError 400, 403, 404 */
export async function receiveExchange(ctx: Context, origin: string, roomId: string, body: JsonObject): Promise<void> {
  if (body.room_id === undefined) throw missingParam("Missing params: ['room_id']");
  if (body.room_id !== roomId) throw badJson("Room ID in body does not match that in request path");
  const content = isJsonObject(body.content) ? body.content : {};
  const invite = isJsonObject(content.third_party_invite) ? content.third_party_invite : {};
  if (body.type !== "m.room.member" || content.membership !== "invite") throw badJson("Not an m.room.member invite event");
  await requireAllowedByAcl(ctx, origin, roomId);
  await exchange(ctx, { roomId, ...checked(body.sender, body.state_key, invite.signed) }, getDomain(String(body.sender)));
}

/**
 * An identity server tells that an address has an owner now (`/3pid/onbind`): the invites become real ones here, or by the server that
 * sent them. Nobody vouches for the caller; what counts are the signatures.
 * @throws MatrixError of the last invite that failed
 */
export async function receiveBinding(ctx: Context, body: JsonObject): Promise<void> {
  let failure: unknown;
  for (const entry of Array.isArray(body.invites) ? body.invites.slice(0, MOST_INVITES) : []) {
    try {
      await bind(ctx, entry);
    } catch (error) {
      failure = error;
      ctx.log.named("synapse.federation.transport.server.federation").warn("Failed to handle a third-party invite", { error });
    }
  }
  if (failure !== undefined) throw failure;
}

/** A user of this server accepts an invite by address: it becomes a real one, here or at the server that sent it. @throws MatrixError */
export async function exchangeInvite(ctx: Context, request: { roomId: string; userId: string; signed: JsonObject }): Promise<void> {
  const { roomId, userId, signed } = request;
  const invite = { roomId, ...checked(signed.sender, userId, signed) };
  if ((await ctx.members.joinedLocal(roomId)).size > 0) await exchange(ctx, invite, ctx.config.server.serverName);
  else await forward(ctx, invite);
}

async function bind(ctx: Context, entry: Json): Promise<void> {
  if (!isJsonObject(entry) || !isJsonObject(entry.signed) || entry.signed.token === undefined)
    throw new MatrixError(400, "M_UNKNOWN", "Rejecting received notification of third-party invite without signed");
  const { room_id: roomId } = entry;
  if (!isRoomId(roomId)) throw badJson("Not a room ID");
  const invite = { roomId, ...checked(entry.sender, entry.mxid, entry.signed) };
  if (getDomain(invite.target) !== ctx.config.server.serverName) throw badJson("The user is not of this server");
  if ((await ctx.members.joinedLocal(roomId)).size > 0) return await exchange(ctx, invite, ctx.config.server.serverName);
  await forward(ctx, invite);
}

/** @throws MatrixError 400 */
function checked(sender: Json | undefined, target: Json | undefined, signed: Json | undefined): { sender: string; target: string; signed: JsonObject } {
  if (!isUserId(sender) || !isUserId(target)) throw badJson("Not a user ID");
  if (!isJsonObject(signed) || typeof signed.token !== "string" || signed.mxid !== target || !isJsonObject(signed.signatures))
    throw badJson("The invite is not properly signed");
  return { sender, target, signed };
}

/** Builds the invite on the room; the authorisation rules compare its signature with the keys of the original invite. */
async function exchange(ctx: Context, { roomId, sender, target, signed }: Exchange, sendOnBehalfOf: string): Promise<void> {
  const version = await requireRoomVersion(ctx, roomId);
  const key = stateKeyOf("m.room.third_party_invite", String(signed.token));
  const original = (await ctx.state.current(roomId, [key])).get(key);
  if (original === undefined) throw forbidden("Could not find invite");
  if (original.sender !== sender) throw forbidden("The invite was sent by somebody else");
  await requireStandingKey(ctx, original, signed);
  const displayName = original.content.display_name;
  const invite: JsonObject = { signed, ...(typeof displayName === "string" ? { display_name: displayName } : {}) };
  await storeMembership(ctx, requesterFor(sender), {
    roomId,
    version,
    sender,
    target,
    action: "invite",
    membership: "invite",
    content: { membership: "invite", third_party_invite: invite },
    timestamp: undefined,
    internal: { send_on_behalf_of: sendOnBehalfOf },
  });
}

/** This server is not in the room: the inviter's server is, or the one that the room is named after. @throws MatrixError 502 */
async function forward(ctx: Context, { roomId, sender, target, signed }: Exchange): Promise<void> {
  const content: JsonObject = {
    type: "m.room.member",
    room_id: roomId,
    sender,
    state_key: target,
    content: { membership: "invite", third_party_invite: { signed } },
  };
  const destinations = [...new Set([getDomain(sender), getDomain(roomId)])].filter((server) => isServerName(server) && server !== ctx.config.server.serverName);
  for (const destination of destinations) {
    try {
      await ctx.federationClient.request({
        method: "PUT",
        destination,
        path: `/_matrix/federation/v1/exchange_third_party_invite/${encodeURIComponent(roomId)}`,
        content,
      });
      return;
    } catch (error) {
      ctx.log.named("synapse.federation.federation_client").info(`Failed to forward a third-party invite to ${destination}`, { error });
    }
  }
  throw new MatrixError(502, "M_UNKNOWN", "Failed to forward third party invite");
}
