import { badJson, notFound } from "../../../protocol/errors.ts";
import {
  deletionsOf,
  deletionView,
  PURGE_HISTORY,
  PURGE_ROOM,
  SHUTDOWN_AND_PURGE_ROOM,
  startDeletion,
  startHistoryPurge,
} from "../../../services/admin/delete-room.ts";
import { checkRoomId, checkShutdown, readShutdown, shutdownRoom } from "../../../services/admin/shutdown-room.ts";
import { badRequest } from "../../../services/admin/targets.ts";
import { purgeRoom } from "../../../services/rooms/purge.ts";
import { lastEventReceivedBefore } from "../../../storage/events/purge-history.ts";
import { endpoint } from "../../http/endpoint.ts";
import { isInteger, isTruthy } from "../body.ts";

/** Deletes a room while the client waits. */
export const deleteRoom = endpoint({
  servlet: "RoomRestServlet",
  method: "DELETE",
  path: "/_synapse/admin/v1/rooms/:roomId",
  auth: "admin",
  emptyBody: false,
  async handle(ctx, { params: { roomId }, body, requester }) {
    const shutdown = readShutdown(body, requester.userId);
    await checkShutdown(ctx, roomId, shutdown);
    const result = await shutdownRoom(ctx, roomId, shutdown);
    if (shutdown.purge) await purgeRoom(ctx, roomId, shutdown.force_purge);
    return result;
  },
});

/** Deletes a room in the background. */
export const deleteRoomLater = endpoint({
  servlet: "RoomRestV2Servlet",
  method: "DELETE",
  path: "/_synapse/admin/v2/rooms/:roomId",
  auth: "admin",
  emptyBody: false,
  handle: async (ctx, { params, body, requester }) => ({ delete_id: await startDeletion(ctx, params.roomId, readShutdown(body, requester.userId)) }),
});

export const deleteStatusOfRoom = endpoint({
  servlet: "DeleteRoomStatusByRoomIdRestServlet",
  method: "GET",
  path: "/_synapse/admin/v2/rooms/:roomId/delete_status",
  auth: "admin",
  async handle(ctx, { params }) {
    checkRoomId(params.roomId);
    const tasks = await deletionsOf(ctx, params.roomId);
    if (tasks.length === 0) throw notFound(`No delete task for room_id '${params.roomId}' found`);
    return { results: tasks.map(deletionView) };
  },
});

export const deleteStatus = endpoint({
  servlet: "DeleteRoomStatusByDeleteIdRestServlet",
  method: "GET",
  path: "/_synapse/admin/v2/rooms/delete_status/:deleteId",
  auth: "admin",
  async handle(ctx, { params }) {
    const task = await ctx.tasks.get(params.deleteId);
    if (task === undefined || (task.action !== PURGE_ROOM && task.action !== SHUTDOWN_AND_PURGE_ROOM))
      throw notFound(`delete id '${params.deleteId}' not found`);
    return deletionView(task);
  },
});

/** Deletes a room's history up to an event or a time, in the background. */
export const purgeHistory = endpoint({
  servlet: "PurgeHistoryRestServlet",
  method: "POST",
  path: ["/_synapse/admin/v1/purge_history/:roomId", "/_synapse/admin/v1/purge_history/:roomId/:eventId"],
  auth: "admin",
  async handle(ctx, { params, body }) {
    const { roomId, eventId: fromPath } = params as { readonly roomId: string; readonly eventId?: string };
    const eventId = fromPath ?? body.purge_up_to_event_id ?? undefined;
    const { purge_up_to_ts: timestamp } = body;
    let position: { topological: number | bigint; stream: number } | undefined;
    if (eventId !== undefined) {
      const event = typeof eventId === "string" ? await ctx.events.one(eventId) : undefined;
      if (event === undefined) throw notFound(`Could not find event ${String(eventId)}`);
      if (event.roomId !== roomId) throw badRequest("Event is for wrong room.");
      position = { topological: event.depth, stream: event.streamOrdering ?? 0 };
    } else if (timestamp !== undefined) {
      if (!isInteger(timestamp)) throw badJson("purge_up_to_ts must be an int");
      position = await lastEventReceivedBefore(ctx.read, roomId, timestamp);
      if (position === undefined) throw notFound("there is no event to be purged");
    } else {
      throw badJson("must specify purge_up_to_event_id or purge_up_to_ts");
    }
    return { purge_id: await startHistoryPurge(ctx, roomId, `t${position.topological}-${position.stream}`, isTruthy(body.delete_local_events)) };
  },
});

export const purgeHistoryStatus = endpoint({
  servlet: "PurgeHistoryStatusRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/purge_history_status/:purgeId",
  auth: "admin",
  async handle(ctx, { params }) {
    const task = await ctx.tasks.get(params.purgeId);
    if (task === undefined || task.action !== PURGE_HISTORY) throw notFound(`purge id '${params.purgeId}' not found`);
    const status = task.status === "complete" || task.status === "failed" ? task.status : "active";
    return { status, ...(task.error === null || task.error === "" ? {} : { error: task.error }) };
  },
});

export const roomDeletionRoutes = [deleteRoom, deleteRoomLater, deleteStatusOfRoom, deleteStatus, purgeHistory, purgeHistoryStatus];
