import assert from "node:assert/strict";
import type { Logger } from "../lib/log.ts";
import { startTestServer, type TestServer } from "../testing/server.ts";

/**
 * All series that the panels of Synapse's Grafana dashboard ask for. A few of them Synapse 1.160 itself does not have: for those whose names
 * lack "_total" the present ones are here, `synapse_federation_send_queue_presence_changed_size` and
 * `synapse_replication_tcp_resource_connections_per_stream` are left out.
 */
const DASHBOARD = `process_cpu_seconds_total process_cpu_system_seconds_total process_cpu_user_seconds_total process_max_fds process_open_fds
process_resident_memory_bytes process_start_time_seconds python_gc_counts python_gc_time_bucket python_gc_time_count python_gc_time_sum
python_gc_unreachable_total python_twisted_reactor_tick_time_bucket python_twisted_reactor_tick_time_count python_twisted_reactor_tick_time_sum
synapse_admin_mau_current synapse_admin_mau_current_mau_by_service synapse_admin_mau_max synapse_appservice_api_sent_events_total
synapse_appservice_api_sent_transactions_total synapse_background_process_db_sched_duration_seconds_total
synapse_background_process_db_txn_duration_seconds_total synapse_background_process_in_flight_count synapse_background_process_ru_stime_seconds_total
synapse_background_process_ru_utime_seconds_total synapse_build_info synapse_event_persisted_position synapse_event_processing_lag_by_event_bucket
synapse_event_processing_lag_by_event_count synapse_event_processing_lag_by_event_sum synapse_event_processing_last_ts
synapse_event_processing_positions synapse_external_cache_get_total synapse_external_cache_response_time_seconds_bucket
synapse_external_cache_set_total synapse_federation_client_sent_edus_by_type_total synapse_federation_client_sent_edus_total
synapse_federation_client_sent_pdu_destinations_count_total synapse_federation_client_sent_transactions_total
synapse_federation_last_received_pdu_time synapse_federation_last_sent_pdu_time synapse_federation_send_queue_edus_size
synapse_federation_send_queue_keyed_edu_size synapse_federation_send_queue_pos_time_size synapse_federation_send_queue_presence_destinations_size
synapse_federation_send_queue_presence_map_size synapse_federation_server_number_inbound_pdu_in_staging
synapse_federation_server_oldest_inbound_pdu_in_staging synapse_federation_server_pdu_process_time_bucket
synapse_federation_server_received_edus_total synapse_federation_server_received_pdus_total synapse_federation_soft_failed_events_total
synapse_federation_transaction_queue_pending_edus synapse_federation_transaction_queue_pending_pdus synapse_forward_extremities_bucket
synapse_handler_presence_bump_active_time_total synapse_handler_presence_federation_presence_out_total
synapse_handler_presence_federation_presence_total synapse_handler_presence_get_updates_total synapse_handler_presence_notified_presence_total
synapse_handler_presence_notify_reason_total synapse_handler_presence_presence_updates_total synapse_handler_presence_state_transition_total
synapse_http_client_requests_total synapse_http_httppusher_http_pushes_failed_total synapse_http_httppusher_http_pushes_processed_total
synapse_http_matrixfederationclient_requests_total synapse_http_server_in_flight_requests_count
synapse_http_server_in_flight_requests_db_txn_duration_seconds_total synapse_http_server_in_flight_requests_ru_stime_seconds_total
synapse_http_server_in_flight_requests_ru_utime_seconds_total synapse_http_server_requests_received_total
synapse_http_server_response_ru_stime_seconds_total synapse_http_server_response_ru_utime_seconds_total
synapse_http_server_response_time_seconds_bucket synapse_http_server_response_time_seconds_count synapse_http_server_response_time_seconds_sum
synapse_notifier_users_woken_by_stream_total synapse_push_bulk_push_rule_evaluator_push_rules_invalidation_counter_total
synapse_push_bulk_push_rule_evaluator_push_rules_state_size_counter_total synapse_pushers synapse_rate_limit_queue_wait_time_seconds_bucket
synapse_rate_limit_queue_wait_time_seconds_count synapse_rate_limit_queue_wait_time_seconds_sum synapse_rate_limit_reject_affected_hosts
synapse_rate_limit_reject_total synapse_rate_limit_sleep_affected_hosts synapse_rate_limit_sleep_total synapse_replication_tcp_command_queue
synapse_replication_tcp_protocol_close_reason_total synapse_replication_tcp_protocol_inbound_commands_total
synapse_replication_tcp_protocol_inbound_rdata_count_total synapse_replication_tcp_protocol_outbound_commands_total
synapse_replication_tcp_resource_stream_updates_total synapse_replication_tcp_resource_total_connections synapse_server_name_info
synapse_state_number_state_groups_in_resolution_bucket synapse_state_res_cpu_for_biggest_room_seconds_total
synapse_state_res_db_for_biggest_room_seconds_total synapse_storage_events_forward_extremities_persisted_bucket
synapse_storage_events_persisted_events_sep_total synapse_storage_events_persisted_events_total
synapse_storage_events_potential_times_prune_extremities_total synapse_storage_events_stale_forward_extremities_persisted_bucket
synapse_storage_events_state_resolutions_during_persistence_total synapse_storage_events_times_pruned_extremities_total
synapse_storage_msc4242_state_dag_forward_extremities_persisted_bucket synapse_storage_schedule_time_bucket synapse_storage_schedule_time_count
synapse_storage_schedule_time_sum synapse_storage_transaction_time_count_total synapse_storage_transaction_time_sum_total
synapse_threadpool_working_threads synapse_util_caches_cache synapse_util_caches_cache_evicted_size synapse_util_caches_cache_hits
synapse_util_caches_cache_size synapse_util_caches_response_cache synapse_util_caches_response_cache_hits synapse_util_caches_response_cache_size
synapse_util_metrics_block_count_total synapse_util_metrics_block_db_txn_count_total synapse_util_metrics_block_db_txn_duration_seconds_total
synapse_util_metrics_block_ru_stime_seconds_total synapse_util_metrics_block_ru_utime_seconds_total synapse_util_metrics_block_time_seconds_total`.split(/\s+/);

