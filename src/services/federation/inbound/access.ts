import { lruCache } from "../../../lib/lru-cache.ts";
import { forbidden, notFound } from "../../../protocol/errors.ts";
import { stateKeyOf } from "../../../protocol/event/event.ts";
import type { RoomVersion } from "../../../protocol/room-versions.ts";
import { ServerAcl } from "../../../protocol/server-acl.ts";
import type { Context } from "../../context.ts";

/** Which servers may have anything to do with a room. */
export type AccessContext = Pick<Context, "inbound" | "events" | "members" | "roomVersions" | "state">;

const ACL_KEY = stateKeyOf("m.room.server_acl", "");

/** Server ACLs, compiled once for each event. */
export class ServerAcls {
  private readonly compiled = lruCache<string, ServerAcl>(5_000);

  /** Whether the room's current ACL lets the server in. */
  async allows(ctx: Pick<Context, "events" | "state">, roomId: string, server: string): Promise<boolean> {
    const id = (await ctx.state.currentIds(roomId)).get(ACL_KEY);
    if (id === undefined) return true;
    let acl = this.compiled.get(id);
    if (acl === undefined) {
      const event = await ctx.events.one(id);
      if (event === undefined) return true;
      this.compiled.set(id, (acl = new ServerAcl(event.content)));
    }
    return acl.allows(server);
  }
}

/** @throws MatrixError 403 where the room's ACL shuts the server out */
export async function requireAllowedByAcl(ctx: Pick<AccessContext, "inbound" | "events" | "state">, server: string, roomId: string): Promise<void> {
  if (!(await ctx.inbound.acls.allows(ctx, roomId, server))) throw forbidden("Server is banned from room");
}

/** @throws MatrixError 403 where the server has no member in the room, or is shut out */
export async function requireServerInRoom(ctx: AccessContext, server: string, roomId: string): Promise<void> {
  if (!(await ctx.members.joinedServers(roomId)).has(server)) throw forbidden("Host not in room.");
  await requireAllowedByAcl(ctx, server, roomId);
}

/** The version of a room that this server knows. @throws MatrixError 404 */
export async function requireRoomVersion(ctx: Pick<Context, "roomVersions">, roomId: string): Promise<RoomVersion> {
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined) throw notFound("Could not find room");
  return version;
}
