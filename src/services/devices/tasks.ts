import { deleteInboxMessages } from "../../storage/devices/inbox.ts";
import { deleteOldOneTimeKeys } from "../../storage/devices/keys.ts";
import type { TaskAction } from "../tasks/scheduler.ts";

const READ_COMMITTED = { isolation: "read committed" } as const;
const MESSAGES_AT_ONCE = 1000;
const USERS_AT_ONCE = 100;
const OLD_KEY_MS = 7 * 24 * 3600 * 1000;

/** Synapse's task: empties the inbox of a device that was deleted, up to a position. */
export const DELETE_DEVICE_MESSAGES = "delete_device_messages";

export const deleteDeviceMessages: TaskAction = async (ctx, { task, signal }) => {
  const { user_id: userId, device_id: deviceId, up_to_stream_id: upTo } = task.params ?? {};
  if (typeof userId !== "string" || typeof deviceId !== "string" || typeof upTo !== "number") return undefined;
  for (;;) {
    const deleted = await ctx.transaction(
      "delete_messages_for_device",
      (txn) => deleteInboxMessages(txn, userId, deviceId, upTo, MESSAGES_AT_ONCE),
      READ_COMMITTED,
    );
    if (deleted < MESSAGES_AT_ONCE) return undefined;
    await ctx.clock.sleep(100, signal);
    if (signal.aborted) return "later";
  }
};

/** Synapse's task: deletes one-time keys that libolm has forgotten long ago; scheduled once by a schema delta. */
export const DELETE_OLD_OTKS = "delete_old_otks";

export const deleteOldOtks: TaskAction = async (ctx, { task, signal, save }) => {
  const from = task.result?.from_user;
  let last = typeof from === "string" ? from : "";
  for (;;) {
    const before = ctx.clock.now() - OLD_KEY_MS;
    const next = await ctx.transaction("delete_old_otks_for_next_user_batch", (txn) => deleteOldOneTimeKeys(txn, last, USERS_AT_ONCE, before), READ_COMMITTED);
    if (next === undefined) return undefined;
    last = next;
    if (!(await save({ from_user: last }))) return undefined;
    await ctx.clock.sleep(4_000, signal);
    if (signal.aborted) return "later";
  }
};
