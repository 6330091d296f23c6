import { DELETE_DEVICE_MESSAGES, DELETE_OLD_OTKS, deleteDeviceMessages, deleteOldOtks } from "../devices/tasks.ts";
import { PURGE_HISTORY, PURGE_ROOM, purgeHistoryTask, purgeRoomTask, SHUTDOWN_AND_PURGE_ROOM, shutdownAndPurgeTask } from "../admin/delete-room.ts";
import { REDACT_ALL_EVENTS, redactAllEvents } from "../admin/redact-user.ts";
import { UPDATE_JOIN_STATES, updateJoinStates } from "../rooms/profile-in-rooms.ts";
import type { TaskAction } from "./scheduler.ts";

/** The kinds of tasks that this server runs, by Synapse's names for them. */
export const taskActions: Readonly<Record<string, TaskAction>> = {
  [REDACT_ALL_EVENTS]: redactAllEvents,
  [PURGE_HISTORY]: purgeHistoryTask,
  [PURGE_ROOM]: purgeRoomTask,
  [SHUTDOWN_AND_PURGE_ROOM]: shutdownAndPurgeTask,
  [DELETE_DEVICE_MESSAGES]: deleteDeviceMessages,
  [DELETE_OLD_OTKS]: deleteOldOtks,
  [UPDATE_JOIN_STATES]: updateJoinStates,
};
