import { ignoredUsers, purgeAccountData } from "../../storage/accounts/account-data.ts";
import { purgePushRules } from "../../storage/push/rules.ts";
import { purgeThreadSubscriptions } from "../../storage/push/thread-subscriptions.ts";
import { deleteDehydratedDevices } from "../../storage/devices/dehydrated.ts";
import { deleteInboxMessages, forgetReceivedMessages } from "../../storage/devices/inbox.ts";
import { purgeBackups } from "../../storage/devices/key-backup.ts";
import { deleteKeysOfDevices } from "../../storage/devices/keys.ts";
import { pruneChangesInRooms } from "../../storage/devices/lists.ts";
import { pruneOutboundPokes } from "../../storage/devices/lists-outbound.ts";
import { deleteAccountDataIn } from "../account-data/account-data.ts";
import type { AccountHooks } from "../accounts/hooks.ts";
import type { Context } from "../context.ts";
import { recordDeviceChanges } from "./lists.ts";
import { DELETE_DEVICE_MESSAGES } from "./tasks.ts";

const DAY_MS = 24 * 3600 * 1000;
/** Messages of a deleted device that go in the transaction of its deletion; the rest goes by a task. */
const INBOX_AT_ONCE = 1000;
const PRUNE_BATCH = 1000;

/** What happens to keys, messages, device lists and per-user data when devices and accounts change. */
export const deviceHooks: Pick<AccountHooks, "devicesDeleted" | "devicesChanged" | "deactivated"> = {
  devicesDeleted: [
    async (ctx, txn, userId, deviceIds) => {
      await deleteKeysOfDevices(txn, userId, deviceIds);
      await deleteDehydratedDevices(txn, userId, deviceIds);
      for (const deviceId of deviceIds) {
        const upTo = ctx.streams.toDevice.currentToken();
        if ((await deleteInboxMessages(txn, userId, deviceId, upTo, INBOX_AT_ONCE)) < INBOX_AT_ONCE) continue;
        await ctx.tasks.schedule(txn, {
          action: DELETE_DEVICE_MESSAGES,
          resourceId: deviceId,
          params: { user_id: userId, device_id: deviceId, up_to_stream_id: upTo },
        });
      }
      txn.afterCommit(() => ctx.keyCounts.invalidate(userId, deviceIds));
    },
    async (ctx, txn, userId, deviceIds) => {
      if (!ctx.config.experimental.msc3890Enabled) return;
      const types = deviceIds.map((deviceId) => `org.matrix.msc3890.local_notification_settings.${deviceId}`);
      await deleteAccountDataIn(ctx, txn, userId, types);
    },
  ],
  devicesChanged: [recordDeviceChanges],
  deactivated: [
    async (ctx, txn, { userId }) => {
      await purgeBackups(txn, userId);
      const ignored = (await ignoredUsers(txn, [userId])).get(userId)!;
      await purgeAccountData(txn, userId);
      await purgePushRules(txn, userId);
      await purgeThreadSubscriptions(txn, userId);
      txn.afterCommit(() => {
        ctx.ignoredUsers.invalidate(userId, ignored);
        ctx.pushRules.invalidate(userId);
        ctx.slidingRoomLists.forget(userId);
      });
    },
  ],
};

/** Forgets what nobody asks for any more: changes in rooms after 30 days, pokes of servers that are away after one, received ids after seven. */
export async function pruneDeviceTables(ctx: Pick<Context, "transaction" | "clock">, signal: AbortSignal): Promise<void> {
  const now = ctx.clock.now();
  const steps = [
    () => ctx.transaction("prune_device_lists_changes_in_room", (txn) => pruneChangesInRooms(txn, now - 30 * DAY_MS, PRUNE_BATCH)),
    () =>
      ctx.transaction("_delete_old_federation_inbox_rows", (txn) => forgetReceivedMessages(txn, now - 7 * DAY_MS, PRUNE_BATCH), {
        isolation: "read committed",
      }),
  ];
  for (const step of steps) while (!signal.aborted && (await step()) >= PRUNE_BATCH) await ctx.clock.sleep(100, signal);
  await ctx.transaction("_prune_old_outbound_device_pokes", (txn) => pruneOutboundPokes(txn, now - DAY_MS));
}
