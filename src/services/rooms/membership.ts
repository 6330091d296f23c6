import type { JsonObject } from "../../lib/json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import type { InternalMetadata, MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import { joinFacts } from "../../storage/rooms/join-facts.ts";
import { inviteRules } from "../account-data/invite-rules.ts";
import type { Context } from "../context.ts";
import { checkSender, ShadowBanned } from "../events/send.ts";
import type { Requester } from "../requester.ts";
import { leaveOutOfBand, type MembershipAction, storeMembership } from "./local-membership.ts";
import { authorisedBy, checkMemberContent, withProfile } from "./member-content.ts";
import { joinPath } from "./restricted-join.ts";

/** Changing who is in a room (client-server API, "Room membership"). */
export interface MembershipChange {
  readonly roomId: string;
  /** Whose membership changes. */
  readonly target: string;
  readonly action: MembershipAction;
  /** What the client says in the event beside the membership. */
  readonly content?: JsonObject | undefined;
  /** Servers that may help to join or knock. */
  readonly remoteServers?: readonly string[] | undefined;
  /** A signed third-party invite token. */
  readonly thirdPartySigned?: JsonObject | undefined;
  readonly txnId?: string | undefined;
  /** Appservices may set the time (ms). */
  readonly timestamp?: number | undefined;
  readonly delayId?: string | undefined;
}

export interface MembershipOptions {
  /** False for what the server does by itself. Default true. */
  readonly rateLimit?: boolean;
  /** False where users need not have agreed to terms. Default true. */
  readonly requireConsent?: boolean;
}

const MEMBERSHIPS: ReadonlySet<string> = new Set(["join", "invite", "leave", "ban", "knock"]);

/**
 * Changes a membership: in a room that this server is in, by an event on its head; else through another server.
 * @throws MatrixError 400, 403, 404, 429 as Synapse does; ShadowBanned for invites of shadow-banned users
 */
export async function updateMembership(
  ctx: Context,
  requester: Requester,
  change: MembershipChange,
  options: MembershipOptions = {},
): Promise<{ eventId: string }> {
  if (change.txnId === undefined || requester.deviceId === undefined) return { eventId: await update(ctx, requester, change, options) };
  const { deviceId } = requester;
  return { eventId: await ctx.sendTransactions.once(requester.userId, deviceId, change.roomId, change.txnId, () => update(ctx, requester, change, options)) };
}

async function update(ctx: Context, requester: Requester, change: MembershipChange, options: MembershipOptions): Promise<string> {
  const { roomId, target, action } = change;
  const membership = action === "kick" || action === "unban" ? "leave" : action;
  const ours = await ctx.members.inRoom(roomId);
  if (options.rateLimit !== false) await limit(ctx, requester, change);
  if (action === "invite" && requester.shadowBanned) {
    await ctx.clock.sleep(1_000 * (1 + ctx.random.below(10)));
    throw new ShadowBanned();
  }
  await refuseSuspended(ctx, requester, change);
  await checkSender(ctx, requester, { type: "m.room.member", content: { membership } }, { requireConsent: options.requireConsent ?? true });
  const checked = await checkMemberContent(ctx, requester, change.content);
  if (!MEMBERSHIPS.has(membership)) throw new MatrixError(400, "M_UNKNOWN", "Invalid membership key");

  let content = checked;
  if (membership !== "leave" && membership !== "ban") {
    const facts = await joinFacts(ctx.read, roomId, target);
    const shown = membership !== "invite" || ctx.config.server.includeProfileDataOnInvite;
    if (shown) content = await withProfile(ctx, content, target, facts);
    if (facts.blocked) throw new MatrixError(403, "M_UNKNOWN", "This room has been blocked on this server");
  }
  if (change.thirdPartySigned !== undefined) await ctx.remoteRooms.exchangeThirdPartyInvite({ roomId, userId: target, signed: change.thirdPartySigned });
  if (membership === "invite") await checkInvite(ctx, requester, roomId, target);

  content = { ...content, membership, ...(requester.isGuest ? { kind: "guest" } : {}) };
  const internal = internalOf(requester, change);
  const version = await ctx.roomVersions.get(roomId);
  const isHere = ours.local.size > 0 && version !== undefined;
  if (membership === "join") return await join(ctx, requester, change, { content, internal, version: isHere ? version : undefined }, options);
  if (!isHere) return await changeFromOutside(ctx, requester, change, membership, content, internal, version);
  return (await storeMembership(ctx, requester, { ...change, version, sender: requester.userId, membership, content, timestamp: change.timestamp, internal }))
    .event.eventId;
}

