import { forbidden, MatrixError, notFound } from "../../protocol/errors.ts";
import { aliasesOfRoom } from "../../storage/rooms/aliases.ts";
import { findRoom, setRoomPublic, setRoomPublicOnNetwork } from "../../storage/rooms/rooms.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { canChangeRoomList } from "../room-access/power.ts";
import { mayPublish } from "./rules.ts";

/** Which rooms are in the directory. */
export type DirectoryVisibility = "public" | "private";

/** @throws MatrixError 404 for an unknown room */
export async function directoryVisibility(ctx: Pick<Context, "read">, roomId: string): Promise<DirectoryVisibility> {
  const room = await findRoom(ctx.read, roomId);
  if (room === undefined) throw notFound("Unknown room");
  return room.is_public ? "public" : "private";
}

/** Puts a room into the directory, or takes it out. @throws MatrixError 400, 403 */
export async function setDirectoryVisibility(ctx: Context, requester: Requester, roomId: string, visibility: DirectoryVisibility): Promise<void> {
  await ctx.modules.spamChecker.requireMayPublish(requester.userId, roomId);
  if (requester.isGuest) throw forbidden("Guests cannot edit the published room list");
  if (visibility === "public" && !ctx.config.roomDirectory.enableRoomListSearch)
    throw forbidden("This user is not permitted to publish rooms to the room list");
  if ((await findRoom(ctx.read, roomId)) === undefined) throw new MatrixError(400, "M_UNKNOWN", "Unknown room");
  if (!(await canChangeRoomList(ctx, requester, roomId))) {
    throw forbidden("This server requires you to be a moderator in the room to edit its room list entry");
  }
  if (visibility === "public") {
    const canonical = (await ctx.state.currentEvent(roomId, "m.room.canonical_alias"))?.content.alias;
    const aliases = [...(await aliasesOfRoom(ctx.read, roomId)), ...(typeof canonical === "string" && canonical !== "" ? [canonical] : [])];
    if (!mayPublish(ctx, requester.userId, roomId, aliases)) throw new MatrixError(403, "M_UNKNOWN", "Not allowed to publish room");
    if (!(await ctx.modules.thirdPartyRules.mayChangeVisibility(roomId, visibility, async () => await ctx.state.current(roomId))))
      throw new MatrixError(403, "M_UNKNOWN", "Not allowed to publish room");
  }
  await ctx.transaction("set_room_is_public", (txn) => setRoomPublic(txn, roomId, visibility === "public"));
}

/** Publishes a room in the list of an appservice's network. */
export async function setNetworkVisibility(
  ctx: Pick<Context, "transaction">,
  appserviceId: string,
  networkId: string,
  roomId: string,
  visibility: DirectoryVisibility,
): Promise<void> {
  await ctx.transaction("set_room_is_public_appservice", (txn) => setRoomPublicOnNetwork(txn, appserviceId, networkId, roomId, visibility === "public"));
}
