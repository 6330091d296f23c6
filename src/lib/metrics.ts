import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { cpuParts, watchCpu } from "./cpu-sampling.ts";
import { SERIES, type SeriesSpec } from "./metrics-series.ts";
import { type DatabaseUsage, noUsage, runInRequest } from "./request-context.ts";
import { watchGarbage, watchTicks } from "./runtime-metrics.ts";

type SeriesTable = typeof SERIES;
export type SeriesName = keyof SeriesTable;
type NamesOf<K extends SeriesSpec["kind"]> = { [N in SeriesName]: SeriesTable[N]["kind"] extends K ? N : never }[SeriesName];
export type CounterName = NamesOf<"counter">;
export type GaugeName = NamesOf<"gauge">;
export type HistogramName = NamesOf<"histogram">;
/** A value for each label of the series (`server_name` is added). */
export type LabelsOf<N extends SeriesName> = Readonly<Record<SeriesTable[N]["labels"][number], string | number>>;

/** prometheus_client's buckets, which differ from prom-client's. */
const DEFAULT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** What a cache tells at each scrape. */
export interface CacheReading {
  readonly size: number;
  readonly maxSize?: number;
  readonly hits: number;
  readonly misses: number;
  /** Entries thrown out because the cache was full, since the start. */
  readonly evictedBySize?: number;
  /** Entries thrown out because they were too old, since the start. */
  readonly evictedByTime?: number;
}

/**
 * The Prometheus metrics of one server, under Synapse's names and labels, so that its dashboards and alerts go on working. A series
 * appears with its first value.
 */
export class Metrics {
  readonly registry = new Registry();
  private readonly counters = new Map<string, Counter>();
  private readonly gauges = new Map<string, Gauge>();
  private readonly histograms = new Map<string, Histogram>();
  private readonly caches = new Map<string, () => CacheReading>();
  private readonly collectors: (() => void | Promise<void>)[] = [];

  constructor(private readonly serverName: string) {}

  /** Adds to a counter. */
  count<N extends CounterName>(name: N, labels: LabelsOf<N>, by = 1): void {
    this.counter(name).inc({ ...labels, server_name: this.serverName }, by);
  }

  /** Sets a gauge. */
  set<N extends GaugeName>(name: N, labels: LabelsOf<N>, value: number): void {
    this.gauge(name).set({ ...labels, server_name: this.serverName }, value);
  }

  /** Adds to a gauge; `by` may be negative. */
  add<N extends GaugeName>(name: N, labels: LabelsOf<N>, by: number): void {
    this.gauge(name).inc({ ...labels, server_name: this.serverName }, by);
  }

  /** Forgets a gauge's values of all labels, before they are set anew. */
  reset(name: GaugeName): void {
    this.gauge(name).reset();
  }

  /** Puts a value into a histogram. */
  observe<N extends HistogramName>(name: N, labels: LabelsOf<N>, value: number): void {
    this.histogram(name).observe({ ...labels, server_name: this.serverName }, value);
  }

  /** Runs `fn` before each scrape, to set gauges that are looked up rather than kept. */
  beforeScrape(fn: () => void | Promise<void>): void {
    this.collectors.push(fn);
  }

  /** Shows a cache under its name: size, hits, misses, evictions. */
  watchCache(name: string, read: () => CacheReading): void {
    this.caches.set(name, read);
  }

  /** Shows series that nothing may ever happen in: those without labels at 0, the others by name and kind, as prometheus_client does. */
  declare(names: readonly SeriesName[]): void {
    const own = { server_name: this.serverName };
    for (const name of names) {
      const { kind, labels }: SeriesSpec = SERIES[name];
      const metric =
        kind === "counter" ? this.counter(name as CounterName) : kind === "gauge" ? this.gauge(name as GaugeName) : this.histogram(name as HistogramName);
      if (labels.length > 0) continue;
      if (metric instanceof Histogram) metric.zero(own);
      else metric.inc(own, 0);
    }
  }

  /** Shows a histogram without values. */
  zero<N extends HistogramName>(name: N, labels: LabelsOf<N>): void {
    this.histogram(name).zero({ ...labels, server_name: this.serverName });
  }

