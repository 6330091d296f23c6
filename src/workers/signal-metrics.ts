import type { Clock } from "../lib/clock.ts";
import { cpuParts } from "../lib/cpu-sampling.ts";
import type { Metrics, SeriesName } from "../lib/metrics.ts";
import { type DatabaseUsage, noUsage } from "../lib/request-context.ts";
import { type CountedPresence, signals } from "../lib/signals.ts";

/** Of these the room that cost most in a while is counted. */
const BIGGEST_EVERY_MS = 60_000;
const FEDERATION_SERVLETS = { rate_limiter_name: "federation_servlets" };

/**
 * Shown from the start. What this server counts, and at 0 or by name alone what cannot happen in it: streams and caches between processes, queues
 * for a sender elsewhere, caches of answers, the graph of MSC4242, and the push rule counters, which Synapse no longer moves either.
 */
const SHOWN: readonly SeriesName[] = [
  "synapse_appservice_api_sent_events_total",
  "synapse_appservice_api_sent_transactions_total",
  "synapse_event_processing_lag",
  "synapse_event_processing_lag_by_event",
  "synapse_event_processing_last_ts",
  "synapse_event_processing_positions",
  "synapse_external_cache_get_total",
  "synapse_external_cache_response_time_seconds",
  "synapse_external_cache_set_total",
  "synapse_federation_client_events_processed_total",
  "synapse_federation_client_sent_edus_by_type_total",
  "synapse_federation_client_sent_edus_total",
  "synapse_federation_client_sent_pdu_destinations_count_total",
  "synapse_federation_client_sent_pdu_destinations_total",
  "synapse_federation_client_sent_transactions_total",
  "synapse_federation_last_received_pdu_time",
  "synapse_federation_last_sent_pdu_time",
  "synapse_federation_send_queue_edus_size",
  "synapse_federation_send_queue_keyed_edu_changed_size",
  "synapse_federation_send_queue_keyed_edu_size",
  "synapse_federation_send_queue_pos_time_size",
  "synapse_federation_send_queue_presence_destinations_size",
  "synapse_federation_send_queue_presence_map_size",
  "synapse_federation_server_pdu_process_time",
  "synapse_federation_server_received_edus_total",
  "synapse_federation_server_received_pdus_total",
  "synapse_federation_soft_failed_events_total",
  "synapse_handler_presence_bump_active_time_total",
  "synapse_handler_presence_federation_presence_out_total",
  "synapse_handler_presence_federation_presence_total",
  "synapse_handler_presence_get_updates_total",
  "synapse_handler_presence_notified_presence_total",
  "synapse_handler_presence_notify_reason_total",
  "synapse_handler_presence_presence_updates_total",
  "synapse_handler_presence_state_transition_total",
  "synapse_http_client_requests_total",
  "synapse_http_client_responses_total",
  "synapse_http_httppusher_http_pushes_failed_total",
  "synapse_http_httppusher_http_pushes_processed_total",
  "synapse_http_matrixfederationclient_requests_total",
  "synapse_http_matrixfederationclient_responses_total",
  "synapse_notifier_users_woken_by_stream_total",
  "synapse_push_bulk_push_rule_evaluator_push_rules_invalidation_counter_total",
  "synapse_push_bulk_push_rule_evaluator_push_rules_state_size_counter_total",
  "synapse_pushers",
  "synapse_rate_limit_queue_wait_time_seconds",
  "synapse_rate_limit_reject_affected_hosts",
  "synapse_rate_limit_reject_total",
  "synapse_rate_limit_sleep_affected_hosts",
  "synapse_rate_limit_sleep_total",
  "synapse_replication_tcp_command_queue",
  "synapse_replication_tcp_protocol_close_reason_total",
  "synapse_replication_tcp_protocol_inbound_commands_total",
  "synapse_replication_tcp_protocol_inbound_rdata_count_total",
  "synapse_replication_tcp_protocol_outbound_commands_total",
  "synapse_replication_tcp_resource_stream_updates_total",
  "synapse_replication_tcp_resource_total_connections",
  "synapse_admin_mau_current_mau_by_service",
  "synapse_state_number_state_groups_in_resolution",
  "synapse_state_res_cpu_for_all_rooms_seconds",
  "synapse_state_res_cpu_for_biggest_room_seconds_total",
  "synapse_state_res_db_for_all_rooms_seconds",
  "synapse_state_res_db_for_biggest_room_seconds_total",
  "synapse_storage_events_forward_extremities_persisted",
  "synapse_storage_events_persisted_events_sep_total",
  "synapse_storage_events_persisted_events_total",
  "synapse_storage_events_potential_times_prune_extremities_total",
  "synapse_storage_events_stale_forward_extremities_persisted",
  "synapse_storage_events_state_resolutions_during_persistence_total",
  "synapse_storage_events_times_pruned_extremities_total",
  "synapse_storage_msc4242_state_dag_forward_extremities_persisted",
  "synapse_util_caches_response_cache",
  "synapse_util_caches_response_cache_hits",
  "synapse_util_caches_response_cache_size",
  "synapse_util_metrics_block_count_total",
  "synapse_util_metrics_block_db_txn_count_total",
  "synapse_util_metrics_block_db_txn_duration_seconds_total",
  "synapse_util_metrics_block_ru_stime_seconds_total",
  "synapse_util_metrics_block_ru_utime_seconds_total",
  "synapse_util_metrics_block_time_seconds_total",
];

