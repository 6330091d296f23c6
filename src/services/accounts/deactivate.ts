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
  log.info(`Deactivating ${userId}`, { erase });
  let unbound = true;
  for (const hook of ctx.accountHooks.unbindThreepids) unbound = (await hook(ctx, userId, idServer)) && unbound;
  // From here on nobody can come back with a token; the rest may be repeated.
  await ctx.transaction("deactivate_account", async (txn) => {
    await endAllSessions(ctx, txn, userId);
    await deleteThreepidsOfUser(txn, userId);
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
  });
  for (const hook of ctx.accountHooks.rejectInvites) await hook(ctx, userId);
  ctx.userParter.poke();
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
}

/** Parts deactivated users from their rooms, one loop at a time. What a stop interrupts is done after the next start. */
export class UserParter {
  private running: Promise<void> | undefined;
  private again = false;
  private closed = false;

  constructor(private readonly full: () => Context) {}

  /** Somebody may be waiting: called at start, now and then, and after each deactivation. */
  poke(): void {
    this.again = true;
    this.running ??= this.loop().finally(() => (this.running = undefined));
  }

  /** Resolves when nobody waits any more. */
  async idle(): Promise<void> {
    await this.running;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.idle();
  }

  private async loop(): Promise<void> {
    const ctx = this.full();
    try {
      while (this.again && !this.closed) {
        this.again = false;
        const pending = await getPendingDeactivations(ctx.read);
        const erased = await getErasedUsers(ctx.read, pending);
        for (const userId of pending) {
          if (this.closed) return;
          for (const hook of ctx.accountHooks.partRooms) await hook(ctx, { userId, erased: erased.has(userId) });
          await ctx.transaction("del_user_pending_deactivation", (txn) => deletePendingDeactivation(txn, userId));
        }
      }
    } catch (error) {
      ctx.log.named("synapse.handlers.deactivate_account").warn("Could not part a deactivated user from rooms; tried again later", { error });
    }
  }
}
