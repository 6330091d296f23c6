import { forbidden, MatrixError, notFound } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { aliasOwner, deleteAlias } from "../../storage/rooms/aliases.ts";
import type { Context } from "../context.ts";
import { sendEvent, ShadowBanned } from "../events/send.ts";
import type { Requester } from "../requester.ts";
import { canChangeRoomList } from "../room-access/power.ts";
import { isReservedFor } from "./aliases.ts";

/**
 * Removes a local alias, and with it its mention in the room's canonical alias event, where the user may send that. Only its creator, those
 * who may change the canonical alias, and server admins may do so (CVE-2024-6303).
 * @throws MatrixError 400, 403, 404
 */
export async function removeAlias(ctx: Context, requester: Requester, alias: string): Promise<void> {
  const owner = await aliasOwner(ctx.read, alias);
  if (owner === undefined) throw notFound("Unknown room alias");
  if (owner.creator !== requester.userId && !(await canChangeRoomList(ctx, requester, owner.room_id)))
    throw forbidden("You don't have permission to delete the alias.");
  if (isReservedFor(ctx, alias, requester.userId)) throw new MatrixError(400, "M_EXCLUSIVE", "This alias is reserved by an application service.");
  const roomId = await ctx.transaction("delete_room_alias", (txn) => deleteAlias(txn, alias));
  if (roomId === undefined) throw notFound("Unknown room alias");
  ctx.appserviceSender.interest.forgetAliases(roomId);
  await withdrawCanonicalAlias(ctx, requester, roomId, alias);
}

/** Takes an alias that is no more out of the canonical alias event. Not allowed to the user, it stays: the alias is gone all the same. */
async function withdrawCanonicalAlias(ctx: Context, requester: Requester, roomId: string, alias: string): Promise<void> {
  const content = withoutAlias(await ctx.state.currentEvent(roomId, "m.room.canonical_alias"), alias);
  if (content === undefined) return;
  try {
    await sendEvent(ctx, requester, { roomId, type: "m.room.canonical_alias", stateKey: "", content }, { rateLimit: false });
  } catch (error) {
    if (!(error instanceof MatrixError) && !(error instanceof ShadowBanned)) throw error;
    ctx.log.named("synapse.handlers.directory").info(`Failed to update alias events: ${error.message}`);
  }
}

/** The content of a canonical alias event without an alias; undefined when it does not name it. */
export function withoutAlias(event: MatrixEvent | undefined, alias: string): MatrixEvent["content"] | undefined {
  if (event === undefined) return undefined;
  const { alias: main, alt_aliases: others, ...rest } = event.content;
  const isMain = main === alias;
  const isOther = Array.isArray(others) && others.includes(alias);
  if (!isMain && !isOther) return undefined;
  const left = isOther ? others.filter((other) => other !== alias) : others;
  return {
    ...rest,
    ...(isMain || main === undefined ? {} : { alias: main }),
    ...(left === undefined || (Array.isArray(left) && isOther && left.length === 0) ? {} : { alt_aliases: left }),
  };
}
