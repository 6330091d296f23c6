import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import type { ScheduledTask } from "../../storage/jobs/scheduled-tasks.ts";
import type { Context } from "../context.ts";
import { purgeHistory, purgeRoom } from "../rooms/purge.ts";
import type { TaskAction } from "../tasks/scheduler.ts";
import { checkShutdown, shutdownRoom, type ShutdownParams, type ShutdownResult } from "./shutdown-room.ts";
import { badRequest } from "./targets.ts";

/** Long work on rooms, as tasks by Synapse's names: either server finishes what the other began. */
export const PURGE_HISTORY = "purge_history";
export const PURGE_ROOM = "purge_room";
export const SHUTDOWN_AND_PURGE_ROOM = "shutdown_and_purge_room";

/** Begins to delete a room; returns the id of the task. @throws MatrixError 400 while another deletion of it is under way */
export async function startDeletion(ctx: Context, roomId: string, params: ShutdownParams): Promise<string> {
  await checkShutdown(ctx, roomId, params);
  return await ctx.transaction("insert_scheduled_task", async (txn) => {
    const running = await ctx.tasks.find({ actions: [PURGE_ROOM, SHUTDOWN_AND_PURGE_ROOM], resourceId: roomId, statuses: ["active", "scheduled"] });
    // A purge that waits for its day does not hinder this one.
    if (running.some((task) => task.status === "active" || task.action === SHUTDOWN_AND_PURGE_ROOM))
      throw badRequest(`Purge already in progress for ${roomId}`);
    return await ctx.tasks.schedule(txn, { action: SHUTDOWN_AND_PURGE_ROOM, resourceId: roomId, params: { ...params } });
  });
}

/** Deletions of a room that run or have ended. */
export async function deletionsOf(ctx: Pick<Context, "tasks">, roomId: string): Promise<ScheduledTask[]> {
  return await ctx.tasks.find({ actions: [PURGE_ROOM, SHUTDOWN_AND_PURGE_ROOM], resourceId: roomId, statuses: ["active", "complete", "failed"] });
}

/** A deletion as `delete_status` shows it; what went wrong is said, too. */
export function deletionView(task: ScheduledTask): JsonObject {
  return {
    delete_id: task.id,
    room_id: task.resourceId,
    status: task.status,
    shutdown_room: task.result,
    ...(task.status === "failed" ? { error: task.error } : {}),
  };
}

/** Begins to delete the history of a room below a depth (a "t1-2" token); returns the id of the task. */
export async function startHistoryPurge(ctx: Context, roomId: string, token: string, localToo: boolean): Promise<string> {
  const params = { token, delete_local_events: localToo };
  return await ctx.transaction("insert_scheduled_task", (txn) => ctx.tasks.schedule(txn, { action: PURGE_HISTORY, resourceId: roomId, params }));
}

export const purgeHistoryTask: TaskAction = async (ctx, { task }) => {
  const { resourceId: roomId, params } = task;
  const depth = /^t(\d+)-/.exec(String(params?.token ?? ""))?.[1];
  if (roomId === null || depth === undefined || typeof params?.delete_local_events !== "boolean")
    throw new Error("Not enough parameters passed to _purge_history");
  const topological = Number(depth);
  await purgeHistory(ctx, roomId, Number.isSafeInteger(topological) ? topological : BigInt(depth), params.delete_local_events);
  return undefined;
};

export const purgeRoomTask: TaskAction = async (ctx, { task }) => {
  if (task.resourceId === null) throw new Error("No room id passed to purge_room task");
  await purgeRoom(ctx, task.resourceId, task.params?.force === true);
  return undefined;
};

export const shutdownAndPurgeTask: TaskAction = async (ctx, { task, save, signal }) => {
  const { resourceId: roomId, params } = task;
  if (roomId === null || params === null) throw new Error("No room id and/or no parameters passed to shutdown_and_purge_room task");
  const result = await shutdownRoom(ctx, roomId, readParams(params), readResult(task.result), (soFar) => save({ ...soFar }), signal);
  if (result === "later") return "later";
  await save({ ...result });
  if (params.purge === true) await purgeRoom(ctx, roomId, params.force_purge === true);
  return { ...result };
};

function readParams(params: JsonObject): ShutdownParams {
  const text = (value: Json | undefined): string | null => (typeof value === "string" ? value : null);
  return {
    requester_user_id: text(params.requester_user_id),
    new_room_user_id: text(params.new_room_user_id),
    new_room_name: text(params.new_room_name),
    message: text(params.message),
    block: params.block === true,
    purge: params.purge === true,
    force_purge: params.force_purge === true,
  };
}

function readResult(result: JsonObject | null): ShutdownResult | undefined {
  if (!isJsonObject(result)) return undefined;
  const texts = (value: Json | undefined): string[] => (Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : []);
  return {
    kicked_users: texts(result.kicked_users),
    failed_to_kick_users: texts(result.failed_to_kick_users),
    local_aliases: texts(result.local_aliases),
    new_room_id: typeof result.new_room_id === "string" ? result.new_room_id : null,
  };
}
