import { addUserCounters } from "../storage/rooms/stats.ts";
import { type AccountHooks, noHooks } from "./accounts/hooks.ts";
import { deviceHooks } from "./devices/hooks.ts";
import { remoteAccountStatuses, remoteProfile } from "./federation/queries/user-queries.ts";
import { localProfileChanged, localUserDeactivated } from "./directory/user-directory.ts";
import { pusherHooks } from "./push/remove-pushers.ts";
import { autoJoin } from "./rooms/auto-join.ts";
import { leaveAllRooms, rejectInvites } from "./rooms/closed-account.ts";
import { spreadProfile } from "./rooms/profile-in-rooms.ts";
import { ssoHooks } from "./sso/hooks.ts";
import { threepidHooks } from "./threepid/hooks.ts";
import { verifyCaptcha } from "./accounts/captcha.ts";

/** What happens elsewhere in the server when accounts and devices come, change and go. */
export const accountHooks: AccountHooks = {
  ...noHooks,
  ...threepidHooks,
  ...ssoHooks,
  verifyCaptcha,
  devicesDeleted: [
    ...deviceHooks.devicesDeleted,
    ...pusherHooks.devicesDeleted,
    (ctx, txn, userId, deviceIds) => Promise.resolve(txn.afterCommit(() => ctx.delegatedAuth?.forgetDevices(userId, deviceIds))),
  ],
  devicesChanged: deviceHooks.devicesChanged,
  tokensDeleted: pusherHooks.tokensDeleted,
  userInserted: [
    async (ctx, txn, userId) => {
      if (ctx.config.stats.enabled) await addUserCounters(txn, userId);
    },
  ],
  registered: [autoJoin],
  profileChanged: [localProfileChanged],
  propagateProfile: [spreadProfile],
  remoteProfile,
  remoteAccountStatuses,
  rejectInvites: [rejectInvites],
  partRooms: [leaveAllRooms],
  deactivated: [...deviceHooks.deactivated, ...pusherHooks.deactivated, (_ctx, txn, { userId }) => localUserDeactivated(txn, userId)],
};
