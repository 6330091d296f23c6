import assert from "node:assert/strict";
import pg from "pg";
import { systemClock } from "../../lib/clock.ts";
import { silentLogger, type Logger } from "../../lib/log.ts";
import { eventually } from "../../testing/eventually.ts";
import { connectTo, createTestDatabase, type TestDatabase } from "../../testing/database.ts";
import { query } from "../database.ts";
import { StartupRefusal } from "./refusal.ts";
import { ServerLock, type ServerLockOptions } from "./server-lock.ts";

describe("the server's lock", function () {
  let db: TestDatabase;
  beforeEach(async () => (db = await createTestDatabase()));
  afterEach(() => db.drop());

  const acquire = (database = db.database, extra: Partial<ServerLockOptions> = {}): Promise<ServerLock> =>
    ServerLock.acquire(database, { instanceName: "master", clock: systemClock, log: silentLogger, waitMs: 0, onTaken: () => assert.fail("taken"), ...extra });

  const refused = (attempt: Promise<unknown>, code: string, message: RegExp): Promise<void> =>
    assert.rejects(attempt, (error) => {
      assert.ok(error instanceof StartupRefusal, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });

  const lockingBackend = async (): Promise<number> =>
    (await query<{ pid: number }>(db.database.read, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"))[0]!.pid;

  it("risk 15, 72: a second server on the same database does not start, and is told who is there", async () => {
    const first = await acquire();
    const other = connectTo(db.url);
    try {
      await refused(acquire(other), "second-server", /already running as master on this database: found a session from .* \(myelin-test, backend \d+\)\. Stop that one/);
      assert.equal(first.held, true);
      await first.release();
      await (await acquire(other)).release();
    } finally {
      await other.close();
    }
  });

  it("the one who is there is not looked for on other databases of the same Postgres", async () => {
    const neighbour = await createTestDatabase();
    const locks = [await acquire(neighbour.database), await acquire()];
    const backend = await lockingBackend();
    const other = connectTo(db.url);
    try {
      await refused(acquire(other), "second-server", new RegExp(`backend ${backend}\\)`));
    } finally {
      for (const lock of locks) await lock.release();
      await other.close();
      await neighbour.drop();
    }
  });

  it("a server that starts while the old one stops waits for it", async () => {
    const first = await acquire();
    const second = acquire(db.database, { waitMs: 10_000 });
    await systemClock.sleep(50);
    await first.release();
    await (await second).release();
  });

  it("workers of other names run beside the main process, and each knows of the others", async () => {
    const main = await acquire();
    const worker = await acquire(db.database, { instanceName: "worker1" });
    assert.equal(await main.others(), 1);
    await worker.release();
    await eventually("the worker's end", async () => (await main.others()) === 0);
    await main.release();
  });

  it("is taken again when its connection breaks", async () => {
    const lines: string[] = [];
    const log: Logger = { ...silentLogger, warn: (line) => void lines.push(line), info: (line) => void lines.push(line) };
    const lock = await acquire(db.database, { log, waitMs: 10_000 });
    const backend = await lockingBackend();
    await query(db.database.read, `SELECT pg_terminate_backend(${backend})`);
    await eventually("the loss and the second taking", () => lines.length === 2);
    assert.equal(lock.held, true);
    assert.notEqual(await lockingBackend(), backend);
    await lock.release();
  });

  it("stops the server when another took it meanwhile", async () => {
    let taken = false;
    const first = await acquire(db.database, { waitMs: 100, onTaken: () => (taken = true) });
    // The usurper waits in the database's own queue, so it gets the lock before anybody who only tries.
    const usurper = new pg.Client({ connectionString: db.url, application_name: "myelin-usurper" });
    await usurper.connect();
    try {
      const backend = await lockingBackend();
      const got = usurper.query("SELECT pg_advisory_lock(l.classid::int, l.objid::bit(32)::int) FROM (SELECT classid::bigint::int AS classid, objid::bigint AS objid FROM pg_locks WHERE pid = $1 AND locktype = 'advisory') AS l", [backend]);
      await systemClock.sleep(100);
      await query(db.database.read, `SELECT pg_terminate_backend(${backend})`);
      await got;
      await eventually("the stop", () => taken);
      assert.equal(first.held, false);
    } finally {
      await usurper.end();
      await first.release();
    }
  });

  describe("before a live Synapse", () => {
    const session = async (application: string, statement: string): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: db.url, application_name: application });
      await client.connect();
      await client.query(statement);
      return client;
    };

    it("risk 72: refuses while sessions with Synapse's manners are connected, and says from where", async () => {
      const synapse = await session("", "COMMIT");
      try {
        await refused(acquire(), "live-synapse", /A Synapse seems to be running on this database: found 1 sessions of \w+ from 127\.0\.0\.1.*Stop it and all its workers/);
        const other = await acquire(db.database, { allowOtherClients: true });
        await other.release();
      } finally {
        await synapse.end();
      }
      await (await acquire()).release();
    }).timeout(30_000);

    it("risk 72: knows it by the tables it asks, too", async () => {
      const synapse = await session("", "SELECT update_name FROM background_updates");
      await refused(acquire(), "live-synapse", /live|seems to be running/);
      await synapse.end();
    }).timeout(30_000);

    it("lets an admin's tools and monitoring be", async () => {
      const clients = [await session("psql", "COMMIT"), await session("", "SELECT * FROM pg_stat_database"), await session("grafana", "SELECT count(*) FROM users")];
      await (await acquire()).release();
      await Promise.all(clients.map((client) => client.end()));
    });
  });
});