  /** Brings a counter to what was counted elsewhere. */
  total<N extends CounterName>(name: N, labels: LabelsOf<N>, value: number): void {
    const all = { ...labels, server_name: this.serverName };
    this.counter(name).remove(all);
    this.counter(name).inc(all, value);
  }

  /** Makes a histogram what it is of these values now, each so many times. */
  distribution<N extends HistogramName>(name: N, labels: LabelsOf<N>, values: readonly (readonly [value: number, times: number])[]): void {
    const { buckets = DEFAULT_BUCKETS }: SeriesSpec = SERIES[name];
    const { help } = this.declaration(name);
    const all = { ...labels, server_name: this.serverName };
    const upTo = (bound: number): number => values.reduce((sum, [value, times]) => (value <= bound ? sum + times : sum), 0);
    // "inf" is how Synapse spells the last bound of such a histogram.
    const samples = [...buckets, Infinity].map((bound) => ({
      metricName: `${name}_bucket`,
      labels: { le: Number.isFinite(bound) ? bound.toFixed(1) : "inf", ...all },
      value: upTo(bound),
    }));
    const metric = { name, help, type: "histogram", aggregator: "sum", values: samples };
    this.registry.removeSingleMetric(name);
    this.registry.registerMetric({ name, get: () => Promise.resolve(metric) } as never);
  }

  /** Adds CPU time, memory, open files, turns of the event loop and garbage collection of the process. Once a process; returns what ends it. */
  watchProcess(): () => void {
    collectDefaultMetrics({ register: this.registry });
    const ends = [watchGarbage(this.registry), watchTicks(this.registry), watchCpu()];
    return () => ends.forEach((end) => end());
  }

  /** The answer to a scrape: text format 0.0.4. */
  async scrape(): Promise<{ readonly contentType: string; readonly body: string }> {
    for (const collect of this.collectors) await collect();
    for (const [name, read] of this.caches) this.setCache(name, read());
    return { contentType: "text/plain; version=0.0.4; charset=utf-8", body: await this.registry.metrics() };
  }

  private setCache(name: string, cache: CacheReading): void {
    this.set("synapse_util_caches_cache_size", { name }, cache.size);
    this.set("synapse_util_caches_cache_hits", { name }, cache.hits);
    this.set("synapse_util_caches_cache", { name }, cache.hits + cache.misses);
    if (cache.maxSize !== undefined) this.set("synapse_util_caches_cache_max_size", { name }, cache.maxSize);
    if (cache.evictedBySize !== undefined) this.set("synapse_util_caches_cache_evicted_size", { name, reason: "size" }, cache.evictedBySize);
    if (cache.evictedByTime !== undefined) this.set("synapse_util_caches_cache_evicted_size", { name, reason: "time" }, cache.evictedByTime);
  }

  private counter(name: CounterName): Counter {
    return find(this.counters, name, () => new Counter(this.declaration(name)));
  }

  private gauge(name: GaugeName): Gauge {
    return find(this.gauges, name, () => new Gauge(this.declaration(name)));
  }

  private histogram(name: HistogramName): Histogram {
    const { buckets }: SeriesSpec = SERIES[name];
    return find(this.histograms, name, () => new Histogram({ ...this.declaration(name), buckets: [...(buckets ?? DEFAULT_BUCKETS)] }));
  }

  private declaration(name: SeriesName): { name: string; help: string; labelNames: string[]; registers: Registry[] } {
    const help = name.replace(/^synapse_/, "").replaceAll("_", " ");
    return { name, help, labelNames: [...SERIES[name].labels, "server_name"], registers: [this.registry] };
  }
}

function find<T>(map: Map<string, T>, name: string, make: () => T): T {
  let found = map.get(name);
  if (found === undefined) map.set(name, (found = make()));
  return found;
}

