import { Repeated } from "../../lib/repeated.ts";
import {
  addPendingDeactivation,
  deleteAccountExpiry,
  deletePendingDeactivation,
  getErasedUsers,
  getPendingDeactivations,
  markUserErased,
  markUserNotErased,
} from "../../storage/accounts/deactivations.ts";
import { deleteProfile, insertEmptyProfile } from "../../storage/accounts/profiles.ts";
import { setPasswordHash, setUserFlags } from "../../storage/accounts/users.ts";
import { deleteThreepidsOfUser } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";
import { endAllSessions } from "./sessions.ts";

export interface Deactivation {
  readonly userId: string;
  /** Forget the user: no profile, and what they wrote shows only to those who had seen it. */
  readonly erase: boolean;
  readonly idServer: string | undefined;
  readonly byAdmin: boolean;
}

/**
 * Closes an account: no password, 3PID, device, token, pusher, account data, key backup; rooms are left in the background, also after a
 * restart. False when an identity server does not support unbinding.
 * @throws MatrixError 400 when an identity server fails, 403 when a module forbids it
 */
export async function deactivateAccount(ctx: Context, deactivation: Deactivation): Promise<boolean> {
  const { userId, erase, idServer } = deactivation;
  const log = ctx.log.named("synapse.handlers.deactivate_account");
  for (const hook of ctx.accountHooks.judgeDeactivation) await hook(ctx, deactivation);
  await ctx.modules.thirdPartyRules.requireMayDeactivate(userId, deactivation.byAdmin);
  log.info(`Deactivating ${userId}`, { erase });
  let unbound = true;
  for (const hook of ctx.accountHooks.unbindThreepids) unbound = (await hook(ctx, userId, idServer)) && unbound;
  // From here on nobody can come back with a token; the rest may be repeated.
  const threepids = await ctx.transaction("deactivate_account", async (txn) => {
    await endAllSessions(ctx, txn, userId);
    const deleted = await deleteThreepidsOfUser(txn, userId);
    await setPasswordHash(txn, ctx.accounts, userId, null);
    await addPendingDeactivation(txn, userId);
    if (erase) {
      await deleteProfile(txn, userId);
      await markUserErased(txn, userId);
      txn.afterCommit(() => ctx.erasedUsers.forget(userId));
    }
    await deleteAccountExpiry(txn, userId);
    for (const hook of ctx.accountHooks.deactivated) await hook(ctx, txn, { userId, erase });
    await setUserFlags(txn, ctx.accounts, userId, { deactivated: true });
    return deleted;
  });
  for (const hook of ctx.accountHooks.rejectInvites) await hook(ctx, userId);
  ctx.userParter.poke();
  const { thirdPartyRules } = ctx.modules;
  for (const { medium, address } of threepids) await thirdPartyRules.threepidRemoved(userId, medium, address);
  if (erase) await thirdPartyRules.profileUpdated(userId, { display_name: null, avatar_url: null }, deactivation.byAdmin, true);
  await thirdPartyRules.deactivationChanged(userId, true, deactivation.byAdmin);
  return unbound;
}

/** Opens a closed account again; it has no password until one is set. */
export async function reactivateAccount(ctx: Context, userId: string): Promise<void> {
  await ctx.transaction("activate_account", async (txn) => {
    await markUserNotErased(txn, userId);
    txn.afterCommit(() => ctx.erasedUsers.forget(userId));
    await insertEmptyProfile(txn, userId);
    await setUserFlags(txn, ctx.accounts, userId, { deactivated: false });
    for (const hook of ctx.accountHooks.profileChanged) await hook(ctx, txn, userId);
  });
  await ctx.modules.thirdPartyRules.deactivationChanged(userId, false, true);
}

/** Parts deactivated users from their rooms, one loop at a time. What a stop interrupts is done after the next start. */
export class UserParter {
  private readonly parting: Repeated;

  constructor(private readonly full: () => Context) {
    this.parting = new Repeated(
      () => this.partAll(),
      (error) => full().log.named("synapse.handlers.deactivate_account").warn("Could not part a deactivated user from rooms; tried again later", { error }),
    );
  }

  /** Somebody may be waiting: called at start, now and then, and after each deactivation. */
  poke(): void {
    this.parting.poke();
  }

  /** Resolves when nobody waits any more. */
  idle(): Promise<void> {
    return this.parting.settled();
  }

  close(): Promise<void> {
    return this.parting.close();
  }

  private async partAll(): Promise<void> {
    const ctx = this.full();
    const pending = await getPendingDeactivations(ctx.read);
    const erased = await getErasedUsers(ctx.read, pending);
    for (const userId of pending) {
      if (this.parting.isClosed) return;
      for (const hook of ctx.accountHooks.partRooms) await hook(ctx, { userId, erased: erased.has(userId) });
      await ctx.transaction("del_user_pending_deactivation", (txn) => deletePendingDeactivation(txn, userId));
    }
  }
}
