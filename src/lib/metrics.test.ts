import assert from "node:assert/strict";
import { databaseMetrics, inBackgroundProcess, Metrics, requestMetrics } from "./metrics.ts";

describe("metrics", () => {
  const lines = async (metrics: Metrics): Promise<string[]> => (await metrics.scrape()).body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));

  it("count requests by Synapse's names and labels", async () => {
    const metrics = new Metrics("test");
    const edge = requestMetrics(metrics);
    edge.requestStarted("GET", "SyncRestServlet");
    edge.requestStarted("GET", "SyncRestServlet");
    const usage = { transactions: 2, seconds: 0.1, waitedSeconds: 0, cpuSeconds: 0.5 };
    edge.requestFinished({ method: "GET", servlet: "SyncRestServlet", status: 200, seconds: 0.3, bytes: 10, usage });
    const found = await lines(metrics);
    assert.ok(found.includes('synapse_http_server_requests_received_total{method="GET",servlet="SyncRestServlet",server_name="test"} 2'));
    assert.ok(found.includes('synapse_http_server_in_flight_requests_count{method="GET",servlet="SyncRestServlet",server_name="test"} 1'));
    assert.ok(found.includes('synapse_http_server_response_db_txn_count_total{method="GET",servlet="SyncRestServlet",tag="",server_name="test"} 2'));
    assert.ok(found.includes('synapse_http_server_responses_total{method="GET",code="200",server_name="test"} 1'));
    assert.ok(
      found.includes(
        'synapse_http_server_response_time_seconds_bucket{le="0.5",method="GET",servlet="SyncRestServlet",tag="",code="200",server_name="test"} 1',
      ),
    );
    assert.ok(
      found.includes(
        'synapse_http_server_response_time_seconds_bucket{le="0.25",method="GET",servlet="SyncRestServlet",tag="",code="200",server_name="test"} 0',
      ),
    );
  });

  it("of two servers in one process do not mix", async () => {
    const [a, b] = [new Metrics("a"), new Metrics("b")];
    a.count("synapse_notifier_notified_events_total", {});
    assert.deepEqual(await lines(a), ['synapse_notifier_notified_events_total{server_name="a"} 1']);
    assert.deepEqual(await lines(b), []);
  });

  it("look at caches when they are scraped", async () => {
    const metrics = new Metrics("test");
    let hits = 1;
    metrics.watchCache("*getEvent*", () => ({ size: 3, maxSize: 10, hits, misses: 2, evictedBySize: 1 }));
    await metrics.scrape();
    hits = 5;
    assert.deepEqual(await lines(metrics), [
      'synapse_util_caches_cache_size{name="*getEvent*",server_name="test"} 3',
      'synapse_util_caches_cache_hits{name="*getEvent*",server_name="test"} 5',
      'synapse_util_caches_cache{name="*getEvent*",server_name="test"} 7',
      'synapse_util_caches_cache_max_size{name="*getEvent*",server_name="test"} 10',
      'synapse_util_caches_cache_evicted_size{name="*getEvent*",reason="size",server_name="test"} 1',
    ]);
  });

  it("time statements by their verb", async () => {
    const metrics = new Metrics("test");
    databaseMetrics(metrics).statement("\n select 1", 0.02);
    assert.ok((await lines(metrics)).includes('synapse_storage_query_time_count{verb="SELECT",server_name="test"} 1'));
  });

  it("show a background process while it runs, also when it fails", async () => {
    const metrics = new Metrics("test");
    const gauge = async (): Promise<string | undefined> =>
      (await lines(metrics)).find((line) => line.startsWith("synapse_background_process_in_flight_count"))?.at(-1);
    await assert.rejects(
      inBackgroundProcess(metrics, "purge", async () => {
        assert.equal(await gauge(), "1");
        throw new Error("x");
      }),
    );
    assert.equal(await gauge(), "0");
  });
});