/** Counts what `signals` tell. Returns what ends it. */
export function countSignals(metrics: Metrics, clock: Clock): () => void {
  metrics.declare(SHOWN);
  for (const name of ["synapse_rate_limit_sleep_total", "synapse_rate_limit_reject_total"] as const) metrics.count(name, FEDERATION_SERVLETS, 0);
  metrics.zero("synapse_rate_limit_queue_wait_time_seconds", FEDERATION_SERVLETS);
  const ends = [...stateMetrics(metrics, clock), ...presenceMetrics(metrics), ...outgoingMetrics(metrics), ...streamMetrics(metrics), ...blockMetrics(metrics)];
  return () => ends.forEach((end) => end());
}

function stateMetrics(metrics: Metrics, clock: Clock): (() => void)[] {
  const rooms = new Map<string, { cpu: number; database: number }>();
  const timer = clock.every(BIGGEST_EVERY_MS, () => {
    if (rooms.size === 0) return;
    const costs = [...rooms.values()];
    rooms.clear();
    const biggest = (of: (cost: (typeof costs)[number]) => number): number => costs.reduce((max, cost) => Math.max(max, of(cost)), 0);
    const byCpu = biggest((cost) => cost.cpu);
    const byDatabase = biggest((cost) => cost.database);
    metrics.count("synapse_state_res_cpu_for_biggest_room_seconds_total", {}, byCpu);
    metrics.count("synapse_state_res_db_for_biggest_room_seconds_total", {}, byDatabase);
  });
  return [
    () => timer.cancel(),
    signals.statesCompared.on(({ groups }) => metrics.observe("synapse_state_number_state_groups_in_resolution", {}, groups)),
    signals.stateResolved.on(({ roomId, cpuSeconds, databaseSeconds }) => {
      metrics.observe("synapse_state_res_cpu_for_all_rooms_seconds", {}, cpuSeconds);
      metrics.observe("synapse_state_res_db_for_all_rooms_seconds", {}, databaseSeconds);
      const { cpu, database } = rooms.get(roomId) ?? { cpu: 0, database: 0 };
      rooms.set(roomId, { cpu: cpu + cpuSeconds, database: database + databaseSeconds });
    }),
    signals.currentStateResolved.on(({ won, pruned }) => {
      metrics.count("synapse_storage_events_state_resolutions_during_persistence_total", {});
      if (won) metrics.count("synapse_storage_events_potential_times_prune_extremities_total", {});
      if (pruned) metrics.count("synapse_storage_events_times_pruned_extremities_total", {});
    }),
    signals.extremitiesChanged.on(({ now, stale }) => {
      metrics.observe("synapse_storage_events_forward_extremities_persisted", {}, now);
      metrics.observe("synapse_storage_events_stale_forward_extremities_persisted", {}, stale);
    }),
  ];
}

function presenceMetrics(metrics: Metrics): (() => void)[] {
  return [
    signals.presenceUpdated.on(({ isLocal, old, next, notified, pinged }) => {
      const locality = isLocal ? "local" : "remote";
      metrics.count("synapse_handler_presence_presence_updates_total", {});
      if (pinged) metrics.count("synapse_handler_presence_federation_presence_out_total", {});
      if (!notified) return;
      metrics.count("synapse_handler_presence_notified_presence_total", {});
      metrics.count("synapse_handler_presence_notify_reason_total", { locality, reason: notifyReason(old, next) });
      if (old.statusMsg === next.statusMsg && old.state !== next.state)
        metrics.count("synapse_handler_presence_state_transition_total", { locality, from: old.state, to: next.state });
    }),
    signals.presenceBumped.on(() => metrics.count("synapse_handler_presence_bump_active_time_total", {})),
    signals.presenceReceived.on((count) => metrics.count("synapse_handler_presence_federation_presence_total", {}, count)),
    signals.presenceRead.on((type) => metrics.count("synapse_handler_presence_get_updates_total", { type })),
  ];
}

