import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import type { Context } from "../context.ts";
import type { RemotePublicRooms } from "../rooms/remote-rooms.ts";

/** A page of another server's room directory; entries that are no rooms are dropped. @throws MatrixError 502 */
export async function remotePublicRooms(ctx: Pick<Context, "config" | "remoteRooms">, server: string, request: RemotePublicRooms): Promise<JsonObject> {
  if (!ctx.config.roomDirectory.enableRoomListSearch) return { chunk: [], total_room_count_estimate: 0 };
  const page = await ctx.remoteRooms.publicRooms(server, request);
  return { ...page, chunk: Array.isArray(page.chunk) ? page.chunk.filter((room) => isJsonObject(room) && typeof room.room_id === "string") : [] };
}
