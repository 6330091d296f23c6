import { deleteExpiredStickyEvents, deleteOldExtremities, deleteOldTransactions } from "../../storage/events/graph.ts";
import { clearStaging, firstPositionSince } from "../../storage/push/rotate.ts";
import type { Context } from "../context.ts";
import { censorRedactions, expireEvents } from "./censor.ts";
import { DummyEvents } from "./dummy-events.ts";

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** Remembers by persister, so that two servers in one process do not share. */
const dummyEvents = new DummyEvents();

/** What is done again and again about events; names and intervals as Synapse's. */
export const eventJobs: readonly { name: string; intervalMs: number; when?(ctx: Context): boolean; run(ctx: Context, signal: AbortSignal): Promise<void> }[] = [
  {
    name: "_cleanup_old_transaction_ids",
    intervalMs: 5 * 60_000,
    run: async (ctx) => void (await ctx.transaction("_cleanup_old_transaction_ids", (txn) => deleteOldTransactions(txn, ctx.clock.now() - DAY_MS))),
  },
  {
    name: "_clear_old_push_actions_staging",
    intervalMs: 30 * 60_000,
    run: async (ctx) => void (await ctx.transaction("_clear_old_push_actions_staging", (txn) => clearStaging(txn, ctx.clock.now() - HOUR_MS))),
  },
  {
    name: "_delete_old_forward_extrem_cache",
    intervalMs: HOUR_MS,
    run: async (ctx) => {
      const monthAgo = await firstPositionSince(ctx.read, ctx.clock.now() - 30 * DAY_MS);
      await ctx.transaction("_delete_old_forward_extrem_cache", (txn) => deleteOldExtremities(txn, monthAgo));
    },
  },
  {
    name: "delete_expired_sticky_events",
    intervalMs: HOUR_MS,
    when: (ctx) => ctx.config.experimental.msc4354Enabled,
    run: async (ctx) => void (await ctx.transaction("delete_expired_sticky_events", (txn) => deleteExpiredStickyEvents(txn, ctx.clock.now()))),
  },
  {
    name: "_censor_redactions",
    intervalMs: 5 * 60_000,
    when: (ctx) => ctx.config.server.redactionRetentionPeriodMs !== undefined,
    run: censorRedactions,
  },
  {
    name: "_expire_event",
    intervalMs: 1000,
    when: (ctx) => ctx.config.server.enableEphemeralMessages,
    run: expireEvents,
  },
  {
    name: "send_dummy_events_to_fill_extremities",
    intervalMs: 5 * 60_000,
    when: (ctx) => ctx.config.server.cleanupExtremitiesWithDummyEvents,
    run: (ctx) => dummyEvents.run(ctx),
  },
];
