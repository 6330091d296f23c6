import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "./embedded-postgres.ts";
import { silentLogger } from "./log.ts";

describe("embedded Postgres", function () {
  this.timeout(60_000);
  let folder: string;
  const start = (name = "data"): Promise<EmbeddedPostgres> => startEmbeddedPostgres({ dataFolder: path.join(folder, name), durable: true, log: silentLogger });

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(tmpdir(), "myelin-embedded-"));
    fs.chmodSync(folder, 0o755);
  });
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  async function ask<Row extends pg.QueryResultRow>(server: EmbeddedPostgres, sql: string): Promise<Row[]> {
    const client = new pg.Client({ connectionString: server.url("postgres") });
    await client.connect();
    try {
      return (await client.query<Row>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  it("keeps its data over a stop, in UTF8 with collation C, with durable settings", async () => {
    const first = await start();
    await ask(first, "CREATE TABLE kept AS SELECT 7 AS n");
    await first.stop();
    const began = performance.now();
    const second = await start();
    const took = performance.now() - began;
    try {
      assert.ok(took < 2000, `the second start took ${took} ms`);
      assert.deepEqual(await ask(second, "SELECT n FROM kept"), [{ n: 7 }]);
      const [row] = await ask<Record<string, string>>(
        second,
        `SELECT pg_encoding_to_char(encoding) AS encoding, datcollate, datctype, current_setting('fsync') AS fsync,
                current_setting('synchronous_commit') AS synchronous_commit, current_setting('full_page_writes') AS full_page_writes
         FROM pg_database WHERE datname = current_database()`,
      );
      assert.deepEqual(row, { encoding: "UTF8", datcollate: "C", datctype: "C", fsync: "on", synchronous_commit: "on", full_page_writes: "on" });
    } finally {
      await second.stop();
    }
    assert.equal(fs.existsSync(path.join(second.dataFolder, "postmaster.pid")), false);
  });

  it("asks for a password", async () => {
    const server = await start();
    try {
      const client = new pg.Client({ host: "127.0.0.1", port: server.port, user: server.user, password: "guess", database: "postgres" });
      await assert.rejects(client.connect(), /password authentication failed/);
    } finally {
      await server.stop();
    }
  });

  it("refuses a folder that a living process uses, and says which", async () => {
    const server = await start();
    try {
      await assert.rejects(start(), new RegExp(`in use by process ${process.pid}`));
      assert.deepEqual(await ask(server, "SELECT 1 AS n"), [{ n: 1 }], "the first one is left alone");
    } finally {
      await server.stop();
    }
  });

  it("takes over the server of a process that was killed", async () => {
    const script = `
      import { startEmbeddedPostgres } from ${JSON.stringify(new URL("./embedded-postgres.ts", import.meta.url).href)};
      import { silentLogger } from ${JSON.stringify(new URL("./log.ts", import.meta.url).href)};
      const server = await startEmbeddedPostgres({ dataFolder: ${JSON.stringify(path.join(folder, "data"))}, durable: true, log: silentLogger });
      process.stdout.write(String(server.pid), () => process.kill(process.pid, "SIGKILL"));`;
    const { stdout, signal } = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], { encoding: "utf8" });
    assert.equal(signal, "SIGKILL");
    const server = await start();
    try {
      assert.equal(server.pid, Number(stdout));
      assert.deepEqual(await ask(server, "SELECT 1 AS n"), [{ n: 1 }]);
    } finally {
      await server.stop();
    }
  });

  it("starts when postmaster.pid names a process that is another program by now", async () => {
    const first = await start();
    await first.stop();
    fs.writeFileSync(path.join(first.dataFolder, "postmaster.pid"), `${process.pid}\n${first.dataFolder}\n1\n${first.port}\n\n127.0.0.1\n\nready\n`);
    const second = await start();
    try {
      assert.notEqual(second.pid, process.pid);
      assert.deepEqual(await ask(second, "SELECT 1 AS n"), [{ n: 1 }]);
    } finally {
      await second.stop();
    }
  });

  it("names the folder and both versions when the data are of another Postgres", async () => {
    const first = await start();
    await first.stop();
    fs.writeFileSync(path.join(first.dataFolder, "PG_VERSION"), "9\n");
    await assert.rejects(start(), /made by Postgres 9, the one at hand is \d+/);
  });

  it("uses another place when its user cannot enter the folder", async function () {
    if (process.getuid?.() !== 0) return this.skip();
    const closed = path.join(folder, "closed");
    fs.mkdirSync(closed, { mode: 0o700 });
    const server = await start("closed/data");
    try {
      assert.ok(server.dataFolder.startsWith("/var/lib/myelin/"));
      assert.equal(fs.realpathSync(path.join(closed, "data")), server.dataFolder);
      assert.deepEqual(await ask(server, "SELECT 1 AS n"), [{ n: 1 }]);
    } finally {
      await server.stop();
      fs.rmSync(server.dataFolder, { recursive: true, force: true });
    }
  });
});
