import assert from "node:assert/strict";
import { systemClock } from "../src/lib/clock.ts";
import { silentLogger } from "../src/lib/log.ts";
import { query } from "../src/storage/database.ts";
import { EventStore } from "../src/storage/events/event-store.ts";
import { expectedCatalogue } from "../src/storage/schema/catalogue-file.ts";
import { describeCatalogue, describeDatabase, differences } from "../src/storage/schema/compare.ts";
import { openDatabase } from "../src/storage/schema/open.ts";
import { StartupRefusal } from "../src/storage/schema/refusal.ts";
import { ServerLock } from "../src/storage/schema/server-lock.ts";
import { StateStore } from "../src/storage/state/state-store.ts";
import { openStreams } from "../src/storage/stream-ids.ts";
import { connectTo } from "../src/testing/database.ts";
import { UPDATES } from "../src/workers/background-updates/registry.ts";
import { BackgroundUpdates } from "../src/workers/background-updates/runner.ts";
import type { Update, UpdateContext } from "../src/workers/background-updates/update.ts";
import { makeHome, OLD_FEATURES, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { waitFor } from "./harness/scratch.ts";
import { startSynapse } from "./harness/server.ts";
import { installSynapse, SynapseUnavailable } from "./harness/synapse.ts";

/** A Synapse of the oldest schema version that Myelin opens. */
const OLD_SYNAPSE = "1.119.0";
const NO_WAIT = { background_updates: { sleep_enabled: false } };

describe("the schema beside real Synapse", function () {
  this.timeout(15 * 60_000);
  let postgres: PostgresServer;
  const homes: Home[] = [];

  before(async function () {
    try {
      installSynapse();
    } catch (error) {
      if (!(error instanceof SynapseUnavailable)) throw error;
      return this.skip();
    }
    postgres = await acquirePostgres();
  });
  after(async () => {
    for (const home of homes) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  async function home(name: string, extra: Record<string, unknown> = {}, features: Record<string, boolean> = {}): Promise<Home> {
    const made = await makeHome({ name, postgres, extra, features });
    homes.push(made);
    return made;
  }

  /** Opens the home's database as the server does, and runs its background updates, or those batches that `limit` allows. */
  async function prepare(of: Home, limit = Infinity): Promise<void> {
    const { host, port, user, password } = postgres;
    const db = connectTo(`postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${of.database}`);
    try {
      await openDatabase(db, { serverName: of.serverName, log: silentLogger });
      const events = new EventStore(db.read, silentLogger);
      const ctx = {
        config: {
          server: { serverName: of.serverName, enableSearch: true },
          stats: { enabled: true },
          workers: { instanceName: "master" },
          backgroundUpdates: { sleepEnabled: false, sleepDurationMs: 0, updateDurationMs: 0, minBatchSize: 2, defaultBatchSize: 2 },
        },
        db,
        read: db.read,
        transaction: db.transaction.bind(db),
        clock: systemClock,
        log: silentLogger,
        streams: await openStreams(db, "master"),
        events,
        state: new StateStore(db.read, events),
        appservices: { all: () => [] },
      } as unknown as UpdateContext;
      let done = 0;
      const counted = new Map<string, Update>(
        [...UPDATES].map(([name, update]) => {
          if (update.kind !== "service") return [name, update];
          return [name, { kind: "service", batch: (...args) => (++done >= limit && updates.setEnabled(false), update.batch(...args)) }];
        }),
      );
      const updates = new BackgroundUpdates(ctx, counted);
      updates.start();
      await updates.whenIdle();
      if (limit === Infinity) {
        assert.equal(updates.status(), "complete");
        assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.read)), []);
      } else assert.ok((await query(db.read, "SELECT FROM background_updates")).length > 0, "something is left for Synapse");
    } finally {
      await db.close();
    }
  }

  async function isFinished(of: Home): Promise<true | undefined> {
    const { host, port, user, password } = postgres;
    const db = connectTo(`postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${of.database}`, 1);
    try {
      return (await query(db.read, "SELECT FROM background_updates")).length === 0 ? true : undefined;
    } finally {
      await db.close();
    }
  }

  /** Synapse starts on the database, and says nothing that it does not say on one of its own. */
  async function synapseIsContent(of: Home): Promise<void> {
    const synapse = await startSynapse(of);
    await waitFor("the background updates", 120_000, () => isFinished(of));
    await synapse.stop();
    assert.deepEqual(
      synapse.warnings().filter((line) => !/STARTING SERVER|synapse\/app\/homeserver\.py|Copyright|Licensed under/.test(line)),
      [],
    );
  }

  it("risk 5, 6, 7: Synapse opens a database that Myelin made, without a warning", async () => {
    const of = await home("schema_new", NO_WAIT);
    await prepare(of);
    await synapseIsContent(of);
    await prepare(of); // and back: nothing has changed
  });

  it("risk 72: Myelin does not start while Synapse is at work, and starts when it has stopped", async () => {
    const of = await home("schema_live");
    const synapse = await startSynapse(of);
    const { host, port, user, password } = postgres;
    const db = connectTo(`postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${of.database}`);
    const options = { instanceName: "master", clock: systemClock, log: silentLogger, onTaken: () => {} };
    try {
      await assert.rejects(ServerLock.acquire(db, options), (error) => error instanceof StartupRefusal && error.code === "live-synapse");
      await synapse.stop();
      await (await ServerLock.acquire(db, options)).release();
    } finally {
      if (!synapse.exited()) await synapse.kill();
      await db.close();
    }
  });

  it("risk 7, 70: a database of schema version 88 with all its updates waiting becomes what Synapse 1.160 would make of it, whoever finishes it", async function () {
    // Its background updates wait: it sleeps before each.
    const of = await home("schema_old", { background_updates: { sleep_duration_ms: 600_000 } }, OLD_FEATURES);
    let old;
    try {
      old = await startSynapse(of, { synapseVersion: OLD_SYNAPSE });
    } catch (error) {
      if (!(error instanceof SynapseUnavailable)) throw error;
      return this.skip();
    }
    const client = old.client();
    await client.register("alice", "password");
    for (let n = 0; n < 5; n++)
      await client.request("POST", "/_matrix/client/v3/createRoom", { body: { name: `room ${n}`, preset: n % 2 ? "public_chat" : "private_chat" } });
    await old.stop();

    const half = await makeHome({ name: "schema_old_half", postgres, serverName: of.serverName, extra: NO_WAIT, keepDatabase: true });
    homes.push(half);
    await postgres.createDatabase(half.database, of.database);

    await prepare(of);
    await synapseIsContent(of);
    // The same, but Synapse goes on with what we began.
    await prepare(half, 5);
    await synapseIsContent(half);
    await prepare(half);
  });
});
