import type { Txn } from "../../storage/database.ts";
import type { Context } from "../context.ts";
import { type Requester, requesterFor } from "../requester.ts";
import type { TaskAction } from "../tasks/scheduler.ts";
import { updateMembership } from "./membership.ts";

/** Synapse's name for the task: either server finishes what the other began. */
export const UPDATE_JOIN_STATES = "update_join_states";
/** Rooms that are written together: the persister stores them in one batch. */
const ROOMS_AT_ONCE = 50;

/** A name or avatar changed: the rooms that the user is in will show it. A change on top of one that is still spreading replaces it. */
export async function spreadProfile(ctx: Pick<Context, "tasks">, txn: Txn, requester: Requester): Promise<void> {
  const { userId, authenticatedEntity } = requester;
  await ctx.tasks.schedule(txn, {
    action: UPDATE_JOIN_STATES,
    resourceId: userId,
    params: { requester_authenticated_entity: authenticatedEntity },
    replace: true,
  });
}

/** Writes the user's present profile into the membership events of all joined rooms, in the order of room ids. */
export const updateJoinStates: TaskAction = async (ctx, { task, signal, save }) => {
  const userId = task.resourceId!;
  const entity = task.params?.["requester_authenticated_entity"];
  const requester = requesterFor(userId, { authenticatedEntity: typeof entity === "string" ? entity : userId });
  const last = task.result?.["last_room_id"];
  const rooms = [...(await ctx.members.roomsOf(userId))]
    .filter(([roomId, { membership }]) => membership === "join" && (typeof last !== "string" || roomId > last))
    .map(([roomId]) => roomId)
    .sort();
  for (let at = 0; at < rooms.length; at += ROOMS_AT_ONCE) {
    if (signal.aborted) return "later";
    const batch = rooms.slice(at, at + ROOMS_AT_ONCE);
    const results = await Promise.allSettled(
      batch.map((roomId) => updateMembership(ctx, requester, { roomId, target: userId, action: "join" }, { rateLimit: false })),
    );
    results.forEach((result, index) => {
      if (result.status === "rejected")
        ctx.log.named("synapse.handlers.profile").warn(`Failed to update join event for room ${batch[index]!}`, { error: result.reason });
    });
    if (!(await save({ last_room_id: batch.at(-1)! }))) return undefined;
  }
  return undefined;
};
