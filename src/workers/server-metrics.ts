import { arch, release, type } from "node:os";
import { type CacheReading, databaseMetrics, type Metrics } from "../lib/metrics.ts";
import { busyThreads } from "../lib/runtime-metrics.ts";
import { currentRequest } from "../lib/request-context.ts";
import { VERSION } from "../lib/version.ts";
import type { FederationSender } from "../services/federation/outbound/federation-sender.ts";
import type { Context } from "../services/context.ts";
import { countMonthlyActive, countMonthlyActiveByService } from "../storage/accounts/monthly-active-users.ts";
import { roomsByExtremities } from "../storage/events/extremity-counts.ts";
import { stagingBacklog } from "../storage/federation/staging.ts";
import type { BackgroundUpdates } from "./background-updates/runner.ts";
import { countSignals } from "./signal-metrics.ts";

/** How often counts that take a query are made anew, however often somebody scrapes. */
const COUNT_EVERY_MS = 5 * 60_000;
/** The same of those that read a whole index. */
const EXTREMITIES_EVERY_MS = 60 * 60_000;

/** Counts for the access log and the metrics what each request and background process costs the database. Returns what ends it. */
export function countUsage(db: Context["db"]): () => void {
  const statements = db.observe(({ transaction, milliseconds }) => {
    const usage = currentRequest()?.usage;
    if (usage === undefined || transaction !== undefined) return;
    usage.transactions++;
    usage.seconds += milliseconds / 1000;
  });
  const transactions = db.observeTransactions(({ milliseconds, waitedMilliseconds }) => {
    const usage = currentRequest()?.usage;
    if (usage === undefined) return;
    usage.transactions++;
    usage.seconds += milliseconds / 1000;
    usage.waitedSeconds += waitedMilliseconds / 1000;
  });
  return () => {
    statements();
    transactions();
  };
}

/** What is in the metrics beside requests: the process, the database, caches, stored events, waiting clients, other servers, users. Returns what ends it. */
export function watchServer(
  metrics: Metrics,
  ctx: Pick<
    Context,
    "accounts" | "clock" | "config" | "db" | "events" | "inbound" | "members" | "notifier" | "publisher" | "pushRules" | "read" | "state" | "streams"
  >,
  { federationSender, backgroundUpdates }: { federationSender: FederationSender; backgroundUpdates: BackgroundUpdates },
): () => void {
  const { serverName } = ctx.config.server;
  metrics.set("synapse_build_info", { osversion: `${type()} ${release()} ${arch()}`, pythonversion: "", rustcversion: "", version: VERSION }, 1);
  metrics.set("synapse_server_name_info", {}, 1);
  const database = databaseMetrics(metrics);
  const caches: Readonly<Record<string, () => CacheReading>> = {
    ...ctx.events.caches,
    ...ctx.state.caches,
    ...ctx.members.caches,
    ...ctx.accounts.caches,
    ...ctx.pushRules.caches,
  };
  for (const [name, read] of Object.entries(caches)) metrics.watchCache(name, read);
  const ends = [
    metrics.watchProcess(),
    countSignals(metrics, ctx.clock),
    ctx.db.observe(({ sql, milliseconds }) => database.statement(sql, milliseconds / 1000)),
    ctx.db.observeTransactions(({ name, milliseconds, waitedMilliseconds }) => database.transaction(name, milliseconds / 1000, waitedMilliseconds / 1000)),
    ctx.publisher.onStored(({ events, backfilled }) => {
      if (backfilled) return;
      metrics.count("synapse_storage_events_persisted_events_total", {}, events.length);
      for (const event of events) {
        const isLocal = event.sender.endsWith(`:${serverName}`);
        metrics.count("synapse_storage_events_persisted_events_sep_total", { type: event.type, origin_type: isLocal ? "local" : "remote" });
      }
      metrics.count("synapse_notifier_notified_events_total", {}, events.length);
    }),
  ];
  metrics.beforeScrape(() => {
    const position = ctx.streams.events.currentToken();
    metrics.set("synapse_event_persisted_position", {}, position);
    metrics.set("synapse_notifier_users", {}, ctx.notifier.waitingUsers);
    metrics.set("synapse_notifier_listeners", {}, ctx.notifier.listeners);
    for (const [stream, count] of ctx.notifier.woken) metrics.total("synapse_notifier_users_woken_by_stream_total", { stream }, count);
    const { sleeping, refused } = ctx.inbound.limiter.affected;
    metrics.set("synapse_rate_limit_sleep_affected_hosts", { rate_limiter_name: "federation_servlets" }, sleeping);
    metrics.set("synapse_rate_limit_reject_affected_hosts", { rate_limiter_name: "federation_servlets" }, refused);
    metrics.set("synapse_threadpool_working_threads", { name: "default" }, busyThreads());
    const { destinations, events, edus } = federationSender.backlog;
    metrics.set("synapse_federation_transaction_queue_pending_destinations", {}, destinations);
    metrics.set("synapse_federation_transaction_queue_pending_pdus", {}, events);
    metrics.set("synapse_federation_transaction_queue_pending_edus", {}, edus);
    metrics.set("synapse_background_update_status", { database_name: "master" }, UPDATE_STATUS.indexOf(backgroundUpdates.status()) - 1);
  });
  metrics.beforeScrape(every(ctx.clock, COUNT_EVERY_MS, () => countRows(metrics, ctx)));
  metrics.beforeScrape(every(ctx.clock, EXTREMITIES_EVERY_MS, () => countExtremities(metrics, ctx)));
  return () => ends.forEach((end) => end());
}

/** Synapse's numbers of these: -1, 0, 1, ... */
const UPDATE_STATUS = ["aborted", "disabled", "not started", "running", "complete"];

function every(clock: Context["clock"], intervalMs: number, fn: () => Promise<void>): () => Promise<void> {
  let last: number | undefined;
  return async () => {
    const now = clock.monotonic();
    if (last !== undefined && now - last < intervalMs) return;
    last = now;
    await fn();
  };
}

async function countRows(metrics: Metrics, { clock, config, read }: Pick<Context, "clock" | "config" | "read">): Promise<void> {
  const { limitUsageByMau, mauStatsOnly, maxMauValue } = config.server;
  const counts = limitUsageByMau || mauStatsOnly;
  metrics.set("synapse_admin_mau_current", {}, counts ? await countMonthlyActive(read) : 0);
  metrics.set("synapse_admin_mau_max", {}, limitUsageByMau ? maxMauValue : 0);
  if (counts) {
    metrics.reset("synapse_admin_mau_current_mau_by_service");
    for (const [service, users] of await countMonthlyActiveByService(read))
      metrics.set("synapse_admin_mau_current_mau_by_service", { app_service: service }, users);
  }
  const { events, oldestTs } = await stagingBacklog(read);
  metrics.set("synapse_federation_server_number_inbound_pdu_in_staging", {}, events);
  metrics.set("synapse_federation_server_oldest_inbound_pdu_in_staging", {}, oldestTs === undefined ? 0 : clock.now() - oldestTs);
}

async function countExtremities(metrics: Metrics, { read }: Pick<Context, "read">): Promise<void> {
  const counts = await roomsByExtremities(read);
  metrics.distribution("synapse_forward_extremities", {}, counts);
  metrics.set(
    "synapse_forward_extremities_gcount",
    {},
    counts.reduce((sum, [, rooms]) => sum + rooms, 0),
  );
  metrics.set(
    "synapse_forward_extremities_gsum",
    {},
    counts.reduce((sum, [extremities, rooms]) => sum + extremities * rooms, 0),
  );
}
