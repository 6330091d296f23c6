import { forbidden, invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import { getDomain, localpartOf, MAX_ID_BYTES } from "../../protocol/ids.ts";
import { aliasesOfRoom, type AliasTarget, aliasTarget, deleteAlias, insertAlias } from "../../storage/rooms/aliases.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { mayCreateAlias } from "./rules.ts";
import { requireReadAccess } from "../room-access/access.ts";

/** Room aliases of this server, and the way to those of others (client-server API, "Room aliases"). */

const WHITESPACE = /[ \t\n\r\v\f]/;

/**
 * Where an alias points: the room and servers that are in it, ours first. Asks appservices for local aliases that do not exist (yet), other
 * servers for theirs.
 * @throws MatrixError 404 M_NOT_FOUND; 502 when the alias' server does not answer
 */
export async function resolveAlias(
  ctx: Pick<Context, "appservices" | "config" | "members" | "read" | "remoteRooms">,
  alias: string,
): Promise<{ roomId: string; servers: string[] }> {
  const target = await findAlias(ctx, alias);
  if (target === undefined) throw notFound(`Room alias ${alias} not found`);
  const own = ctx.config.server.serverName;
  const servers = new Set([...(await ctx.members.joinedServers(target.roomId)), ...target.servers]);
  return { roomId: target.roomId, servers: servers.delete(own) ? [own, ...servers] : [...servers] };
}

async function findAlias(ctx: Pick<Context, "appservices" | "config" | "read" | "remoteRooms">, alias: string): Promise<AliasTarget | undefined> {
  if (getDomain(alias) !== ctx.config.server.serverName) return await ctx.remoteRooms.resolveAlias(alias);
  const stored = await aliasTarget(ctx.read, alias);
  if (stored !== undefined) return stored;
  return (await ctx.appservices.provideAlias(alias)) ? await aliasTarget(ctx.read, alias) : undefined;
}

/**
 * Makes a local alias for a room.
 * @throws MatrixError 400, 403, 409 when the alias exists
 */
export async function createAlias(
  ctx: Context,
  requester: Requester,
  alias: string,
  roomId: string,
  options: { servers?: readonly string[] | undefined; checkMembership?: boolean } = {},
): Promise<void> {
  const { userId } = requester;
  if (alias.length > MAX_ID_BYTES) throw invalidParam(`Can't create aliases longer than ${MAX_ID_BYTES} characters`);
  const service = requester.appserviceId === undefined ? undefined : ctx.appservices.byId(requester.appserviceId);
  if (service !== undefined) {
    if (!service.interestedInAlias(alias)) throw new MatrixError(400, "M_EXCLUSIVE", "This application service has not reserved this kind of alias.");
  } else {
    if (ctx.config.server.requireMembershipForAliases && options.checkMembership !== false && !(await ctx.isServerAdmin(requester))) {
      if ((await ctx.members.roomsOf(userId)).get(roomId)?.membership !== "join") throw forbidden("You must be in the room to create an alias for it");
    }
    await ctx.modules.spamChecker.requireMayCreateAlias(userId, alias);
    if (!mayCreateAlias(ctx, userId, roomId, alias)) throw new MatrixError(403, "M_UNKNOWN", "Not allowed to create alias");
    if (isReservedFor(ctx, alias, userId)) throw new MatrixError(400, "M_EXCLUSIVE", "This alias is reserved by an application service.");
  }
  const localpart = localpartOf(alias);
  if (WHITESPACE.test(localpart)) throw new MatrixError(400, "M_UNKNOWN", "Invalid characters in room alias");
  if (getDomain(alias) !== ctx.config.server.serverName) throw new MatrixError(400, "M_UNKNOWN", "Room alias must be local");
  const servers = options.servers !== undefined && options.servers.length > 0 ? options.servers : [...(await ctx.members.joinedServers(roomId))];
  if (servers.length === 0) throw new MatrixError(400, "M_UNKNOWN", "Failed to get server list");
  const created = await ctx.transaction("create_room_alias_association", (txn) => {
    txn.afterCommit(() => ctx.appserviceSender.interest.forgetAliases(roomId));
    return insertAlias(txn, alias, roomId, userId, servers);
  });
  if (!created) throw new MatrixError(409, "M_UNKNOWN", `Room alias ${alias} already exists`);
}

/** An appservice removes an alias of its namespace. @throws MatrixError 400 M_EXCLUSIVE */
export async function removeAppserviceAlias(
  ctx: Pick<Context, "transaction" | "appservices" | "appserviceSender">,
  appserviceId: string,
  alias: string,
): Promise<void> {
  if (ctx.appservices.byId(appserviceId)?.interestedInAlias(alias) !== true) {
    throw new MatrixError(400, "M_EXCLUSIVE", "This application service has not reserved this kind of alias");
  }
  const roomId = await ctx.transaction("delete_room_alias", (txn) => deleteAlias(txn, alias));
  if (roomId !== undefined) ctx.appserviceSender.interest.forgetAliases(roomId);
}

/** Aliases of a room, for those who may read it. @throws MatrixError 403 */
export async function listAliases(ctx: Context, requester: Requester, roomId: string): Promise<string[]> {
  if (!(await ctx.isServerAdmin(requester))) await requireReadAccess(ctx, requester, roomId);
  return await aliasesOfRoom(ctx.read, roomId);
}

/** True when an appservice has the alias for itself alone and `userId` is not its own user. */
export function isReservedFor(ctx: Pick<Context, "appservices">, alias: string, userId: string): boolean {
  for (const service of ctx.appservices.all()) {
    if (!service.interestedInAlias(alias)) continue;
    if (service.sender === userId) return false;
    if (service.ownsAlias(alias)) return true;
  }
  return false;
}
