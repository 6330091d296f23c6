import { pruneSightings, writeDailyVisits } from "../../storage/accounts/client-ips.ts";
import type { Context } from "../context.ts";

type VisitContext = Pick<Context, "clock" | "config" | "transaction">;

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const BATCH = 5000;

/** Counts the visitors of the last hour, which may have begun yesterday; called every five minutes. */
export async function recordDailyVisits(ctx: VisitContext): Promise<void> {
  const now = ctx.clock.now();
  const today = now - (now % DAY_MS);
  const since = now - HOUR_MS;
  await ctx.transaction("generate_user_daily_visits", async (txn) => {
    if (since < today) await writeDailyVisits(txn, today - DAY_MS, since, today);
    await writeDailyVisits(txn, today, Math.max(since, today), now + 1);
  });
}

/** Deletes sightings older than `user_ips_max_age`, a batch at a time; called each minute. */
export async function pruneOldSightings(ctx: VisitContext, signal: AbortSignal): Promise<void> {
  const age = ctx.config.server.userIpsMaxAgeMs;
  if (age === undefined) return;
  const until = ctx.clock.now() - age;
  while (!signal.aborted && (await ctx.transaction("prune_old_user_ips", (txn) => pruneSightings(txn, until))) >= BATCH);
}
