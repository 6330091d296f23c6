import type { Context } from "../context.ts";
import { deleteStaleDevices } from "../devices/devices.ts";
import { reapActive } from "./blocking.ts";
import { expireLoginTokens } from "./login.ts";
import { expireSessions } from "./uia.ts";
import { sendRenewals } from "./validity.ts";
import { pruneOldSightings, recordDailyVisits } from "./visits.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** What is done again and again for accounts; names as in Synapse. */
export const accountJobs: readonly { name: string; intervalMs: number; run(ctx: Context, signal: AbortSignal): Promise<void> }[] = [
  { name: "expire_old_sessions", intervalMs: 5 * MINUTE_MS, run: expireSessions },
  { name: "delete_expired_login_tokens", intervalMs: 30 * MINUTE_MS, run: expireLoginTokens },
  { name: "reap_monthly_active_users", intervalMs: HOUR_MS, run: reapActive },
  { name: "prune_old_user_ips", intervalMs: MINUTE_MS, run: pruneOldSightings },
  { name: "generate_user_daily_visits", intervalMs: 5 * MINUTE_MS, run: recordDailyVisits },
  { name: "send_renewals", intervalMs: 30 * MINUTE_MS, run: sendRenewals },
  { name: "delete_stale_devices", intervalMs: 24 * HOUR_MS, run: deleteStaleDevices },
  {
    name: "user_parter_loop",
    intervalMs: 5 * MINUTE_MS,
    run: async (ctx) => {
      ctx.userParter.poke();
      await ctx.userParter.idle();
    },
  },
];
