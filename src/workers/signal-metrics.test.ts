import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Metrics } from "../lib/metrics.ts";
import { currentRequest, inBlock, noUsage, runInRequest } from "../lib/request-context.ts";
import { signals } from "../lib/signals.ts";
import { HttpClient } from "../outbound/http-client.ts";
import { HostLimiter } from "../services/federation/inbound/host-limiter.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { countSignals } from "./signal-metrics.ts";

describe("metrics of what happens deep inside", () => {
  let metrics: Metrics;
  let clock: FakeClock;
  let end: () => void;
  beforeEach(() => {
    metrics = new Metrics("test");
    clock = new FakeClock();
    end = countSignals(metrics, clock);
  });
  afterEach(() => end());

  const value = async (start: string): Promise<number | undefined> => {
    const line = (await metrics.scrape()).body.split("\n").find((each) => each.startsWith(start));
    return line === undefined ? undefined : Number(line.split(" ").at(-1));
  };

  it("count for each minute the room whose state resolutions cost most", async () => {
    signals.stateResolved.emit({ roomId: "!a", cpuSeconds: 1, databaseSeconds: 0.5 });
    signals.stateResolved.emit({ roomId: "!a", cpuSeconds: 2, databaseSeconds: 0 });
    signals.stateResolved.emit({ roomId: "!b", cpuSeconds: 2.5, databaseSeconds: 4 });
    assert.equal(await value("synapse_state_res_cpu_for_biggest_room_seconds_total{"), 0);
    clock.advance(60_000);
    clock.advance(60_000);
    assert.equal(await value("synapse_state_res_cpu_for_biggest_room_seconds_total{"), 3);
    assert.equal(await value("synapse_state_res_db_for_biggest_room_seconds_total{"), 4);
    assert.equal(await value("synapse_state_res_cpu_for_all_rooms_seconds_count{"), 3);
  });

  it("name the reason why others hear of a presence as Synapse does", async () => {
    const old = { state: "online", statusMsg: null, currentlyActive: true };
    const update = { isLocal: true, old, notified: true, pinged: false };
    signals.presenceUpdated.emit({ ...update, next: { ...old, state: "unavailable" } });
    signals.presenceUpdated.emit({ ...update, next: { ...old, state: "unavailable", statusMsg: "gone" } });
    signals.presenceUpdated.emit({ ...update, next: { ...old, currentlyActive: false } });
    signals.presenceUpdated.emit({ ...update, next: old, notified: false, pinged: true });
    const reason = (name: string): Promise<number | undefined> => value(`synapse_handler_presence_notify_reason_total{locality="local",reason="${name}"`);
    assert.equal(await reason("state_change"), 1);
    assert.equal(await reason("status_msg_change"), 1);
    assert.equal(await reason("current_active_change"), 1);
    assert.equal(await value('synapse_handler_presence_state_transition_total{locality="local",from="online",to="unavailable"'), 1);
    assert.equal(await value("synapse_handler_presence_presence_updates_total{"), 4);
    assert.equal(await value("synapse_handler_presence_notified_presence_total{"), 3);
    assert.equal(await value("synapse_handler_presence_federation_presence_out_total{"), 1);
  });

  it("count servers that the federation's rate limit slows down and refuses", async () => {
    const limiter = new HostLimiter({ windowSizeMs: 1_000, sleepLimit: 1, sleepDelayMs: 500, rejectLimit: 0, concurrent: 1 }, clock);
    await limiter.run("b.org", async () => {});
    const second = limiter.run("b.org", async () => {});
    assert.deepEqual(limiter.affected, { sleeping: 1, refused: 1 });
    await assert.rejects(limiter.run("b.org", async () => {}));
    clock.advance(500);
    await second;
    assert.deepEqual(limiter.affected, { sleeping: 0, refused: 0 });
    assert.equal(await value("synapse_rate_limit_sleep_total{"), 1);
    assert.equal(await value("synapse_rate_limit_reject_total{"), 1);
    assert.equal(await value("synapse_rate_limit_queue_wait_time_seconds_count{"), 2);
  });

  it("count requests to other services and their answers", async () => {
    const server = createServer((_, res) => res.writeHead(404).end("{}"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = new HttpClient({ userAgent: "test" });
    try {
      await assert.rejects(client.object({ method: "POST", url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, json: {} }));
    } finally {
      await client.close();
      server.close();
    }
    assert.equal(await value('synapse_http_client_requests_total{method="POST"'), 1);
    assert.equal(await value('synapse_http_client_responses_total{method="POST",code="404"'), 1);
  });

  it("tell a block's cost by its name, and count it for the request too", async () => {
    const usage = noUsage();
    await runInRequest({ id: "r", usage }, () => inBlock("store", () => inBlock("inner", async () => void (currentRequest()!.usage!.transactions += 2))));
    assert.equal(usage.transactions, 2);
    signals.blockEnded.emit({ name: "store", seconds: 2, usage: { transactions: 3, seconds: 1, waitedSeconds: 0, cpuSeconds: 0.5 } });
    assert.equal(await value('synapse_util_metrics_block_count_total{block_name="store"'), 2);
    assert.equal(await value('synapse_util_metrics_block_count_total{block_name="inner"'), 1);
    assert.equal(await value('synapse_util_metrics_block_db_txn_count_total{block_name="store"'), 5);
    const part = (name: string): Promise<number | undefined> => value(`synapse_util_metrics_block_ru_${name}_seconds_total{block_name="store"`);
    const cpu = (await part("utime"))! + (await part("stime"))!;
    assert.ok(Math.abs(cpu - 0.5) < 1e-6);
  });

  it("show the lag of those who follow the events", async () => {
    signals.eventsProcessed.emit({ name: "federation_sender", rooms: 1, storedAt: [1_000, 2_000], at: 2_500 });
    assert.equal(await value('synapse_event_processing_lag{name="federation_sender"'), 500);
    assert.equal(await value('synapse_event_processing_last_ts{name="federation_sender"'), 2_000);
    assert.equal(await value('synapse_event_processing_lag_by_event_sum{name="federation_sender"'), 2);
  });

  it("listen no more at the end", async () => {
    end();
    signals.softFailed.emit();
    assert.equal(await value("synapse_federation_soft_failed_events_total{"), 0);
  });
});