interface Prepared {
  readonly content: JsonObject;
  readonly internal: InternalMetadata;
  /** undefined: this server is not in the room. */
  readonly version: RoomVersion | undefined;
}

async function join(ctx: Context, requester: Requester, change: MembershipChange, prepared: Prepared, options: MembershipOptions): Promise<string> {
  const { roomId, target } = change;
  const { version } = prepared;
  if (ctx.modules.spamChecker.has("user_may_join_room") && requester.userId !== ctx.config.serverNotices.userId && !(await ctx.isServerAdmin(requester))) {
    const isInvited = (await ctx.members.roomsOf(target)).get(roomId)?.membership === "invite";
    await ctx.modules.spamChecker.requireMayJoin(target, roomId, isInvited);
  }
  const path = version === undefined ? undefined : await joinPath(ctx, roomId, version, target);
  if (version === undefined || path === undefined || path.kind === "remote") {
    const servers = path?.kind === "remote" ? path.servers : (change.remoteServers ?? []);
    return await joinRemotely(ctx, requester, change, prepared.content, servers, options);
  }
  const content = path.kind === "authorised" ? authorisedBy(prepared.content, path.by) : prepared.content;
  const { event, isNew } = await storeMembership(ctx, requester, {
    roomId,
    version,
    sender: requester.userId,
    target,
    action: "join",
    membership: "join",
    content,
    timestamp: change.timestamp,
    internal: prepared.internal,
  });
  if (isNew) ctx.limits.record("joinsPerRoom", roomId);
  return event.eventId;
}

async function joinRemotely(
  ctx: Context,
  requester: Requester,
  change: MembershipChange,
  content: JsonObject,
  servers: readonly string[],
  options: MembershipOptions,
): Promise<string> {
  const { roomId, target } = change;
  const { serverName, limitRemoteRooms } = ctx.config.server;
  if (options.rateLimit !== false) {
    await ctx.limits.check("joinsRemote", requester.userId, { requester });
    await ctx.limits.check("joinsPerRoom", roomId, { requester, count: false });
  }
  const own = (await ctx.members.roomsOf(target)).get(roomId);
  const inviter = own?.membership === "invite" ? getDomain(own.sender) : undefined;
  const helpers = [...new Set([...servers, ...(inviter === undefined ? [] : [inviter])])].filter((server) => server !== serverName);
  if (helpers.length === 0) {
    throw new MatrixError(404, "M_UNKNOWN", "Can't join remote room because no servers that are in the room have been provided.");
  }
  const bounded = limitRemoteRooms.enabled && !(limitRemoteRooms.adminsCanJoin && (await ctx.accounts.user(target))?.admin);
  if (bounded && ((await ctx.remoteRooms.complexity(roomId, helpers)) ?? 0) > limitRemoteRooms.complexity) {
    throw new MatrixError(400, "M_RESOURCE_LIMIT_EXCEEDED", limitRemoteRooms.complexityError);
  }
  return (await ctx.remoteRooms.join({ requester, userId: target, roomId, servers: helpers, content })).eventId;
}

/** Memberships in a room that this server is not in: rejecting an invite, taking back a knock, knocking. */
async function changeFromOutside(
  ctx: Context,
  requester: Requester,
  change: MembershipChange,
  membership: string,
  content: JsonObject,
  internal: InternalMetadata,
  version: RoomVersion | undefined,
): Promise<string> {
  const { roomId, target } = change;
  if (membership === "knock") {
    const servers = (change.remoteServers ?? []).filter((server) => server !== ctx.config.server.serverName);
    if (servers.length === 0) throw new MatrixError(404, "M_UNKNOWN", "No known servers");
    return (await ctx.remoteRooms.knock({ requester, userId: target, roomId, servers, content })).eventId;
  }
  if (membership === "leave") {
    const own = (await ctx.members.roomsOf(target)).get(roomId);
    if (own === undefined) throw new MatrixError(404, "M_UNKNOWN", "Not a known room");
    const previous = own.membership === "invite" || own.membership === "knock" ? await ctx.events.one(own.eventId) : undefined;
    if (previous !== undefined && target === requester.userId) {
      const isRemoteInvite = own.membership === "invite" && getDomain(previous.sender) !== ctx.config.server.serverName;
      if (isRemoteInvite || own.membership === "knock" || version === undefined)
        return (await endFromOutside(ctx, requester, previous, content, internal, isRemoteInvite)).eventId;
    }
  }
  if (version === undefined) throw forbidden(`User ${requester.userId} not in room ${roomId}`);
  // The room is here, though nobody of this server is in it now: its rules decide.
  return (await storeMembership(ctx, requester, { ...change, version, sender: requester.userId, membership, content, timestamp: change.timestamp, internal }))
    .event.eventId;
}

