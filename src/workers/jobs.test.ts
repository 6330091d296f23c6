import assert from "node:assert/strict";
import { query } from "../storage/database.ts";
import { storeAnswerOfTransaction } from "../storage/federation/received-transactions.ts";
import { startTestServer, type TestServer } from "../testing/server.ts";

const HOUR_MS = 3_600_000;

describe("periodic jobs", () => {
  let server: TestServer;
  before(async () => (server = await startTestServer()));
  after(() => server.close());

  it("forget what was answered to transactions of other servers after a day", async () => {
    const { ctx } = server;
    const store = (transactionId: string, hoursAgo: number): Promise<void> =>
      ctx.transaction("answered", (txn) =>
        storeAnswerOfTransaction(txn, { origin: "elsewhere", transactionId, status: 200, json: "{}", now: ctx.clock.now() - hoursAgo * HOUR_MS }),
      );
    await store("old", 25);
    await store("new", 23);
    await server.server.jobs.runOnce("cleanup_transactions");
    assert.deepEqual(await query(ctx.read, "SELECT transaction_id FROM received_transactions"), [{ transaction_id: "new" }]);
  });
});
