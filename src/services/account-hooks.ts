import { addUserCounters } from "../storage/rooms/stats.ts";
import { purgeThreadSubscriptions } from "../storage/rooms/thread-subscriptions.ts";
import { type AccountHooks, noHooks } from "./accounts/hooks.ts";
import { deviceHooks } from "./devices/hooks.ts";
import { localProfileChanged, localUserDeactivated } from "./directory/user-directory.ts";
import { pusherHooks } from "./push/remove-pushers.ts";

/** What happens elsewhere in the server when accounts and devices come, change and go. */
export const accountHooks: AccountHooks = {
  ...noHooks,
  devicesDeleted: [...deviceHooks.devicesDeleted, ...pusherHooks.devicesDeleted],
  devicesChanged: deviceHooks.devicesChanged,
  tokensDeleted: pusherHooks.tokensDeleted,
  userInserted: [
    async (ctx, txn, userId) => {
      if (ctx.config.stats.enabled) await addUserCounters(txn, userId);
    },
  ],
  profileChanged: [localProfileChanged],
  deactivated: [
    ...deviceHooks.deactivated,
    ...pusherHooks.deactivated,
    async (_ctx, txn, { userId }) => {
      await localUserDeactivated(txn, userId);
      await purgeThreadSubscriptions(txn, userId);
    },
  ],
};