async function endFromOutside(
  ctx: Context,
  requester: Requester,
  previous: MatrixEvent,
  content: JsonObject,
  internal: InternalMetadata,
  tellInviter: boolean,
): Promise<{ eventId: string }> {
  if (tellInviter) {
    try {
      return await ctx.remoteRooms.rejectInvite({ requester, invite: previous, content });
    } catch (error) {
      ctx.log.named("synapse.handlers.room_member").warn("Failed to reject invite", { error });
    }
  }
  return await leaveOutOfBand(ctx, previous, content, internal);
}

async function limit(ctx: Context, requester: Requester, change: MembershipChange): Promise<void> {
  const { roomId, target, action } = change;
  if (action === "join") {
    if ((await ctx.members.roomsOf(requester.userId)).get(roomId)?.membership === "join") return;
    await ctx.limits.check("joinsLocal", requester.userId, { requester });
    await ctx.limits.check("joinsPerRoom", roomId, { requester, count: false });
  } else if (action === "invite") {
    await ctx.limits.check("invitesPerRoom", roomId, { requester });
    await ctx.limits.check("invitesPerUser", target, { requester });
    await ctx.limits.check("invitesPerIssuer", requester.userId, { requester });
  }
}

/** Suspended users may neither invite, nor join or knock themselves. */
async function refuseSuspended(ctx: Context, requester: Requester, { action, target }: MembershipChange): Promise<void> {
  if (requester.authenticatedEntity === ctx.config.server.serverName) return;
  const suspended = async (userId: string): Promise<boolean> =>
    getDomain(userId) === ctx.config.server.serverName && (await ctx.accounts.user(userId))?.suspended === true;
  const refusal = (what: string): MatrixError => new MatrixError(403, "M_USER_SUSPENDED", `${what} while account is suspended is not allowed.`);
  if (action === "invite" && (await suspended(requester.userId))) throw refusal("Sending invites");
  if (action === "join" && (await suspended(target))) throw refusal("Joining rooms");
  if (action === "knock" && (await suspended(target))) throw refusal("Knocking on rooms");
}

/** Whether the server and the invited user take invites from this one. */
async function checkInvite(ctx: Context, requester: Requester, roomId: string, target: string): Promise<void> {
  const notices = ctx.config.serverNotices.userId;
  if (notices !== undefined && target === notices) throw new MatrixError(403, "M_UNKNOWN", "Cannot invite this user");
  if (requester.userId === notices || (await ctx.isServerAdmin(requester))) return;
  const refusal = await ctx.modules.spamChecker.inviteRefusal(requester.userId, target, roomId);
  if (refusal !== undefined) throw new MatrixError(403, refusal.errcode, "Invites have been disabled on this server", refusal.fields);
  if (ctx.config.server.blockNonAdminInvites) throw forbidden("Invites have been disabled on this server");
  if (getDomain(target) !== ctx.config.server.serverName) return;
  const rule = (await inviteRules(ctx, [target], requester.userId, ctx.config.experimental.msc4155Enabled)).get(target);
  if (rule === "block") throw new MatrixError(403, "M_INVITE_BLOCKED", "You are not permitted to invite this user.");
}

function internalOf(requester: Requester, change: MembershipChange): InternalMetadata {
  return {
    ...(requester.deviceId === undefined ? {} : { device_id: requester.deviceId }),
    ...(change.txnId === undefined ? {} : { txn_id: change.txnId }),
    ...(change.delayId === undefined ? {} : { delay_id: change.delayId }),
  };
}