/** Counters of the HTTP edge: one call when a request begins, one when it has been answered. */
export function requestMetrics(metrics: Metrics): {
  requestStarted(method: string, servlet: string): void;
  requestFinished(request: FinishedRequest): void;
} {
  const tag = "";
  return {
    requestStarted(method, servlet) {
      metrics.count("synapse_http_server_requests_received_total", { method, servlet });
      metrics.add("synapse_http_server_in_flight_requests_count", { method, servlet }, 1);
    },
    requestFinished({ method, servlet, status, seconds, bytes, usage }) {
      metrics.add("synapse_http_server_in_flight_requests_count", { method, servlet }, -1);
      metrics.count("synapse_http_server_responses_total", { method, code: status });
      metrics.count("synapse_http_server_response_count_total", { method, servlet, tag });
      metrics.observe("synapse_http_server_response_time_seconds", { method, servlet, tag, code: status }, seconds);
      metrics.count("synapse_http_server_response_size_total", { method, servlet, tag }, bytes);
      metrics.count("synapse_http_server_response_db_txn_count_total", { method, servlet, tag }, usage.transactions);
      metrics.count("synapse_http_server_response_db_txn_duration_seconds_total", { method, servlet, tag }, usage.seconds);
      metrics.count("synapse_http_server_response_db_sched_duration_seconds_total", { method, servlet, tag }, usage.waitedSeconds);
      metrics.count("synapse_http_server_in_flight_requests_db_txn_count_total", { method, servlet }, usage.transactions);
      metrics.count("synapse_http_server_in_flight_requests_db_txn_duration_seconds_total", { method, servlet }, usage.seconds);
      metrics.count("synapse_http_server_in_flight_requests_db_sched_duration_seconds_total", { method, servlet }, usage.waitedSeconds);
      const { user, system } = cpuParts(usage.cpuSeconds);
      metrics.count("synapse_http_server_response_ru_utime_seconds_total", { method, servlet, tag }, user);
      metrics.count("synapse_http_server_response_ru_stime_seconds_total", { method, servlet, tag }, system);
      metrics.count("synapse_http_server_in_flight_requests_ru_utime_seconds_total", { method, servlet }, user);
      metrics.count("synapse_http_server_in_flight_requests_ru_stime_seconds_total", { method, servlet }, system);
    },
  };
}

/** What a request that is over has come to. */
export interface FinishedRequest {
  readonly method: string;
  readonly servlet: string;
  readonly status: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly usage: DatabaseUsage;
}

/** Sessions and accounts, by who vouched for the user: an identity provider, "" for a password. */
export function accountMetrics(metrics: Metrics): {
  loggedIn(provider: string, isGuest: boolean): void;
  registered(provider: string, isGuest: boolean, shadowBanned: boolean): void;
} {
  const text = (value: boolean): string => (value ? "True" : "False");
  return {
    loggedIn: (provider, isGuest) => metrics.count("synapse_user_logins_total", { auth_provider: provider, guest: text(isGuest) }),
    registered: (provider, isGuest, shadowBanned) =>
      metrics.count("synapse_user_registrations_total", { auth_provider: provider, guest: text(isGuest), shadow_banned: text(shadowBanned) }),
  };
}

/** What goes to other servers and comes from them; times are kept for the `watched` servers. `now` in milliseconds. */
export function federationMetrics(
  metrics: Metrics,
  watched: readonly string[],
  now: () => number,
): {
  transactionSent(destination: string, pdus: number, eduTypes: readonly string[]): void;
  transactionReceived(origin: string, pdus: number, edus: number): void;
  queryReceived(type: string): void;
} {
  return {
    transactionSent(destination, pdus, eduTypes) {
      metrics.count("synapse_federation_client_sent_transactions_total", {});
      metrics.count("synapse_federation_client_sent_pdu_destinations_total", {}, pdus);
      metrics.count("synapse_federation_client_sent_edus_total", {}, eduTypes.length);
      for (const type of eduTypes) metrics.count("synapse_federation_client_sent_edus_by_type_total", { type });
      if (pdus > 0 && watched.includes(destination))
        metrics.set("synapse_federation_last_sent_pdu_time", { destination_server_name: destination }, now() / 1000);
    },
    transactionReceived(origin, pdus, edus) {
      metrics.count("synapse_federation_server_received_pdus_total", {}, pdus);
      metrics.count("synapse_federation_server_received_edus_total", {}, edus);
      if (pdus > 0 && watched.includes(origin)) metrics.set("synapse_federation_last_received_pdu_time", { origin_server_name: origin }, now() / 1000);
    },
    queryReceived: (type) => metrics.count("synapse_federation_server_received_queries_total", { type }),
  };
}