/** Why others hear of a presence, by Synapse's names: the first reason that there is. */
function notifyReason(old: CountedPresence, next: CountedPresence): string {
  if (old.statusMsg !== next.statusMsg) return "status_msg_change";
  if (old.state !== next.state) return "state_change";
  if (old.state !== "online") return "last_active_change_not_online";
  return old.currentlyActive !== next.currentlyActive ? "current_active_change" : "last_active_change_online";
}

function outgoingMetrics(metrics: Metrics): (() => void)[] {
  return [
    signals.requestSent.on(({ to, method }) =>
      metrics.count(to === "server" ? "synapse_http_matrixfederationclient_requests_total" : "synapse_http_client_requests_total", { method }),
    ),
    signals.requestAnswered.on(({ to, method, code }) =>
      metrics.count(to === "server" ? "synapse_http_matrixfederationclient_responses_total" : "synapse_http_client_responses_total", { method, code }),
    ),
  ];
}

function streamMetrics(metrics: Metrics): (() => void)[] {
  return [
    signals.positionReached.on(({ name, position }) => metrics.set("synapse_event_processing_positions", { name }, position)),
    signals.eventsProcessed.on(({ name, rooms, storedAt, at }) => {
      metrics.count("synapse_event_processing_loop_count_total", { name });
      metrics.count("synapse_event_processing_loop_room_count_total", { name }, rooms);
      const processed =
        name === "federation_sender" ? "synapse_federation_client_events_processed_total" : "synapse_handlers_appservice_events_processed_total";
      metrics.count(processed, {}, storedAt.length);
      for (const time of storedAt) metrics.observe("synapse_event_processing_lag_by_event", { name }, Math.max(0, at - time) / 1000);
      const last = storedAt.at(-1);
      if (last === undefined) return;
      metrics.set("synapse_event_processing_lag", { name }, Math.max(0, at - last));
      metrics.set("synapse_event_processing_last_ts", { name }, last);
    }),
    signals.eventHandedOut.on(() => metrics.count("synapse_federation_client_sent_pdu_destinations_count_total", {})),
    signals.eventReceived.on(({ seconds }) => metrics.observe("synapse_federation_server_pdu_process_time", {}, seconds)),
    signals.stagedPruned.on(({ events }) => metrics.count("synapse_federation_server_number_inbound_pdu_pruned_total", {}, events)),
    signals.softFailed.on(() => metrics.count("synapse_federation_soft_failed_events_total", {})),
    signals.hostLimited.on((what) =>
      metrics.count(what === "sleep" ? "synapse_rate_limit_sleep_total" : "synapse_rate_limit_reject_total", FEDERATION_SERVLETS),
    ),
    signals.hostQueued.on(({ seconds }) => metrics.observe("synapse_rate_limit_queue_wait_time_seconds", FEDERATION_SERVLETS, seconds)),
  ];
}

/** Blocks end thousands of times a second; what they come to is added up, and counted when somebody looks. */
function blockMetrics(metrics: Metrics): (() => void)[] {
  const sums = new Map<string, DatabaseUsage & { count: number; took: number }>();
  metrics.beforeScrape(() => {
    for (const [name, { count, took, ...usage }] of sums) {
      const block = { block_name: name };
      const { user, system } = cpuParts(usage.cpuSeconds);
      metrics.count("synapse_util_metrics_block_count_total", block, count);
      metrics.count("synapse_util_metrics_block_time_seconds_total", block, took);
      metrics.count("synapse_util_metrics_block_ru_utime_seconds_total", block, user);
      metrics.count("synapse_util_metrics_block_ru_stime_seconds_total", block, system);
      metrics.count("synapse_util_metrics_block_db_txn_count_total", block, usage.transactions);
      metrics.count("synapse_util_metrics_block_db_txn_duration_seconds_total", block, usage.seconds);
      metrics.count("synapse_util_metrics_block_db_sched_duration_seconds_total", block, usage.waitedSeconds);
    }
    sums.clear();
  });
  return [
    signals.blockEnded.on(({ name, seconds, usage }) => {
      let sum = sums.get(name);
      if (sum === undefined) sums.set(name, (sum = { ...noUsage(), count: 0, took: 0 }));
      sum.count++;
      sum.took += seconds;
      sum.transactions += usage.transactions;
      sum.seconds += usage.seconds;
      sum.waitedSeconds += usage.waitedSeconds;
      sum.cpuSeconds += usage.cpuSeconds;
    }),
  ];
}
