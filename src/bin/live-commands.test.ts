import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { createServer } from "../server.ts";
import { silentLogger } from "../lib/log.ts";
import { parseConfig } from "../config/config.ts";
import { execute, query } from "../storage/database.ts";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import type { Server } from "../server.ts";
import { type Command, runCommand } from "./command.ts";
import { commands, findCommand, help } from "./commands/all.ts";
import type { Terminal } from "./terminal.ts";

const KEY = "ed25519 a_test YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

/** Every command with Synapse's flags, on the database of a server that runs (`live`) or has stopped. */
describe("commands on a live server", function () {
  this.timeout(60_000);
  let folder: string;
  let database: TestDatabase;
  let server: Server;
  let url: string;
  let out: string;
  let err: string;
  let shown: string[];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "myelin-live-"));
    database = await createTestDatabase();
    await boot();
  });
  after(async () => {
    await server.close();
    await database.drop();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    out = err = "";
    shown = [];
  });

  const boot = async (): Promise<void> => {
    const { hostname, port, username, password } = new URL(database.url);
    const options = {
      server_name: "test",
      report_stats: false,
      registration_shared_secret: "shared",
      signing_key: KEY,
      macaroon_secret_key: "m",
      bcrypt_rounds: 4,
      media_store_path: join(folder, "media"),
      pid_file: join(folder, "homeserver.pid"),
      listeners: [{ type: "http", port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] }],
      database: {
        name: "psycopg2",
        args: { host: hostname, port: port || "5432", user: username, password: decodeURIComponent(password), dbname: database.name },
      },
      myelin: { allow_other_clients: true },
    };
    writeFileSync(join(folder, "hs.yaml"), stringify(options));
    server = await createServer(parseConfig(options, { configDir: folder, dataDir: folder, env: {} }), silentLogger, { allowOtherClients: true });
    url = (await server.listen()).find((address) => address.startsWith("http"))!;
  };
  const terminal = (argv: readonly string[]): Terminal => ({
    argv,
    env: {},
    workingDirectory: folder,
    interactive: false,
    print: (line) => void (out += `${line}\n`),
    warn: (line) => void (err += `${line}\n`),
    write: (text) => void (out += text),
    status: (line) => void shown.push(line),
    readLine: () => Promise.resolve("piped password"),
    ask: () => Promise.resolve(""),
    askSecret: () => Promise.resolve(""),
  });
  const run = (name: string, ...argv: string[]): Promise<number> => runCommand(findCommand(name) as Command, terminal(argv));
  const post = async (path: string, body: object): Promise<Record<string, unknown>> =>
    (await (await fetch(url + path, { method: "POST", body: JSON.stringify(body) })).json()) as Record<string, unknown>;
  const logIn = (user: string, password: string) =>
    post("/_matrix/client/v3/login", { type: "m.login.password", identifier: { type: "m.id.user", user }, password });

  it("myelin help lists every command in one line, and describes each", async () => {
    assert.equal(await runCommand(help, terminal([])), 0);
    for (const { spec } of commands) {
      const line = out.split("\n").find((candidate) => candidate.trim().startsWith(`${spec.name} `))!;
      assert.ok(line.length <= 150, line);
    }
    for (const { spec } of commands) {
      out = "";
      assert.equal(await runCommand(help, terminal([spec.name.replaceAll("_", "-")])), 0);
      assert.ok(out.startsWith(`Usage: ${spec.name} `));
      for (const flag of Object.values(spec.flags))
        assert.ok(
          flag.names.every((name) => out.includes(name)),
          flag.names.join(),
        );
    }
    assert.equal(await runCommand(help, terminal(["dance"])), 2);
  });

  it("register_new_matrix_user makes users and admins who can log in", async () => {
    writeFileSync(join(folder, "pw"), "from a file\n");
    assert.equal(await run("register_new_matrix_user", "-u", "alice", "-p", "wonder", "-a", "-c", "hs.yaml", url), 0, err);
    assert.equal(await run("register_new_matrix_user", "--user", "bob", "--password-file", "pw", "--no-admin", "-t", "bot", "-k", "shared", url), 0, err);
    assert.equal(await run("register_new_matrix_user", "-u", "bob", "-p", "x", "--no-admin", "--exists-ok", "--shared-secret", "shared", url), 0, err);
    assert.equal(await run("register_new_matrix_user", "-u", "eve", "-p", "x", "--no-admin", "-k", "wrong", url), 1);
    assert.equal((await logIn("alice", "wonder")).user_id, "@alice:test");
    assert.equal((await logIn("bob", "from a file")).user_id, "@bob:test");
    const rows = await query<{ name: string; admin: number; user_type: string | null }>(
      server.ctx.read,
      "SELECT name, admin, user_type FROM users ORDER BY name",
    );
    assert.deepEqual(rows, [
      { name: "@alice:test", admin: 1, user_type: null },
      { name: "@bob:test", admin: 0, user_type: "bot" },
    ]);
  });

  it("hash_password prints a hash with which one logs in", async () => {
    assert.equal(await run("hash_password", "-c", "hs.yaml", "-p", "another"), 0);
    const [hash] = out.trim().split("\n");
    await server.ctx.transaction("set", (txn) => execute(txn, "UPDATE users SET password_hash = $1 WHERE name = '@bob:test'", [hash]));
    assert.equal((await logIn("bob", "another")).user_id, "@bob:test");
    out = "";
    assert.equal(await run("hash_password", "--config", "hs.yaml"), 0);
    assert.match(out, /^\$2b\$04\$/, "one line of standard input");
  });

  it("synapse_review_recent_signups shows who came, from where and with which rooms", async () => {
    const { access_token: token } = await logIn("alice", "wonder");
    const headers = { Authorization: `Bearer ${token as string}` };
    for (const preset of ["public_chat", "private_chat"]) {
      const body = JSON.stringify({ preset, name: `A ${preset}` });
      assert.equal((await fetch(`${url}/_matrix/client/v3/createRoom`, { method: "POST", headers, body })).status, 200);
    }
    await server.followers.runOnce();
    await server.ctx.transaction("rows", async (txn) => {
      await execute(txn, "INSERT INTO users (name, creation_ts) VALUES ('@old:test', 5)");
      await execute(txn, "INSERT INTO users (name, creation_ts, deactivated) SELECT '@gone:test', creation_ts, 1 FROM users WHERE name = '@bob:test'");
      await execute(txn, "INSERT INTO users (name, creation_ts, appservice_id) SELECT '@bridged:test', creation_ts, 'irc' FROM users WHERE name = '@bob:test'");
      await execute(
        txn,
        "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ('@bob:test', 'email', 'bob@example.com', 1, 1)",
      );
      await execute(
        txn,
        "INSERT INTO user_ips (user_id, access_token, ip, user_agent, last_seen, device_id) VALUES ('@bob:test', 't', '192.0.2.7', 'a', 1, 'D')",
      );
    });
    const list = async (...argv: string[]): Promise<string[]> => {
      out = "";
      assert.equal(await run("synapse_review_recent_signups", "-c", "hs.yaml", ...argv), 0, err);
      return out.trim().split("\n");
    };
    assert.deepEqual((await list("-u")).sort(), ["@alice:test", "@bob:test", "@bridged:test"]);
    assert.deepEqual((await list("--only-users", "--exclude-emails", "--exclude-app-service")).sort(), ["@alice:test"]);
    assert.deepEqual((await list("-u", "--since", "100y")).sort(), ["@alice:test", "@bob:test", "@bridged:test", "@old:test"]);
    const text = (await list("-a")).join("\n");
    assert.match(
      text,
      /# Created: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n# Email: bob@example\.com\n# IPs: 192\.0\.2\.7\n# Number joined public rooms: 0 \n# Number joined private rooms: 0\n#\n@bob:test/,
    );
    assert.match(text, /# Email: None\n# IPs: [^\n]*\n# Number joined public rooms: 1 \(A public_chat\)\n# Number joined private rooms: 1\n#\n@alice:test/);
    assert.equal(await run("synapse_review_recent_signups", "-c", "hs.yaml", "-s", "soon"), 2);
    assert.equal(await run("synapse_review_recent_signups"), 2);
  });

  it("synapse_auto_compressor saves rows beside the running server, by URL and by configuration", async () => {
    const rows = () => query<{ count: number }>(server.ctx.read, "SELECT count(*) AS count FROM state_groups_state");
    await server.ctx.transaction("fill", async (txn) => {
      await execute(txn, "INSERT INTO state_groups (id, room_id, event_id) SELECT g, '!big:test', '$' || g FROM generate_series(100000, 100049) AS g");
      // Each in full, and all but alike.
      await execute(
        txn,
        "INSERT INTO state_groups_state SELECT g, '!big:test', 'm.room.member', '@' || n || ':test', '$' || CASE WHEN n = g % 100 THEN g ELSE 0 END FROM generate_series(100000, 100049) AS g, generate_series(1, 100) AS n",
      );
    });
    const before = (await rows())[0]!.count;
    assert.equal(await run("synapse_auto_compressor", "-p", database.url, "-c", "500", "-n", "10", "--dry-run"), 0, err);
    assert.match(out, /could be saved\. Nothing was changed\.\nNothing is left to do\.\n$/);
    assert.equal((await rows())[0]!.count, before);
    assert.equal(await run("synapse_auto_compressor", "-p", database.url, "-c", "20", "-n", "2", "-l", "10,5"), 0, err);
    assert.match(out, /There is more to do/);
    assert.ok(shown.some((line) => line.startsWith("[########################] 100%")));
    assert.equal(await run("auto-compressor", "--config-path", "hs.yaml", "-c20", "-n100", "-l", "10,5"), 0, err);
    assert.match(out, /Nothing is left to do\.\n$/);
    assert.ok((await rows())[0]!.count < before - 4000);
    assert.equal(await run("synapse_auto_compressor", "-c", "20", "-n", "2"), 2);
    assert.equal(await run("synapse_auto_compressor", "-p", database.url, "-c", "0", "-n", "2"), 2);
  });

  it("update_synapse_database refuses beside a server, and else brings the schema up and runs what waits", async () => {
    assert.equal(await run("update_synapse_database", "--database-config", "hs.yaml"), 1);
    assert.match(err, /Another Myelin is already running/);
    await server.ctx.transaction("queue", (txn) =>
      execute(txn, "INSERT INTO background_updates (update_name, progress_json) VALUES ('populate_stats_process_rooms', '{}'), ('threads_backfill', '{}')"),
    );
    await server.close();
    try {
      assert.equal(await run("update_synapse_database", "--database-config", "hs.yaml"), 0, err);
      assert.match(out, /The database has the current schema\.\n2 background updates wait/);
      assert.equal(await run("update_synapse_database", "-v", "--database-config", "hs.yaml", "--run-background-updates"), 0, err);
      assert.match(out, /All background updates are done \(2\)\.\n$/);
      assert.match(err, /Background update threads_backfill/, "-v tells what is done");
    } finally {
      await boot();
    }
    assert.deepEqual(await query(server.ctx.read, "SELECT FROM background_updates"), []);
  });

  it("generate_signing_key, export_signing_key, generate_config, generate_log_config and config work together", async () => {
    assert.equal(await run("generate_signing_key", "-o", "new.key"), 0);
    assert.equal(await run("export_signing_key", "new.key"), 0);
    assert.match(out, /^ed25519:a_[A-Za-z]{4} [A-Za-z0-9+/]{43}\n$/);
    out = "";
    assert.equal(await run("export_signing_key", "-x", "--expiry-ts", "5", "new.key"), 0);
    writeFileSync(join(folder, "old.yaml"), `${readFileSync(join(folder, "hs.yaml"), "utf8")}old_signing_keys:\n${out}`);
    out = "";
    assert.equal(await run("generate_log_config", "-o", "log.yaml", "-f", join(folder, "x.log")), 0);
    assert.equal(
      await run("generate_config", "--server-name", "test", "--report-stats", "no", "--config-dir", folder, "--data-dir", folder, "-o", "gen.yaml"),
      0,
    );
    assert.equal(await run("config", "-c", "old.yaml"), 0, err);
    assert.match(out, /Config parses OK!/);
  });
});
