import type { JsonObject } from "../../../lib/json.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { Context } from "../../context.ts";
import { receiveSigningKeyUpdate } from "../../devices/cross-signing.ts";
import { handleRemoteDeviceListUpdate, type RemoteDeviceContext } from "../../devices/lists-remote.ts";
import { receiveToDevice, type ToDeviceContext } from "../../devices/to-device.ts";
import { receiveReceipts, type ReceiptContext } from "../../receipts/receipts.ts";
import type { AccessContext } from "./access.ts";

export type EduContext = ReceiptContext & RemoteDeviceContext & ToDeviceContext & AccessContext & Pick<Context, "config" | "members" | "presence" | "typing">;

/**
 * An ephemeral data unit of another server (server-server API, "EDUs"). What is malformed, about somebody else's users, or of an unknown
 * type is dropped; to-device messages never are lost by an outage of the database: it throws then.
 */
export async function receiveEdu(ctx: EduContext, origin: string, type: string, content: JsonObject): Promise<void> {
  switch (type) {
    case "m.typing":
      return await receiveTyping(ctx, origin, content);
    case "m.receipt":
      return await receiveReceipts(ctx, origin, await withoutBannedRooms(ctx, origin, content));
    case "m.presence":
      if (ctx.config.server.presence.enabled && Array.isArray(content.push)) await ctx.presence.receiveRemote(origin, content.push);
      return;
    case "m.device_list_update":
      return await handleRemoteDeviceListUpdate(ctx, origin, content);
    case "m.direct_to_device":
      return await receiveToDevice(ctx, origin, content);
    case "m.signing_key_update":
    case "org.matrix.signing_key_update":
      return await receiveSigningKeyUpdate(ctx, origin, content);
    default:
      ctx.log.named("synapse.federation.federation_server").debug(`No handler registered for EDU type ${type.slice(0, 100)}`);
  }
}

async function receiveTyping(ctx: EduContext, origin: string, content: JsonObject): Promise<void> {
  const { room_id: roomId, user_id: userId, typing } = content;
  if (typeof roomId !== "string" || typeof userId !== "string" || roomId.includes("\0") || getDomain(userId) !== origin) return;
  const members = await ctx.members.inRoom(roomId);
  if (members.local.size === 0 || !members.joined.has(userId)) return;
  if (!(await ctx.inbound.acls.allows(ctx, roomId, origin))) return;
  ctx.typing.receivedRemote(roomId, userId, Boolean(typing));
}

/** Rooms whose ACL shuts the server out do not take its receipts. */
async function withoutBannedRooms(ctx: EduContext, origin: string, content: JsonObject): Promise<JsonObject> {
  const allowed: JsonObject = {};
  for (const [roomId, receipts] of Object.entries(content)) {
    if (!roomId.includes("\0") && (await ctx.inbound.acls.allows(ctx, roomId, origin))) allowed[roomId] = receipts;
  }
  return allowed;
}