/** Of these, what did not happen in the test, or cannot in a server of one process: they are there by name and kind. */
const WITHOUT_VALUES = `synapse_appservice_api_sent_events_total synapse_appservice_api_sent_transactions_total synapse_external_cache_get_total
synapse_external_cache_response_time_seconds synapse_external_cache_set_total synapse_federation_client_sent_edus_by_type_total
synapse_federation_last_received_pdu_time synapse_federation_last_sent_pdu_time synapse_http_client_requests_total
synapse_http_matrixfederationclient_requests_total synapse_pushers synapse_replication_tcp_command_queue
synapse_replication_tcp_protocol_close_reason_total synapse_replication_tcp_protocol_inbound_commands_total
synapse_replication_tcp_protocol_inbound_rdata_count_total synapse_replication_tcp_protocol_outbound_commands_total
synapse_replication_tcp_resource_stream_updates_total synapse_util_caches_response_cache
synapse_util_caches_response_cache_hits synapse_util_caches_response_cache_size`.split(/\s+/);

describe("metrics of a server", () => {
  const lines: string[] = [];
  const log = (name: string): Logger => ({
    debug: () => {},
    info: (message) => void (name.startsWith("synapse.access") && lines.push(`${name} ${message}`)),
    warn: () => {},
    error: () => {},
    named: log,
    enabled: (level) => level !== "debug",
  });
  let server: TestServer;
  before(
    async () =>
      (server = await startTestServer({
        config: { enable_metrics: true, mau_stats_only: true, caches: { global_factor: 1, per_cache_factors: { get_user_by_id: 0.25 } } },
        log: log("root"),
      })),
  );
  after(() => server.close());

  const scrape = async (): Promise<string[]> => (await server.anonymous.get("/_synapse/metrics").expect(200)).text.split("\n");
  const value = (found: readonly string[], start: string): number =>
    Number(
      found
        .find((line) => line.startsWith(start))
        ?.split(" ")
        .at(-1),
    );

  it("fill Synapse's dashboard", async function () {
    this.timeout(20_000);
    const alice = await server.register("alice");
    const { body } = await server.as(alice).post("/_matrix/client/v3/createRoom", { preset: "public_chat" }).expect(200);
    const { ctx } = server;
    ctx.federationSender.start(ctx.publisher);
    const listener = ctx.notifier.listen(alice.userId);
    await server.as(alice).put(`/_matrix/client/v3/rooms/${body.room_id}/send/m.room.message/t`, { msgtype: "m.text", body: "x" }).expect(200);
    await server.as(alice).get("/_matrix/client/v3/sync").expect(200);
    listener.close();
    await server.server.followers.runOnce();
    await ctx.federationSender.settled();
    await server.ctx.metrics.inBackground("expire_old_sessions", () => server.server.jobs.runOnce("expire_old_sessions"));
    globalThis.gc?.();
    let found: string[] = [];
    const has = (name: string): boolean => found.some((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    const declared = (name: string): boolean => WITHOUT_VALUES.includes(name) && found.some((line) => line.startsWith(`# TYPE ${name} `));
    const missing = (): string[] => DASHBOARD.filter((name) => !has(name) && !declared(name.replace(/_bucket$/, "")));
    // Garbage is collected sooner or later.
    for (let tries = 0; tries < 200; tries++) {
      found = await scrape();
      if (missing().length === 0 && value(found, "python_twisted_reactor_tick_time_count") > 0) break;
      Array.from({ length: 200_000 }, (_, n) => ({ n }));
    }

    assert.deepEqual(missing(), []);
    assert.equal(value(found, 'synapse_user_registrations_total{auth_provider="",guest="False",shadow_banned="False",server_name="test"}'), 1);
    assert.equal(value(found, 'synapse_user_logins_total{auth_provider="",guest="False",server_name="test"}'), 1);
    assert.equal(value(found, 'synapse_storage_events_persisted_events_sep_total{type="m.room.message",origin_type="local",server_name="test"}'), 1);
    assert.ok(value(found, 'synapse_util_caches_cache_hits{name="get_user_by_access_token",server_name="test"}') > 0);
    assert.ok(value(found, 'synapse_http_server_response_db_txn_count_total{method="POST",servlet="RoomCreateRestServlet",tag="",server_name="test"}') > 0);
    assert.ok(value(found, 'synapse_background_process_db_txn_count_total{name="expire_old_sessions",server_name="test"}') > 0);
    assert.equal(value(found, 'synapse_forward_extremities_bucket{le="1.0",server_name="test"}'), 1);
    assert.equal(value(found, 'synapse_forward_extremities_bucket{le="inf",server_name="test"}'), 1);
    assert.ok(value(found, "synapse_storage_events_forward_extremities_persisted_count{") > 0);
    const position = value(found, "synapse_event_persisted_position{");
    for (const name of ["federation_sender", "stats", "user_dir", "room_forgetter"])
      assert.equal(value(found, `synapse_event_processing_positions{name="${name}",server_name="test"}`), position, name);
    assert.ok(value(found, 'synapse_event_processing_lag_by_event_count{name="federation_sender"') > 0);
    assert.ok(value(found, 'synapse_notifier_users_woken_by_stream_total{stream="room_key"') > 0);
    assert.ok(value(found, 'synapse_handler_presence_get_updates_total{type="full"') > 0);
    assert.ok(value(found, 'synapse_util_metrics_block_db_txn_count_total{block_name="persist_events"') > 0);
    assert.ok(value(found, "python_twisted_reactor_tick_time_count") > 0);
    assert.equal(value(found, 'synapse_background_process_in_flight_count{name="expire_old_sessions",server_name="test"}'), 0);
  });

  it("show caches of the sizes that the configuration has", async () => {
    const found = await scrape();
    const size = (name: string): number => value(found, `synapse_util_caches_cache_max_size{name="${name}",server_name="test"}`);
    assert.deepEqual(["get_user_by_access_token", "get_user_by_id", "*getEvent*", "*stateGroupCache*"].map(size), [40_000, 10_000, 20_480, 2_000_000]);
  });

  it("are beside one line for each request in the access log, in Synapse's layout and without secrets", async () => {
    const bob = await server.register("bob");
    lines.length = 0;
    await server.as(bob).get("/_matrix/client/v3/account/whoami?access_token=secret&x=1").set("User-Agent", "tester/1").expect(200);
    await server.anonymous.get("/_matrix/client/v3/nothing?loginToken=secret").expect(404);
    const time = String.raw`\d+\.\d{3}sec`;
    const layout = (who: string, rest: string): RegExp =>
      new RegExp(
        String.raw`^synapse\.access\.http\.test \S+ - test - \{${who}\} Processed request: ${time}/${time} ru=\(${time}, ${time}\) db=\(${time}/${time}/\d+\) \d+B ${rest}$`,
      );
    assert.equal(lines.length, 2);
    assert.match(
      lines[0]!,
      layout("@bob:test", String.raw`200 "GET /_matrix/client/v3/account/whoami\?access_token=<redacted>&x=1 HTTP/1\.1" "tester/1" \[0 dbevts\]`),
    );
    assert.match(lines[1]!, layout("None", String.raw`404 "GET /_matrix/client/v3/nothing\?loginToken=<redacted> HTTP/1\.1" "[^"]*" \[0 dbevts\]`));
  });

  it("count what goes to and comes from other servers", async () => {
    server.ctx.metrics.transactionSent("b.org", 3, ["m.typing"]);
    server.ctx.metrics.transactionReceived("b.org", 2, 0);
    const found = await scrape();
    assert.equal(value(found, "synapse_federation_client_sent_pdu_destinations_total{"), 3);
    assert.equal(value(found, 'synapse_federation_client_sent_edus_by_type_total{type="m.typing"'), 1);
    assert.equal(value(found, "synapse_federation_server_received_pdus_total{"), 2);
  });
});
