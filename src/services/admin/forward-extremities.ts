import { pruneForwardExtremities } from "../../storage/events/prune-forward-extremities.ts";
import type { Context } from "../context.ts";
import { badRequest } from "./targets.ts";

/** Deletes all forward extremities of a room but the newest; returns their number. @throws MatrixError 400 for a room without any */
export async function pruneExtremitiesOf(ctx: Pick<Context, "persister" | "transaction">, roomId: string): Promise<number> {
  return await ctx.persister.exclusively(roomId, async () => {
    const deleted = await ctx.transaction("delete_forward_extremities_for_room", async (txn) => {
      txn.afterCommit(() => ctx.persister.forgetRoom(roomId));
      return await pruneForwardExtremities(txn, roomId);
    });
    if (deleted === undefined) throw badRequest(`No forward extremity event found for room ${roomId}`);
    return deleted;
  });
}
