import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { eventually } from "./testing/eventually.ts";
import { createTestDatabase, type TestDatabase } from "./testing/database.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const LOADER = import.meta.resolve("tsx");
/** A process that compiles itself as it starts may take long. */
const PATIENCE_MS = 40_000;

describe("the server as a process", function () {
  this.timeout(60_000);
  let folder: string;
  let database: TestDatabase;
  let port: number;
  const children: ChildProcess[] = [];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "myelin-main-"));
    database = await createTestDatabase();
    port = await freePort();
    const url = new URL(database.url);
    const args = { host: url.hostname, port: url.port || "5432", user: url.username, password: decodeURIComponent(url.password), dbname: database.name };
    write({
      server_name: "test",
      report_stats: false,
      pid_file: "homeserver.pid",
      log_config: "log.yaml",
      listeners: [{ type: "http", port, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] }],
      database: { name: "psycopg2", args },
    });
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await database.drop();
    rmSync(folder, { recursive: true });
  });

  const write = (config: object, name = "homeserver.yaml"): void => writeFileSync(join(folder, name), stringify(config));
  const command = (...args: string[]): string[] => ["--import", LOADER, MAIN, ...args];
  const log = (): string => readFileSync(join(folder, "homeserver.log"), "utf8");
  const health = async (): Promise<number | undefined> =>
    await fetch(`http://127.0.0.1:${port}/health`).then(
      (response) => response.status,
      () => undefined,
    );

  it("makes what is missing, serves, reads its log configuration anew on SIGHUP, and ends with status 0 on SIGTERM", async () => {
    const child = spawn(process.execPath, command("-c", "homeserver.yaml"), { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)));
    await eventually("the start", async () => (await health()) === 200, PATIENCE_MS);
    for (const made of ["test.signing.key", "media_store"]) assert.ok(existsSync(join(folder, made)), made);
    assert.equal(existsSync(join(folder, "homeserver.pid")), false, "there is no pid file in the foreground");

    const config = readFileSync(join(folder, "log.yaml"), "utf8").replace("%(asctime)s", "NEW LAYOUT");
    writeFileSync(join(folder, "log.yaml"), config);
    child.kill("SIGHUP");
    await eventually("the new layout", () => log().includes("NEW LAYOUT"), PATIENCE_MS);
    assert.match(log(), /Reloaded log config/);
    assert.doesNotMatch(log(), / - ERROR - /);

    child.kill("SIGTERM");
    assert.equal(await ended, 0);
    assert.match(log(), /Received SIGTERM, stopping/);
  });

  it("goes to the background when told to, and returns once it serves", async () => {
    const { status } = spawnSync(process.execPath, command("-c", "homeserver.yaml", "--daemonize"), { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    assert.equal(status, 0);
    assert.equal(await health(), 200);
    const pid = Number(readFileSync(join(folder, "homeserver.pid"), "utf8"));
    const again = spawnSync(process.execPath, command("-c", "homeserver.yaml", "--daemonize"), { cwd: folder, encoding: "utf8" });
    assert.equal(again.status, 1);
    assert.match(again.stderr, /homeserver\.pid belongs to the running process \d+: stop that one first\n$/);
    process.kill(pid, "SIGTERM");
    await eventually("the removal of the PID file", () => !existsSync(join(folder, "homeserver.pid")), PATIENCE_MS);
    await eventually("the end", async () => (await health()) === undefined, PATIENCE_MS);
  });

  it("says in one line why it does not start", () => {
    const run = (config: object): { status: number | null; stderr: string } => {
      write({ server_name: "test", report_stats: false, ...config }, "bad.yaml");
      return spawnSync(process.execPath, command("-c", "bad.yaml"), { cwd: folder, encoding: "utf8" });
    };
    const wrong = run({ database: { name: "psycopg2" }, enable_search: 5 });
    assert.deepEqual([wrong.status, wrong.stderr], [1, "Error in configuration: enable_search: found 5, wanted true or false\n"]);
    const unreachable = run({ log_config: "log.yaml", database: { name: "psycopg2", args: { host: "127.0.0.1", port: 1, user: "x" } } });
    assert.equal(unreachable.status, 1);
    assert.match(unreachable.stderr, /^Myelin does not start: [^\n]+\n$/);
  });
});

async function freePort(): Promise<number> {
  return await new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
