import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import pg from "pg";
import { runCommand } from "../src/bin/command.ts";
import { checkMigration, checkRollback } from "../src/bin/commands/check.ts";
import type { Terminal } from "../src/bin/terminal.ts";
import { createTestDatabase, fixtureDump } from "../src/testing/database.ts";
import type { Report } from "./check.ts";
import type { Finding } from "./finding.ts";
import { type Deployment, makeDeployment } from "./test-deployment.ts";

describe("myelin check", function () {
  this.timeout(60_000);
  let deployment: Deployment;
  let out = "";
  let err = "";
  before(async () => (deployment = await makeDeployment()));
  after(() => deployment.remove());
  beforeEach(() => {
    deployment.write();
    out = err = "";
  });

  const run = (argv: string[], options: { command?: typeof checkMigration; columns?: number; env?: Record<string, string> } = {}): Promise<number> => {
    const nothing = async (): Promise<string> => "";
    const terminal: Terminal = {
      argv,
      env: options.env ?? {},
      workingDirectory: deployment.folder,
      interactive: false,
      ...(options.columns === undefined ? {} : { columns: options.columns }),
      print: (line) => void (out += `${line}\n`),
      warn: (line) => void (err += `${line}\n`),
      write: (text) => void (out += text),
      readLine: nothing,
      ask: nothing,
      askSecret: nothing,
    };
    return runCommand(options.command ?? checkMigration, terminal);
  };
  const CONFIG = ["-c", "homeserver.yaml"];
  const withArgs = (args: Record<string, unknown>): Record<string, unknown> => {
    const url = new URL(deployment.databaseUrl);
    return {
      database: {
        name: "psycopg2",
        args: { host: url.hostname, port: Number(url.port), user: url.username, password: url.password, dbname: url.pathname.slice(1), ...args },
      },
    };
  };
  const worst = (report: Report): Finding[] => report.findings.filter(({ level }) => level === "blocker" || level === "warning");
  const withId = (report: Report, id: string, level?: string): Finding[] =>
    report.findings.filter((each) => each.id === id && (level === undefined || each.level === level));
  const single = (report: Report, id: string, level: string): Finding => {
    const found = withId(report, id, level);
    assert.equal(
      found.length,
      1,
      `${id} ${level}: ${JSON.stringify(
        report.findings.filter((each) => each.level !== "ok"),
        null,
        1,
      )}`,
    );
    return found[0]!;
  };
  const onServer = async (fn: (client: pg.Client) => Promise<void>, database?: string, application = "psql"): Promise<void> => {
    const url = new URL(deployment.databaseUrl);
    if (database !== undefined) url.pathname = `/${database}`;
    const client = new pg.Client({ connectionString: url.href, application_name: application });
    await client.connect();
    try {
      await fn(client);
    } finally {
      await client.end();
    }
  };

  describe("of a sound deployment", () => {
    it("finds it ready, in text that fits the terminal", async () => {
      assert.equal(await run(CONFIG, { columns: 80 }), 0);
      assert.match(out, /READY: 0 blockers, 0 warnings/);
      assert.match(out, /\u001b\[1mFrom Synapse to Myelin: test\u001b\[0m/);
      for (const line of out.replace(/\u001b\[\d+m/g, "").split("\n")) assert.ok(line.length <= 80 || !line.trim().includes(" "), `too wide: ${line}`);
      assert.match(out, /myelin start/, "names the processes");
    });

    it("prints no colours into files, and none with NO_COLOR", async () => {
      await run(CONFIG);
      assert.ok(!out.includes("\u001b["));
      out = "";
      await run(CONFIG, { columns: 100, env: { NO_COLOR: "1" } });
      assert.ok(!out.includes("\u001b["));
    });

    it("prints one JSON object with --json", async () => {
      assert.equal(await run([...CONFIG, "--json"]), 0);
      const report = JSON.parse(out) as Report & { counts: Record<string, number> };
      assert.equal(report.verdict, "ready");
      assert.equal(report.serverName, "test");
      assert.equal(report.counts["blocker"], 0);
      assert.ok(report.counts["ok"]! > 40);
      assert.deepEqual(Object.keys(report.findings[0]!).slice(0, 3), ["id", "level", "what"]);
      assert.ok(!out.includes("macaroons"), "secrets stay where they are");
    });

    it("finds the way back open", async () => {
      assert.equal(await run(CONFIG, { command: checkRollback }), 0);
      assert.match(out, /Back from Myelin to Synapse/);
    });

    it("lists what is in order with --verbose, and looks at the configuration alone with --config-only", async () => {
      assert.equal(await run([...CONFIG, "--config-only", "--verbose"]), 0);
      assert.match(out, /\+ No modules are configured \[risk-98\]/);
      assert.ok(!out.includes("Postgres"));
    });

    it("reads several files and directories, as the server does", async () => {
      mkdirSync(path.join(deployment.folder, "conf.d"), { recursive: true });
      writeFileSync(path.join(deployment.folder, "conf.d", "more.yaml"), "modules:\n  - module: some.Thing\n");
      assert.equal(await run([...CONFIG, "-c", "conf.d", "--config-only", "--json"]), 2);
      const report = JSON.parse(out) as Report;
      assert.deepEqual(
        report.configFiles.map((file) => path.basename(file)),
        ["homeserver.yaml", "more.yaml"],
      );
      assert.match(single(report, "risk-98", "blocker").what, /some\.Thing/);
    });
  });

  it("of a real Synapse's database finds nothing wrong, nor with --deep", async function () {
    const fixture = fixtureDump();
    if (fixture === undefined) return this.skip();
    const real = await createTestDatabase({ fixture });
    try {
      deployment.write({
        ...withArgs({ dbname: real.name }),
        server_name: "localhost:18448",
        signing_key_path: path.join(path.dirname(fixture), "signing.key"),
        media_store_path: "nowhere",
      });
      const report = await deployment.check({ deep: true });
      // The media was not unpacked.
      assert.deepEqual(
        worst(report).filter(({ check }) => !check.startsWith("media-")),
        [],
      );
    } finally {
      await real.drop();
    }
  });

  describe("of the configuration", () => {
    it("says what becomes of each option", async () => {
      deployment.write({ gc_thresholds: [1, 2, 3], soft_file_limit: 0, frobnicate: true, experimental_features: { msc9999_enabled: true } });
      const report = await deployment.check({ configOnly: true });
      assert.equal(report.verdict, "ready");
      assert.match(
        withId(report, "risk-97", "note")
          .map(({ what }) => what)
          .join("\n"),
        /gc_thresholds has no effect/,
      );
      const unknown = withId(report, "risk-97", "note").find(({ what }) => what.includes("unknown"));
      assert.deepEqual(unknown?.examples, ["frobnicate", "experimental_features.msc9999_enabled"]);
      const use = (name: string): string | undefined => report.options.find((each) => each.path === name)?.use;
      assert.deepEqual([use("server_name"), use("gc_thresholds"), use("soft_file_limit"), use("frobnicate")], ["honoured", "no-effect", "idle", "unknown"]);
    });

    it("says what becomes of modules, both ways", async () => {
      writeFileSync(path.join(deployment.folder, "mine.js"), "export default class Mine {}\n");
      deployment.write({ modules: [{ module: "mjolnir.Module" }, { module: "./mine.js" }, { module: "who.Knows" }] });
      const report = await deployment.check({ configOnly: true });
      assert.deepEqual(
        withId(report, "risk-98").map(({ level }) => level),
        ["note", "note", "blocker"],
      );
      assert.equal(report.exitStatus, 2);
      assert.match(single(await deployment.check({ configOnly: true, target: "synapse" }), "risk-98", "blocker").examples!.join(), /mine\.js/);
    });

    it("says which secrets stand in for others, and where passwords are not used", async () => {
      deployment.write({ macaroon_secret_key: undefined, form_secret: undefined, password_config: { localdb_enabled: false } });
      const report = await deployment.check({ configOnly: true });
      assert.match(single(report, "risk-34", "note").what, /the signing key stands in/);
      single(report, "risk-36", "note");
      single(report, "risk-35", "warning");
    });

    it("leads workers' addresses to the main process", async () => {
      const shared = {
        instance_map: { main: { host: "127.0.0.1", port: 9093 }, worker1: { host: "127.0.0.1", port: 9094 } },
        redis: { enabled: true },
        stream_writers: { receipts: "worker1" },
      };
      deployment.write(shared);
      mkdirSync(path.join(deployment.folder, "workers"), { recursive: true });
      const worker = {
        worker_app: "synapse.app.generic_worker",
        worker_name: "worker1",
        worker_listeners: [{ type: "http", port: 8083, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "media"] }] }],
      };
      writeFileSync(path.join(deployment.folder, "workers", "worker1.yaml"), JSON.stringify(worker));
      writeFileSync(path.join(deployment.folder, "workers", "worker2.yaml"), "worker_app: [\n");
      const report = await deployment.check({ workerPaths: ["workers"], configOnly: true });
      const said = withId(report, "workers");
      assert.deepEqual(
        said.map(({ level }) => level),
        ["warning", "note", "note", "note"],
      );
      assert.match(said[0]!.what, /worker2\.yaml cannot be read/);
      assert.deepEqual(said[1]!.examples, ["worker1: http://127.0.0.1:8083 (client, media) -> http://127.0.0.1:8008 (client, federation)"]);
      assert.match(said[2]!.examples!.join(), /worker1 \(writes receipts\)/);
      assert.equal(await run([...CONFIG, "--worker-config", "nowhere"]), 2);
      assert.match(out, /nowhere does not exist/);
    });

    it("gives hints for the reverse proxy", async () => {
      deployment.write({
        listeners: [
          { type: "http", port: 8008, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] },
          { type: "http", port: 8009, bind_addresses: ["0.0.0.0"], x_forwarded: true, resources: [{ names: ["client"] }] },
          { type: "manhole", port: 9000, bind_addresses: ["127.0.0.1"] },
        ],
      });
      const said = withId(await deployment.check({ configOnly: true }), "listeners").map(({ what }) => what);
      assert.match(said.join("\n"), /serves federation[^]*X-Forwarded-For[^]*plain HTTP on 0\.0\.0\.0[^]*manhole/);
    });

    it("knows what Synapse needs that Myelin does not", async () => {
      deployment.write({ myelin: { embedded_postgres: "data" }, database: undefined });
      const report = await deployment.check({ target: "synapse" });
      single(report, "embedded-postgres", "blocker");
    });

    it("sees files that cannot be read", async () => {
      deployment.write({ media_store_path: "nowhere", log_config: "nowhere.yaml" });
      const report = await deployment.check({ configOnly: true });
      single(report, "media-folder", "warning");
      assert.match(single(report, "files", "blocker").what, /nowhere\.yaml cannot be read \(ENOENT\)/);
    });
  });

  describe("answers clearly", () => {
    const bad: [string, () => void, RegExp][] = [
      ["a file that is not there", () => rmSync(path.join(deployment.folder, "homeserver.yaml")), /homeserver\.yaml \(ENOENT\)/],
      ["a file that is no YAML", () => writeFileSync(path.join(deployment.folder, "homeserver.yaml"), "a: [1\nb: }"), /homeserver\.yaml, line \d/],
      ["an option with a wrong value", () => deployment.write({ listeners: "all" }), /listeners: found "all", wanted a list/],
      ["a database of SQLite", () => deployment.write({ database: { name: "sqlite3", args: { database: "x.db" } } }), /SQLite.*synapse_port_db/],
      [
        "an application service that cannot be read",
        () => deployment.write({ app_service_config_files: ["as.yaml"] }),
        /app_service_config_files\[0\]: cannot read the file .*as\.yaml/,
      ],
    ];
    for (const [what, prepare, message] of bad) {
      it(`for ${what}`, async () => {
        prepare();
        assert.equal(await run([...CONFIG, "--json"]), 2);
        assert.match(single(JSON.parse(out) as Report, "risk-97", "blocker").what, message);
      });
    }

    it("for a signing key that is not there, or not the server's", async () => {
      deployment.write({ signing_key_path: "nowhere.key" });
      single(await deployment.check(), "risk-39", "blocker");
      deployment.write({ signing_key_path: undefined, signing_key: `ed25519 a_test ${Buffer.alloc(32, 9).toString("base64").replace(/=+$/, "")}` });
      single(await deployment.check(), "risk-39", "blocker");
      deployment.write({ signing_key_path: undefined, signing_key: `ed25519 a_other ${Buffer.alloc(32, 9).toString("base64").replace(/=+$/, "")}` });
      assert.match(single(await deployment.check(), "risk-39", "blocker").what, /ed25519:a_test, which is not in the configuration/);
    });

    it("for a state store of its own", async () => {
      const url = new URL(deployment.databaseUrl);
      const args = (dbname: string): object => ({ name: "psycopg2", args: { host: url.hostname, dbname, user: "x" } });
      deployment.write({ database: undefined, databases: { one: { ...args("a"), data_stores: ["main"] }, two: { ...args("b"), data_stores: ["state"] } } });
      single(await deployment.check(), "risk-09", "blocker");
    });

    const unreachable: [string, Record<string, unknown>, RegExp][] = [
      ["a wrong password", { password: "wrong" }, /refuses the password of|does not let .* in/],
      ["no password", { password: undefined }, /wants a password for .*, and the configuration has none/],
      ["a database that there is not", { dbname: "myelin_no_such_database" }, /has no database myelin_no_such_database/],
      ["a server that does not answer", { port: 1 }, /Nothing answers at .*:1$/],
      ["a socket that there is not", { host: "/nowhere" }, /Nothing answers at the socket in \/nowhere/],
    ];
    for (const [what, args, message] of unreachable) {
      it(`for ${what}`, async () => {
        deployment.write(withArgs(args));
        assert.equal(await run(CONFIG), 2);
        const report = await deployment.check();
        const found = single(report, "connection", "blocker");
        assert.match(found.what, message);
        assert.ok(!JSON.stringify(found).includes("wrong"), "the password is not shown");
        assert.ok(
          report.findings.some(({ check }) => check === "options"),
          "the configuration is looked at all the same",
        );
      });
    }

    it("for flags that contradict each other", async () => {
      assert.equal(await run([...CONFIG, "--deep", "--config-only"]), 2);
      assert.match(err, /--deep and --config-only cannot be given together/);
      assert.equal(await run(["--json"]), 2);
      assert.match(err, /--config-path is required/);
      assert.equal(await run([...CONFIG, "now"]), 2);
      assert.match(err, /unexpected argument now/);
    });
  });

  describe("of the database server", () => {
    it("tells an empty database from a damaged one", async () => {
      const empty = await createTestDatabase({ schema: false });
      try {
        deployment.write(withArgs({ dbname: empty.name }));
        const report = await deployment.check();
        single(report, "risk-06", "note");
        assert.equal(report.exitStatus, 0);
        single(await deployment.check({ target: "synapse" }), "risk-06", "blocker");
        await onServer(async (client) => void (await client.query("CREATE TABLE users (name text)")), empty.name);
        assert.match(single(await deployment.check(), "risk-06", "blocker").what, /1 of Synapse's tables/);
      } finally {
        await empty.drop();
      }
    });

    it("sees a schema that stands before Synapse's tables", async () => {
      const shadowed = await createTestDatabase();
      try {
        deployment.write(withArgs({ dbname: shadowed.name }));
        await onServer(async (client) => void (await client.query(`CREATE SCHEMA AUTHORIZATION CURRENT_USER`)), shadowed.name);
        assert.match(single(await deployment.check(), "risk-06", "blocker").what, /^Synapse's tables lie in the schema public, and sessions of/);
      } finally {
        await shadowed.drop();
      }
    });

    it("refuses another collation, and warns where it is allowed", async () => {
      const other = await createTestDatabase({ schema: false, locale: "C.UTF-8" });
      try {
        deployment.write(withArgs({ dbname: other.name }));
        single(await deployment.check(), "risk-03", "blocker");
        deployment.write({ database: { ...(withArgs({ dbname: other.name })["database"] as object), allow_unsafe_locale: true } });
        single(await deployment.check(), "risk-03", "warning");
      } finally {
        await other.drop();
      }
    });

    it("refuses another encoding", async () => {
      const name = `myelin_test_${process.pid}_ascii`;
      await onServer(
        async (client) => void (await client.query(`CREATE DATABASE ${name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)),
        "postgres",
      );
      try {
        deployment.write(withArgs({ dbname: name }));
        single(await deployment.check(), "risk-02", "blocker");
      } finally {
        await onServer(async (client) => void (await client.query(`DROP DATABASE ${name} WITH (FORCE)`)), "postgres");
      }
    });

    it("sees servers at work: one is to be stopped, two at once are a disaster", async () => {
      await onServer(
        async (synapse) => {
          await synapse.query("SELECT count(*) FROM stream_positions");
          const report = await deployment.check();
          assert.match(single(report, "risk-72", "note").what, /^Synapse is at work/);
          assert.equal(report.exitStatus, 0);
          await onServer(
            async (myelin) => {
              await myelin.query("SELECT 1");
              single(await deployment.check(), "risk-72", "blocker");
            },
            undefined,
            "myelin master",
          );
        },
        undefined,
        "",
      );
    });

    it("goes on where a table is locked or vanishes meanwhile", async () => {
      const name = `myelin_test_${process.pid}_changing`;
      const original = new URL(deployment.databaseUrl).pathname.slice(1);
      await onServer(async (client) => void (await client.query(`CREATE DATABASE ${name} TEMPLATE ${original}`)), "postgres");
      try {
        deployment.write(withArgs({ dbname: name }));
        await onServer(async (client) => {
          await client.query("BEGIN; LOCK TABLE user_external_ids");
          const report = await deployment.check();
          assert.match(single(report, "risk-37", "note").what, /would have had to wait for a lock/);
          assert.deepEqual(worst(report), []);
          await client.query("ROLLBACK");
          const changed = await deployment.check({
            progress: async (check) => {
              if (check === "collation") await client.query("DROP TABLE federation_inbound_events_staging");
            },
          });
          assert.match(single(changed, "risk-75", "warning").what, /The check in-flight could not be made: .*federation_inbound_events_staging/);
          assert.ok(
            changed.findings.some(({ check }) => check === "table-sizes"),
            "later checks were made",
          );
        }, name);
      } finally {
        await onServer(async (client) => void (await client.query(`DROP DATABASE ${name} WITH (FORCE)`)), "postgres");
      }
    });

    it("begins anew when its connection breaks, and gives up when that goes on", async () => {
      await onServer(async (client) => {
        const cut = (): Promise<unknown> =>
          client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'myelin-check' AND datname = current_database()");
        let cuts = 0;
        const once = await deployment.check({ progress: async (check) => void (check === "rooms" && cuts++ === 0 && (await cut())) });
        assert.equal(cuts, 2, "the check was made twice");
        assert.deepEqual(worst(once), []);
        const names = once.findings.map(({ check, what }) => `${check}: ${what}`);
        assert.equal(new Set(names).size, names.length, "nothing is said twice");
        const always = await deployment.check({ progress: async (check) => void (check === "rooms" && (await cut())) });
        assert.equal(single(always, "connection", "blocker").level, "blocker");
      });
    });

    it("reads from a role that may not write, and from one that may not read says so", async () => {
      const role = `myelin_test_${process.pid}_reader`;
      await onServer(async (client) => {
        await client.query(
          `CREATE ROLE ${role} LOGIN PASSWORD 'reader'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO ${role}`,
        );
        try {
          deployment.write(withArgs({ user: role, password: "reader" }));
          assert.deepEqual(worst(await deployment.check({ deep: true })), []);
          await client.query(`REVOKE SELECT ON users FROM ${role}`);
          assert.match(single(await deployment.check(), "risk-04", "warning").what, /may not read what it needs/);
        } finally {
          await client.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
        }
      });
    });
  });
});