/** Questions to the authentication service. */
export function delegationMetrics(metrics: Metrics): { introspected(code: string, seconds: number): void } {
  return { introspected: (code, seconds) => metrics.observe("synapse_api_auth_delegated_introspection_response", { code }, seconds) };
}

/** Mails, and verifications of addresses. */
export function threepidMetrics(metrics: Metrics): { mailSent(type: string): void; threepidRequested(medium: string, reason: string, tries: number): void } {
  return {
    mailSent: (type) => metrics.count("synapse_emails_sent_total", { type }),
    threepidRequested: (type, reason, tries) => metrics.observe("synapse_threepid_send_requests_with_tries", { type, reason }, tries),
  };
}

/** What application services and push gateways were sent. */
export function deliveryMetrics(metrics: Metrics): DeliveryMetrics {
  return {
    appserviceSent(service, { events, ephemeral, toDevice }) {
      metrics.count("synapse_appservice_api_sent_transactions_total", { service });
      metrics.count("synapse_appservice_api_sent_events_total", { service }, events);
      metrics.count("synapse_appservice_api_sent_ephemeral_total", { service }, ephemeral);
      metrics.count("synapse_appservice_api_sent_todevice_total", { service }, toDevice);
    },
    appserviceFailed: (service) => metrics.count("synapse_appservice_api_failed_transactions_total", { service }),
    pushed: (ok) => metrics.count(ok ? "synapse_http_httppusher_http_pushes_processed_total" : "synapse_http_httppusher_http_pushes_failed_total", {}),
    badgeSent: (ok) => metrics.count(ok ? "synapse_http_httppusher_badge_updates_processed_total" : "synapse_http_httppusher_badge_updates_failed_total", {}),
    pushersChanged: (kind, appId, by) => metrics.add("synapse_pushers", { kind, app_id: appId }, by),
  };
}

export interface DeliveryMetrics {
  /** A transaction arrived, with so much in it. */
  appserviceSent(service: string, counts: { readonly events: number; readonly ephemeral: number; readonly toDevice: number }): void;
  appserviceFailed(service: string): void;
  /** A notification was sent to a push gateway, or was not. */
  pushed(ok: boolean): void;
  /** An unread count was sent to a push gateway, or was not. */
  badgeSent(ok: boolean): void;
  /** So many more pushers of this kind and app run. */
  pushersChanged(kind: string, appId: string, by: number): void;
}

/** Times of the database: `statement` for each finished statement, `transaction` for each finished transaction, in seconds. */
export function databaseMetrics(metrics: Metrics): {
  statement(sql: string, seconds: number): void;
  transaction(name: string, seconds: number, waited: number): void;
} {
  return {
    statement(sql, seconds) {
      const verb = /^\s*(\w+)/.exec(sql)?.[1]?.toUpperCase() ?? "OTHER";
      metrics.observe("synapse_storage_query_time", { verb }, seconds);
    },
    transaction(name, seconds, waited) {
      metrics.observe("synapse_storage_schedule_time", {}, waited);
      metrics.count("synapse_storage_transaction_time_count_total", { desc: name });
      metrics.count("synapse_storage_transaction_time_sum_total", { desc: name }, seconds);
    },
  };
}

/** Runs a background process under Synapse's metrics of them: how often it starts, how many run. */
export async function inBackgroundProcess<T>(metrics: Metrics, name: string, fn: () => Promise<T>): Promise<T> {
  const usage = noUsage();
  metrics.count("synapse_background_process_start_count_total", { name });
  metrics.add("synapse_background_process_in_flight_count", { name }, 1);
  try {
    return await runInRequest({ id: name, usage }, fn);
  } finally {
    metrics.add("synapse_background_process_in_flight_count", { name }, -1);
    metrics.count("synapse_background_process_db_txn_count_total", { name }, usage.transactions);
    metrics.count("synapse_background_process_db_txn_duration_seconds_total", { name }, usage.seconds);
    metrics.count("synapse_background_process_db_sched_duration_seconds_total", { name }, usage.waitedSeconds);
    const { user, system } = cpuParts(usage.cpuSeconds);
    metrics.count("synapse_background_process_ru_utime_seconds_total", { name }, user);
    metrics.count("synapse_background_process_ru_stime_seconds_total", { name }, system);
  }
}
