import { isJsonObject, type Json, type JsonObject } from "../../../lib/json.ts";
import { badJson, forbidden, MatrixError } from "../../../protocol/errors.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { makeEventFromJson, parsePdu } from "../../../protocol/event/format.ts";
import { federationPdu, parseStrippedState } from "../../../protocol/event/serialise.ts";
import { signEventJson } from "../../../protocol/event/sign.ts";
import { getDomain, isUserId } from "../../../protocol/ids.ts";
import { roomVersion } from "../../../protocol/room-versions.ts";
import { isRoomBlocked, upsertRemoteRoom } from "../../../storage/rooms/rooms.ts";
import { inviteRules } from "../../account-data/invite-rules.ts";
import type { Context } from "../../context.ts";
import { evaluatePush, type PushContext } from "../../events/push-actions.ts";
import { checkPdu, idProblem, type PduCheckContext } from "../pdu-checks.ts";
import { type AccessContext, requireAllowedByAcl } from "./access.ts";

export type InviteContext = AccessContext & PduCheckContext & PushContext & Pick<Context, "limits" | "persister" | "signingKeys" | "transaction">;

export interface ReceivedInvite {
  readonly origin: string;
  readonly roomId: string;
  readonly eventId: string;
  readonly pdu: JsonObject;
  readonly roomVersion: string;
  /** What the invited user may know of the room. */
  readonly strippedState: Json | undefined;
}

const bad = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);

/**
 * An invite of a user of this server (`/invite`): signed, stored outside of the room's history, and returned. Nothing is signed that is
 * not exactly an invite for a local user by the server that sends it (GHSA-22fw-4jq7-g8r8).
 * @throws MatrixError 400, 403, 429
 */
export async function receiveInvite(ctx: InviteContext, invite: ReceivedInvite): Promise<JsonObject> {
  const { origin, roomId } = invite;
  const version = roomVersion(invite.roomVersion);
  if (version === undefined || version.stateDag) throw new MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "Homeserver does not support this room version");
  const strippedState = (Array.isArray(invite.strippedState) ? invite.strippedState : []).filter((entry) => parseStrippedState(entry) !== undefined);
  const { invite_room_state: _state, knock_room_state: _knock, ...unsigned } = isJsonObject(invite.pdu.unsigned) ? invite.pdu.unsigned : {};
  const pdu = { ...invite.pdu, unsigned: { ...unsigned, invite_room_state: strippedState } };
  const { event: parsed, problem } = parsePdu(pdu, version, ctx.clock.now());
  const reason = problem ?? idProblem(parsed!);
  if (parsed === undefined || reason !== undefined) throw badJson(reason ?? "Malformed event");
  if (parsed.roomId !== roomId) throw badJson("The room ID does not match that in the request path");
  if (parsed.eventId !== invite.eventId) throw badJson("The event ID does not match that in the request path");
  const known = await ctx.roomVersions.get(roomId);
  if (known !== undefined && known.id !== version.id) throw badJson("The room has another version");
  await requireAllowedByAcl(ctx, origin, roomId);
  if (await ctx.modules.spamChecker.dropsFederatedEvent(parsed)) throw new MatrixError(403, "M_UNKNOWN", "M_FORBIDDEN");

  const target = parsed.stateKey;
  if (target === undefined) throw bad("The invite event did not have a state key");
  if (parsed.type !== "m.room.member" || parsed.membership !== "invite") throw bad("The invite event was not an m.room.member invite event");
  if (getDomain(parsed.sender) !== origin) throw bad("The invite event was not from the server sending it");
  if (!isUserId(target) || getDomain(target) !== ctx.config.server.serverName) throw bad("The invite event must be for this server");
  const { event: checked, problem: signatureProblem } = await checkPdu(ctx, parsed);
  if (checked === undefined) throw forbidden(`event id ${parsed.eventId}: ${signatureProblem}`);
  await requireWelcome(ctx, checked, target);

  const withState = { ...checked.json, unsigned: { ...checked.unsigned, invite_room_state: strippedState } };
  const event = makeEventFromJson(signEventJson(withState, version, ctx.config.server.serverName, ctx.signingKeys[0]!), version);
  event.outlier = true;
  event.internal.out_of_band_membership = true;
  await ctx.transaction("maybe_store_room_on_outlier_membership", (txn) => upsertRemoteRoom(txn, roomId, version.id), { isolation: "read committed" });
  ctx.roomVersions.remember(roomId, version);
  const push = await evaluatePush(ctx, { event, before: undefined, levels: undefined });
  await ctx.persister.persist([{ event, push }]);
  const { unsigned: shown, ...rest } = federationPdu(event, ctx.clock.now());
  const { invite_room_state: _shown, ...others } = isJsonObject(shown) ? shown : {};
  return { ...rest, unsigned: others };
}

/** Does this server, and does the user, take the invite? @throws MatrixError 403, 429 */
async function requireWelcome(ctx: InviteContext, invite: MatrixEvent, target: string): Promise<void> {
  const { sender, roomId } = invite;
  if (await isRoomBlocked(ctx.read, roomId)) throw new MatrixError(403, "M_UNKNOWN", "This room has been blocked on this server");
  if (ctx.config.server.blockNonAdminInvites) throw new MatrixError(403, "M_UNKNOWN", "This server does not accept room invites");
  await ctx.modules.spamChecker.requireFederatedMayInvite(invite);
  if (target === ctx.config.serverNotices.userId) throw new MatrixError(403, "M_UNKNOWN", "Cannot invite this user");
  // An invite outside of the history would hide what the user is in the room.
  const present = (await ctx.members.roomsOf(target)).get(roomId);
  const inRoom = (await ctx.members.joinedLocal(roomId)).size > 0;
  if (inRoom && (present?.membership === "join" || present?.membership === "ban")) throw forbidden(`${target} is already in the room or banned from it`);
  const rule = (await inviteRules(ctx, [target], sender, ctx.config.experimental.msc4155Enabled)).get(target);
  if (rule === "block") throw new MatrixError(403, "M_INVITE_BLOCKED", "You are not permitted to invite this user.");
  await ctx.limits.check("invitesPerUser", target);
}
