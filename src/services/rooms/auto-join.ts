import type { JsonObject } from "../../lib/json.ts";
import { getDomain, localpartOf } from "../../protocol/ids.ts";
import { countRealUsers } from "../../storage/accounts/users.ts";
import type { Context } from "../context.ts";
import { resolveAlias } from "../directory/aliases.ts";
import { requesterFor } from "../requester.ts";
import { createRoom } from "./create.ts";
import { updateMembership } from "./membership.ts";

const QUIET = { rateLimit: false };

/**
 * A new user joins the rooms of `auto_join_rooms`; the first user of the server makes them, where the config says so. A room that cannot be
 * joined is logged and passed over: the account stands.
 */
export async function autoJoin(ctx: Context, { userId }: { userId: string }): Promise<void> {
  const { autoJoinRooms, autocreateAutoJoinRooms } = ctx.config.registration;
  if (autoJoinRooms.length === 0) return;
  const type = (await ctx.accounts.user(userId))?.userType ?? null;
  const create = autocreateAutoJoinRooms && type !== "bot" && type !== "support" && (await countRealUsers(ctx.read)) === 1;
  const log = ctx.log.named("synapse.handlers.register");
  for (const alias of autoJoinRooms) {
    log.info(`Auto-joining ${userId} to ${alias}`);
    try {
      if (create && getDomain(alias) === ctx.config.server.serverName) await createAndJoin(ctx, userId, alias);
      else await join(ctx, userId, alias);
    } catch (error) {
      log.warn(`Failed to join new user to ${alias}`, { error });
    }
  }
}

async function createAndJoin(ctx: Context, userId: string, alias: string): Promise<void> {
  const { serverName } = ctx.config.server;
  const { autoJoinUserId, autoJoinRoomRequiresInvite, autocreateAutoJoinRoomPreset: preset, autocreateAutoJoinRoomsFederated } = ctx.config.registration;
  const owner = autoJoinUserId ?? userId;
  const body: JsonObject = {
    preset,
    room_alias_name: localpartOf(alias),
    ...(autoJoinUserId !== undefined && autoJoinRoomRequiresInvite ? { invite: [userId] } : {}),
    ...(autocreateAutoJoinRoomsFederated ? {} : { creation_content: { "m.federate": false } }),
  };
  const { roomId } = await createRoom(ctx, requesterFor(owner, { authenticatedEntity: serverName }), body, QUIET);
  if (autoJoinUserId !== undefined && autoJoinUserId !== userId)
    await updateMembership(ctx, requesterFor(userId, { authenticatedEntity: serverName }), { roomId, target: userId, action: "join" }, QUIET);
}

async function join(ctx: Context, userId: string, alias: string): Promise<void> {
  const { serverName } = ctx.config.server;
  const { roomId, servers } = await resolveAlias(ctx, alias);
  const inviter = ctx.config.registration.autoJoinUserId;
  if (inviter !== undefined && (await needsInvite(ctx, roomId))) {
    await updateMembership(
      ctx,
      requesterFor(inviter, { authenticatedEntity: serverName }),
      { roomId, target: userId, action: "invite", remoteServers: servers },
      QUIET,
    );
  }
  const joiner = requesterFor(userId, { authenticatedEntity: serverName });
  await updateMembership(ctx, joiner, { roomId, target: userId, action: "join", remoteServers: servers }, QUIET);
}

/** Rooms that this server is in and that are not public. */
async function needsInvite(ctx: Context, roomId: string): Promise<boolean> {
  if ((await ctx.members.joinedLocal(roomId)).size === 0) return false;
  const rule = (await ctx.state.currentEvent(roomId, "m.room.join_rules", ""))?.content["join_rule"];
  return rule !== undefined && rule !== "public";
}
