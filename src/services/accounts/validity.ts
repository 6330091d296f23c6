import { percentFormat } from "../../lib/percent-format.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import {
  getAccountsExpiringBefore,
  getAccountsWithoutExpiry,
  lockRenewalToken,
  markRenewalMailSent,
  setMissingExpiries,
  setRenewalToken,
} from "../../storage/accounts/account-validity.ts";
import { getAccountExpiry, renewAccount as storeRenewal } from "../../storage/accounts/deactivations.ts";
import { getProfile } from "../../storage/accounts/profiles.ts";
import { getThreepidsOfUser } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";

/** Accounts that expire (`account_validity`), and links in mails that prolong them. */

const TOKEN_LENGTH = 32;

/** Whether the account has expired: as a module says, else by `account_validity`. */
export async function isExpired(ctx: Pick<Context, "accounts" | "clock" | "config" | "modules">, userId: string): Promise<boolean> {
  const told = await ctx.modules.accountValidity.isExpired(userId);
  if (told !== undefined) return told;
  if (!ctx.config.accountValidity.enabled) return false;
  const expiry = await ctx.accounts.expiry(userId);
  return expiry !== undefined && ctx.clock.now() >= expiry;
}

/** What came of following a renewal link. Times in milliseconds. */
export type Renewal = { readonly outcome: "renewed" | "renewed before"; readonly expiresAt: number } | { readonly outcome: "unknown" };

/** Prolongs the account of a renewal token, once. */
export async function renewByToken(ctx: Pick<Context, "accounts" | "clock" | "config" | "modules" | "transaction">, token: string): Promise<Renewal> {
  const module = ctx.modules.accountValidity.owner("on_legacy_renew");
  if (module !== undefined) {
    const [valid, stale, expiresAt] = await module.on_legacy_renew(token);
    return valid ? { outcome: "renewed", expiresAt } : stale ? { outcome: "renewed before", expiresAt } : { outcome: "unknown" };
  }
  const { periodMs } = ctx.config.accountValidity;
  if (token === "" || token.includes("\0")) return { outcome: "unknown" };
  return await ctx.transaction("set_account_validity_for_user", async (txn): Promise<Renewal> => {
    const row = await lockRenewalToken(txn, token);
    if (row === undefined) return { outcome: "unknown" };
    if (row.usedAt !== null || periodMs === undefined) return { outcome: "renewed before", expiresAt: row.expiresAt };
    const now = ctx.clock.now();
    await storeRenewal(txn, row.userId, { expiresAt: now + periodMs, emailSent: false, renewalToken: token, now });
    txn.afterCommit(() => ctx.accounts.forgetExpiry(row.userId));
    return { outcome: "renewed", expiresAt: now + periodMs };
  });
}

/** Sends a user the mail with the renewal link. @throws MatrixError 400, 403 where there is nothing to renew */
export async function sendRenewalMail(ctx: Context, userId: string): Promise<void> {
  const module = ctx.modules.accountValidity.owner("on_legacy_send_mail");
  if (module !== undefined) return await module.on_legacy_send_mail(userId);
  if (!ctx.config.accountValidity.renewByEmailEnabled) throw forbidden("Account renewal via email is disabled on this server.");
  const expiresAt = await getAccountExpiry(ctx.read, userId);
  if (expiresAt === undefined) throw new MatrixError(400, "M_UNKNOWN", `User has no expiration time: ${userId}`);
  await mailRenewal(ctx, userId, expiresAt);
}

/** Writes to those whose accounts expire soon; called each half hour. One failure does not keep the others from their mails. */
export async function sendRenewals(ctx: Context): Promise<void> {
  const { enabled, renewByEmailEnabled, renewAtMs } = ctx.config.accountValidity;
  if (!enabled || !renewByEmailEnabled || renewAtMs === undefined) return;
  for (const { userId, expiresAt } of await getAccountsExpiringBefore(ctx.read, ctx.clock.now() + renewAtMs)) {
    try {
      await mailRenewal(ctx, userId, expiresAt);
    } catch (error) {
      ctx.log.named("synapse.handlers.account_validity").error(`Could not send a renewal mail to ${userId}`, { error });
    }
  }
}

/** Accounts that were there before the option was set get an expiry: spread over a tenth of the period, so that not all mails go out at once. */
export async function giveExpiries(ctx: Pick<Context, "clock" | "config" | "random" | "read" | "transaction">): Promise<void> {
  const { enabled, periodMs } = ctx.config.accountValidity;
  if (!enabled || periodMs === undefined) return;
  const userIds = await getAccountsWithoutExpiry(ctx.read);
  if (userIds.length === 0) return;
  const end = ctx.clock.now() + periodMs;
  const spread = Math.max(1, Math.floor(periodMs / 10_000)); // whole seconds: random numbers have 48 bits at most
  const expiries = userIds.map((userId) => ({ userId, expiresAt: end - 1000 * ctx.random.below(spread) }));
  await ctx.transaction("get_users_with_no_expiration_date", (txn) => setMissingExpiries(txn, expiries));
}

async function mailRenewal(ctx: Context, userId: string, expiresAt: number): Promise<void> {
  const { accountValidity, email, server } = ctx.config;
  const addresses = (await getThreepidsOfUser(ctx.read, userId)).filter(({ medium }) => medium === "email").map(({ address }) => address);
  if (addresses.length === 0 || ctx.mail === undefined) return;
  const token = ctx.random.letters(TOKEN_LENGTH);
  await ctx.transaction("set_renewal_token_for_user", (txn) => setRenewalToken(txn, userId, token));
  const displayName = (await getProfile(ctx.read, userId))?.displayname;
  const values = {
    app_name: email.appName,
    display_name: displayName ?? userId,
    expiration_ts: expiresAt,
    url: `${server.publicBaseurl}_matrix/client/unstable/account_validity/renew?token=${token}`,
  };
  const html = ctx.templates.render(email.templates.expiryHtml, values, email.templateDir);
  const text = ctx.templates.render(email.templates.expiryText, values, email.templateDir);
  const subject = percentFormat(accountValidity.renewEmailSubject, { app: email.appName });
  for (const to of addresses) await ctx.mail.send({ to, subject, html, text });
  await ctx.transaction("set_renewal_mail_status", (txn) => markRenewalMailSent(txn, userId));
}
