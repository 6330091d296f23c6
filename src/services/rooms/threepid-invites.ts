import type { JsonObject } from "../../lib/json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { memberKey } from "../../protocol/power-levels.ts";
import { stateKeyOf } from "../../protocol/event/event.ts";
import type { Context } from "../context.ts";
import { sendEvent, ShadowBanned } from "../events/send.ts";
import type { Requester } from "../requester.ts";
import type { ThreepidInvite } from "./creation-request.ts";
import { updateMembership } from "./membership.ts";

/** Asking identity servers about people to invite (`services/threepid/`). */
export interface IdentityInvites {
  /** The user who has bound the address; undefined when nobody has. @throws MatrixError */
  lookup(threepid: ThreepidInvite): Promise<string | undefined>;
  /** Has the identity server write to the address; returns what the invite event says. @throws MatrixError */
  store(threepid: ThreepidInvite, invite: JsonObject): Promise<{ token: string; publicKeys: readonly JsonObject[]; displayName: string }>;
}

/**
 * Invites whoever owns an e-mail address or phone number (client-server API, "Third-party invites"): the user, if the identity server knows
 * one, else by an event that a later owner can redeem.
 * @throws MatrixError 403, 429; ShadowBanned
 */
export async function inviteThreepid(
  ctx: Context,
  requester: Requester,
  roomId: string,
  threepid: ThreepidInvite,
  txnId?: string,
): Promise<{ eventId: string }> {
  if (ctx.config.server.blockNonAdminInvites && !(await ctx.isServerAdmin(requester))) throw forbidden("Invites have been disabled on this server");
  if (requester.shadowBanned) {
    await ctx.clock.sleep(1_000 * (1 + ctx.random.below(10)));
    throw new ShadowBanned();
  }
  await ctx.limits.check("thirdPartyInvite", requester.userId, { requester });
  const { modules } = ctx;
  const { medium, address } = threepid;
  if (!(await modules.thirdPartyRules.mayInviteThreepid(medium, address, async () => await ctx.state.current(roomId))))
    throw forbidden("This third-party identifier can not be invited in this room");
  if (!ctx.config.registration.enable3pidLookup) throw new MatrixError(403, "M_UNKNOWN", "Looking up third-party identifiers is denied from this server");
  const invitee = await ctx.identityInvites.lookup(threepid);
  if (invitee !== undefined) return await updateMembership(ctx, requester, { roomId, target: invitee, action: "invite", txnId });
  await modules.spamChecker.requireMayInviteThreepid(requester.userId, medium, address, roomId);
  const { token, publicKeys, displayName } = await ctx.identityInvites.store(threepid, await describeInvite(ctx, requester, roomId, threepid));
  const [first] = publicKeys;
  const content = { display_name: displayName, public_keys: [...publicKeys], key_validity_url: first?.key_validity_url, public_key: first?.public_key };
  return await sendEvent(ctx, requester, { roomId, type: "m.room.third_party_invite", stateKey: token, content, txnId }, { rateLimit: false });
}

/** What the identity server may tell the invited person (identity service API, "Invitation storage"). */
async function describeInvite(ctx: Context, requester: Requester, roomId: string, threepid: ThreepidInvite): Promise<JsonObject> {
  const key = (type: string): ReturnType<typeof stateKeyOf> => stateKeyOf(type, "");
  const member = memberKey(requester.userId);
  const types = ["m.room.canonical_alias", "m.room.name", "m.room.create", "m.room.join_rules", "m.room.avatar"];
  const state = await ctx.state.current(roomId, [member, ...types.map(key)]);
  const text = (type: string, field: string): string => {
    const value = state.get(key(type))?.content[field];
    return typeof value === "string" ? value : "";
  };
  const own = state.get(member)?.content;
  const roomType = text("m.room.create", "type");
  return {
    medium: threepid.medium,
    address: threepid.address,
    room_id: roomId,
    room_alias: text("m.room.canonical_alias", "alias"),
    room_avatar_url: text("m.room.avatar", "url"),
    room_join_rules: text("m.room.join_rules", "join_rule"),
    room_name: text("m.room.name", "name"),
    sender: requester.userId,
    sender_display_name: typeof own?.displayname === "string" && own.displayname !== "" ? own.displayname : requester.userId,
    sender_avatar_url: typeof own?.avatar_url === "string" ? own.avatar_url : "",
    ...(roomType === "" ? {} : { room_type: roomType, "org.matrix.msc3288.room_type": roomType }),
  };
}
