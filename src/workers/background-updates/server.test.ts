import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import { query } from "../../storage/database.ts";
import { startTestServer } from "../../testing/server.ts";

describe("a server with background updates in its database", function () {
  this.timeout(60_000);

  it("does them while it serves, and the admin's jobs with them", async () => {
    const server = await startTestServer({ config: { background_updates: { sleep_enabled: false } } });
    try {
      const { backgroundUpdates, read } = server.ctx;
      await server.ctx.transaction("test", (txn) =>
        query(txn, "INSERT INTO background_updates (update_name, progress_json) VALUES ('events_received_ts_index', '{}')"),
      );
      assert.deepEqual(await backgroundUpdates.pending(["events_received_ts_index", "other"]), ["events_received_ts_index"]);
      assert.equal(await backgroundUpdates.startJob("regenerate_directory"), "started");
      for (let i = 0; (await query(read, "SELECT FROM background_updates")).length > 0; i++) {
        assert.ok(i < 500, "the updates do not end");
        await systemClock.sleep(20);
      }
      backgroundUpdates.setEnabled(false);
      assert.equal(backgroundUpdates.isEnabled(), false);
      assert.equal(backgroundUpdates.currentUpdate(), undefined);
    } finally {
      await server.close();
    }
  });
});
