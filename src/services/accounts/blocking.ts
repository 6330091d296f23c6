import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { LoadingCache } from "../../lib/loading-cache.ts";
import { MatrixError } from "../../protocol/errors.ts";
import {
  countMonthlyActive,
  getMonthlyActive,
  getOwnersOfThreepids,
  reapMonthlyActive,
  upsertMonthlyActive,
} from "../../storage/accounts/monthly-active-users.ts";
import type { Txn } from "../../storage/database.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";

type BlockingContext = Pick<Context, "accounts" | "clock" | "config" | "monthlyActive" | "read" | "transaction">;

const GRANULARITY_MS = 3_600_000;
const MONTH_MS = 30 * 86_400_000;
const DAY_MS = 86_400_000;

/** When users were last counted as active, as last read. */
export class MonthlyActiveCache {
  private readonly seen: LoadingCache<number | undefined>;

  constructor(sizeOf: CacheSize = defaultSize) {
    this.seen = new LoadingCache(sizeOf("user_last_seen_monthly_active", 20_000));
  }

  async lastSeen(ctx: Pick<Context, "read">, userId: string): Promise<number | undefined> {
    return await this.seen.get(userId, () => getMonthlyActive(ctx.read, userId));
  }

  forget(userId: string): void {
    this.seen.invalidate(userId);
  }

  clear(): void {
    this.seen.clear();
  }
}

/** Whom the check is about: a user, the maker of a request, or someone who has no account yet. */
export interface BlockingSubject {
  readonly userId?: string;
  readonly requester?: Requester;
  readonly threepid?: { readonly medium: string; readonly address: string };
  readonly userType?: string;
}

/**
 * Whether the server is open to the user: `hs_disabled` and the limit of monthly active users (as Synapse's auth blocking).
 * @throws MatrixError 403 M_RESOURCE_LIMIT_EXCEEDED
 */
export async function checkBlocking(ctx: BlockingContext, subject: BlockingSubject): Promise<void> {
  const { server, serverNotices, appservice } = ctx.config;
  if (!server.hsDisabled && !server.limitUsageByMau) return;
  let { userId } = subject;
  if (subject.requester !== undefined) {
    const { authenticatedEntity, appserviceId } = subject.requester;
    if (authenticatedEntity === server.serverName) return;
    if (authenticatedEntity.startsWith("@")) userId = authenticatedEntity;
    if (appserviceId !== undefined && !appservice.trackAppserviceUserIps) return;
  }
  const user = userId === undefined ? undefined : await ctx.accounts.user(userId);
  if (userId !== undefined && (userId === serverNotices.userId || user?.userType === "support")) return;
  if (server.hsDisabled) throw resourceLimit(ctx, server.hsDisabledMessage, "hs_disabled");
  if (userId !== undefined) {
    if ((await ctx.monthlyActive.lastSeen(ctx, userId)) !== undefined) return;
    if (user !== undefined && isTrial(ctx, user)) return;
  } else if (subject.threepid !== undefined) {
    if (isReserved(ctx, subject.threepid)) return;
  } else if (subject.userType === "support") {
    return;
  }
  if ((await countMonthlyActive(ctx.read)) >= server.maxMauValue) throw resourceLimit(ctx, "Monthly Active User Limit Exceeded", "monthly_active_user");
}

/** Counts the user as active this month, where the config wants it and there is room; guests and users on trial are not counted. */
export async function noteActive(ctx: BlockingContext, userId: string): Promise<void> {
  const { limitUsageByMau, mauStatsOnly, maxMauValue } = ctx.config.server;
  if (!limitUsageByMau && !mauStatsOnly) return;
  const user = await ctx.accounts.user(userId);
  if (user === undefined || user.isGuest || user.userType === "support" || isTrial(ctx, user)) return;
  const last = await ctx.monthlyActive.lastSeen(ctx, userId);
  const now = ctx.clock.now();
  if (last !== undefined ? now - last <= GRANULARITY_MS : limitUsageByMau && (await countMonthlyActive(ctx.read)) >= maxMauValue) return;
  await ctx.transaction("upsert_monthly_active_user", (txn) => writeActive(ctx, txn, [userId]));
}

/** Drops those not seen for thirty days, and those beyond the limit; called each hour. */
export async function reapActive(ctx: BlockingContext): Promise<void> {
  const { limitUsageByMau, mauStatsOnly, maxMauValue } = ctx.config.server;
  if (!limitUsageByMau && !mauStatsOnly) return;
  const reserved = await reservedUsers(ctx);
  await ctx.transaction("reap_monthly_active_users", async (txn) => {
    txn.afterCommit(() => ctx.monthlyActive.clear());
    await reapMonthlyActive(txn, ctx.clock.now() - MONTH_MS, reserved, limitUsageByMau ? Math.max(maxMauValue - reserved.length, 0) : undefined);
  });
}

/** Counts the owners of reserved 3PIDs as active; called at start. */
export async function seedReservedUsers(ctx: BlockingContext): Promise<void> {
  if (ctx.config.server.mauLimitReservedThreepids.length === 0) return;
  const reserved = await reservedUsers(ctx);
  if (reserved.length > 0) await ctx.transaction("initialise_mau_threepids", (txn) => writeActive(ctx, txn, reserved));
}

/** Whether a place is reserved for the owner of this 3PID. */
export function isReserved(ctx: Pick<Context, "config">, threepid: { medium: string; address: string }): boolean {
  return ctx.config.server.mauLimitReservedThreepids.some(
    ({ medium, address }) => medium === threepid.medium && address.toLowerCase() === threepid.address.toLowerCase(),
  );
}

async function writeActive(ctx: BlockingContext, txn: Txn, userIds: readonly string[]): Promise<void> {
  txn.afterCommit(() => userIds.forEach((userId) => ctx.monthlyActive.forget(userId)));
  await upsertMonthlyActive(txn, userIds, ctx.clock.now());
}

async function reservedUsers(ctx: BlockingContext): Promise<string[]> {
  const { mauLimitReservedThreepids, maxMauValue } = ctx.config.server;
  return await getOwnersOfThreepids(ctx.read, mauLimitReservedThreepids.slice(0, maxMauValue));
}

function isTrial(ctx: BlockingContext, user: { creationTs: number; appserviceId: string | null }): boolean {
  const { mauTrialDays, mauAppserviceTrialDays } = ctx.config.server;
  const days = (user.appserviceId === null ? undefined : mauAppserviceTrialDays[user.appserviceId]) ?? mauTrialDays;
  return ctx.clock.now() - user.creationTs * 1000 < days * DAY_MS;
}

function resourceLimit(ctx: BlockingContext, message: string, limitType: string): MatrixError {
  return new MatrixError(403, "M_RESOURCE_LIMIT_EXCEEDED", message, { admin_contact: ctx.config.server.adminContact ?? null, limit_type: limitType });
}
