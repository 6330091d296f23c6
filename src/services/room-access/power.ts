import { CREATE_KEY, POWER_LEVELS_KEY, PowerLevels } from "../../protocol/power-levels.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { requireMembership } from "./access.ts";

/** The power levels in force in a room now. */
export async function currentPowerLevels(ctx: Pick<Context, "state">, roomId: string): Promise<PowerLevels> {
  return PowerLevels.of(await ctx.state.current(roomId, [CREATE_KEY, POWER_LEVELS_KEY]));
}

/**
 * True when the user may publish the room and manage its aliases: server admins, and members who may set the canonical alias.
 * @throws MatrixError 403 when the user is not in the room
 */
export async function canChangeRoomList(ctx: Pick<Context, "state" | "members" | "isServerAdmin">, requester: Requester, roomId: string): Promise<boolean> {
  if (await ctx.isServerAdmin(requester)) return true;
  await requireMembership(ctx, requester, roomId);
  const levels = await currentPowerLevels(ctx, roomId);
  return levels.user(requester.userId) >= levels.toSend("m.room.canonical_alias", true);
}
