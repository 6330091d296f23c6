import assert from "node:assert/strict";
import type { Logger } from "../lib/log.ts";
import { startTestServer, type TestServer } from "../testing/server.ts";

/** Of the series of Synapse's Grafana dashboard, those that a server of one process has once it has been used. */
const DASHBOARD = `process_cpu_seconds_total process_cpu_system_seconds_total process_cpu_user_seconds_total process_max_fds process_open_fds
process_resident_memory_bytes process_start_time_seconds python_gc_time_bucket python_gc_time_count python_gc_time_sum
synapse_admin_mau_current synapse_admin_mau_max synapse_background_process_db_sched_duration_seconds_total
synapse_background_process_db_txn_duration_seconds_total synapse_background_process_in_flight_count synapse_build_info
synapse_event_persisted_position synapse_federation_server_number_inbound_pdu_in_staging
synapse_federation_server_oldest_inbound_pdu_in_staging synapse_federation_transaction_queue_pending_edus
synapse_federation_transaction_queue_pending_pdus synapse_http_server_in_flight_requests_count
synapse_http_server_in_flight_requests_db_txn_duration_seconds_total synapse_http_server_requests_received_total
synapse_http_server_response_time_seconds_bucket synapse_http_server_response_time_seconds_count
synapse_http_server_response_time_seconds_sum synapse_server_name_info synapse_storage_events_persisted_events_sep_total
synapse_storage_events_persisted_events_total synapse_storage_schedule_time_bucket synapse_storage_schedule_time_count
synapse_storage_schedule_time_sum synapse_storage_transaction_time_count_total synapse_storage_transaction_time_sum_total
synapse_util_caches_cache synapse_util_caches_cache_hits synapse_util_caches_cache_size`.split(/\s+/);

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
  before(async () => (server = await startTestServer({ config: { enable_metrics: true, mau_stats_only: true }, log: log("root") })));
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
    await server.as(alice).put(`/_matrix/client/v3/rooms/${body.room_id}/send/m.room.message/t`, { msgtype: "m.text", body: "x" }).expect(200);
    await server.as(alice).get("/_matrix/client/v3/sync").expect(200);
    await server.ctx.metrics.inBackground("expire_old_sessions", () => server.server.jobs.runOnce("expire_old_sessions"));
    globalThis.gc?.();
    let found: string[] = [];
    const missing = (): string[] => DASHBOARD.filter((name) => !found.some((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `)));
    // Garbage is collected sooner or later.
    for (let tries = 0; tries < 50; tries++) {
      found = await scrape();
      if (missing().length === 0) break;
      Array.from({ length: 200_000 }, (_, n) => ({ n }));
    }
    assert.deepEqual(missing(), []);
    assert.equal(value(found, 'synapse_user_registrations_total{auth_provider="",guest="False",shadow_banned="False",server_name="test"}'), 1);
    assert.equal(value(found, 'synapse_user_logins_total{auth_provider="",guest="False",server_name="test"}'), 1);
    assert.equal(value(found, 'synapse_storage_events_persisted_events_sep_total{type="m.room.message",origin_type="local",server_name="test"}'), 1);
    assert.ok(value(found, 'synapse_util_caches_cache_hits{name="get_user_by_access_token",server_name="test"}') > 0);
    assert.ok(value(found, 'synapse_http_server_response_db_txn_count_total{method="POST",servlet="RoomCreateRestServlet",tag="",server_name="test"}') > 0);
    assert.ok(value(found, 'synapse_background_process_db_txn_count_total{name="expire_old_sessions",server_name="test"}') > 0);
    assert.equal(value(found, 'synapse_background_process_in_flight_count{name="expire_old_sessions",server_name="test"}'), 0);
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
