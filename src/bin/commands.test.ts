import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verify } from "@node-rs/bcrypt";
import { parseConfig } from "../config/config.ts";
import { parseSigningKeys } from "../config/signing-key.ts";
import { parseYaml } from "../config/yaml.ts";
import { parseCommandLine } from "../lib/command-line.ts";
import { type Command, runCommand } from "./command.ts";
import { exportSigningKeyCommand, generateConfigCommand, generateLogConfigCommand, generateSigningKeyCommand } from "./commands/generate.ts";
import { planDockerStart } from "./commands/docker-start.ts";
import { hashPassword } from "./commands/hash-password.ts";
import { homeserverSpec, prepareStartup, type Startup } from "./commands/homeserver.ts";
import { readConfig } from "./commands/read-config.ts";
import { registerNewMatrixUser } from "./commands/register-new-matrix-user.ts";
import { synctl } from "./commands/synctl.ts";
import type { Terminal } from "./terminal.ts";

describe("commands", () => {
  let folder: string;
  let out: string;
  let err: string;
  let typed: string[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "myelin-bin-"));
    out = err = "";
    typed = [];
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const answer = async (): Promise<string> => typed.shift() ?? "";
  const terminal = (argv: readonly string[], env: Record<string, string> = {}): Terminal => ({
    argv,
    env,
    workingDirectory: folder,
    interactive: true,
    print: (line) => void (out += `${line}\n`),
    warn: (line) => void (err += `${line}\n`),
    write: (text) => void (out += text),
    readLine: answer,
    ask: answer,
    askSecret: answer,
  });
  const run = (command: Command, ...argv: string[]): Promise<number> => runCommand(command, terminal(argv));
  const path = (name: string): string => join(folder, name);
  const write = (name: string, text: string): string => {
    writeFileSync(path(name), text);
    return name;
  };

  it("print help, and tell a bad command line from a failure", async () => {
    assert.equal(await run(hashPassword, "--help"), 0);
    assert.match(out, /^Usage: hash_password \[options\]\n/);
    assert.equal(await run(hashPassword), 2);
    assert.match(err, /^hash_password: --config is required\n/);
    assert.equal(await run(hashPassword, "-c", "missing.yaml"), 1);
    assert.match(err, /Error in configuration: --config-path: cannot read the file/);
  });

  describe("generate", () => {
    it("a signing key that can be read, as a file for the owner and the group", async () => {
      await run(generateSigningKeyCommand, "-o", "key");
      const [key] = parseSigningKeys(readFileSync(path("key"), "utf8"), "key");
      assert.match(key!.keyId, /^ed25519:a_[A-Za-z]{4}$/);
      assert.equal(statSync(path("key")).mode & 0o777, 0o640);
      await run(exportSigningKeyCommand, "key");
      await run(exportSigningKeyCommand, "-x", "--expiry-ts", "123", "key");
      assert.equal(out, `${key!.keyId} ${key!.publicKey}\n  "${key!.keyId}": { key: "${key!.publicKey}", expired_ts: 123 }\n`);
    });

    it("a log configuration that the server takes", async () => {
      await run(generateLogConfigCommand, "-f", "/var/log/x.log");
      const config = parseYaml(out, "log") as { version: number; handlers: { file: { filename: string } } };
      assert.deepEqual([config.version, config.handlers.file.filename], [1, "/var/log/x.log"]);
    });

    it("a configuration that the server takes, with secrets only when asked", async () => {
      await run(generateSigningKeyCommand, "-o", "a.org.signing.key");
      await run(
        generateConfigCommand,
        "--server-name",
        "a.org",
        "--config-dir",
        folder,
        "--data-dir",
        folder,
        "--report-stats",
        "no",
        "-o",
        "plain.yaml",
        "--header-file",
        write("header", "# header\n"),
      );
      const plain = readFileSync(path("plain.yaml"), "utf8");
      assert.ok(plain.startsWith("# header\n"));
      assert.doesNotMatch(plain, /secret:/);
      const config = parseConfig(plain, { configDir: folder, dataDir: folder, env: {} });
      assert.deepEqual([config.server.serverName, config.myelin.embeddedPostgres], ["a.org", path("postgres")]);
      assert.deepEqual(config.notices, ["macaroon_secret_key is not set; it is derived from the signing key"]);
      await run(generateConfigCommand, "--server-name", "a.org", "--generate-secrets");
      assert.match(out, /^registration_shared_secret: "[A-Za-z]{50}"$/m);
    });
  });

  describe("hash_password", () => {
    const check = async (password: string): Promise<boolean> => await verify(Buffer.from(password), out.trim());

    it("hashes the NFKC form with the pepper, as the configuration says", async () => {
      write("hs.yaml", "bcrypt_rounds: 4\npassword_config: {pepper: salt}\n");
      assert.equal(await run(hashPassword, "-c", "hs.yaml", "-p", "ﬁsh"), 0);
      assert.match(out, /^\$2b\$04\$/);
      assert.ok(await check("fishsalt"));
    });

    it("asks twice for a password, and cuts what bcrypt would not look at", async () => {
      write("hs.yaml", "bcrypt_rounds: 4\n");
      typed = ["one", "other"];
      assert.equal(await run(hashPassword, "-c", "hs.yaml"), 1);
      assert.equal(err, "Passwords do not match\n");
      typed = ["x".repeat(80), "x".repeat(80)];
      assert.equal(await run(hashPassword, "-c", "hs.yaml"), 0);
      assert.ok(await check("x".repeat(72)));
    });
  });

  describe("register_new_matrix_user", () => {
    const received: { mac?: string; admin?: boolean; user_type?: string | null; username?: string }[] = [];
    let reply: [number, object] = [200, {}];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        if (request.method === "POST") received.push(JSON.parse(body) as (typeof received)[number]);
        const [status, json] = request.method === "GET" ? [200, { nonce: "nonce" }] : reply;
        response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(json));
      });
    });
    before((done) => void server.listen(0, "127.0.0.1", done));
    after((done) => {
      server.closeAllConnections();
      server.close(done);
    });
    const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

    it("proves that it knows the shared secret", async () => {
      reply = [200, {}];
      assert.equal(await run(registerNewMatrixUser, "-k", "secret", "-u", "bob", "-p", "pw", "-a", "-t", "bot", `${url()}/`), 0);
      // Python: hmac.new(b"secret", b"nonce\0bob\0pw\0admin\0bot", "sha1").hexdigest()
      assert.deepEqual(received.pop(), {
        nonce: "nonce",
        username: "bob",
        password: "pw",
        mac: "d9bd85b1c0d2f8b6c590d9cd9d4c7ed24975eec3",
        admin: true,
        user_type: "bot",
      });
      assert.equal(out, "Sending registration request...\nSuccess!\n");
    });

    it("finds secret and server in the configuration, and asks for the rest", async () => {
      const { port } = server.address() as AddressInfo;
      write("secret", "secret\n");
      write(
        "hs.yaml",
        `registration_shared_secret_path: secret\nlisteners:\n- {type: http, port: 1, resources: [{names: [federation]}]}\n- {type: http, port: ${port}, bind_addresses: [127.0.0.1], resources: [{names: [client]}]}\n`,
      );
      typed = ["carol", "pw", "pw", "no"];
      assert.equal(await run(registerNewMatrixUser, "-c", "hs.yaml"), 0);
      const { username, admin, user_type } = received.pop()!;
      assert.deepEqual([username, admin, user_type], ["carol", false, null]);
    });

    it("passes over a user who exists when told to, and fails otherwise", async () => {
      reply = [400, { errcode: "M_USER_IN_USE", error: "User ID already taken." }];
      const args = ["-k", "secret", "-u", "bob", "-p", "pw", "--no-admin"];
      assert.equal(await run(registerNewMatrixUser, ...args, "--exists-ok", url()), 0);
      assert.match(out, /User already exists\. Skipping\.\n$/);
      assert.equal(await run(registerNewMatrixUser, ...args, url()), 1);
      assert.equal(err, "ERROR! Received 400 Bad Request\nUser ID already taken.\n");
    });

    it("wants either a configuration or a secret, and one way to give the password", async () => {
      assert.equal(await run(registerNewMatrixUser), 1);
      assert.equal(await run(registerNewMatrixUser, "-k", "x", "-c", "y"), 2);
      assert.equal(await run(registerNewMatrixUser, "-k", "x", "-p", "y", "--password-file", "z"), 2);
    });
  });

  describe("the server's command line", () => {
    const prepare = (argv: string[], env: Record<string, string> = {}): Startup | undefined => {
      const own = terminal(argv, env);
      return prepareStartup(parseCommandLine(homeserverSpec, argv), own);
    };

    it("--generate-config makes a configuration, key and log configuration, and then refuses nothing and changes nothing", () => {
      const argv = ["-c", "hs.yaml", "--generate-config", "-H", "a.org", "--report-stats=no"];
      assert.equal(prepare(argv), undefined);
      const files = ["hs.yaml", "a.org.signing.key", "a.org.log.config"];
      const before = files.map((name) => readFileSync(path(name), "utf8"));
      assert.equal(prepare(argv), undefined);
      assert.deepEqual(
        files.map((name) => readFileSync(path(name), "utf8")),
        before,
      );
      const startup = prepare(["-c", "hs.yaml"])!;
      assert.deepEqual([startup.config.server.serverName, startup.newConfigFile, startup.pidFile], ["a.org", undefined, path("homeserver.pid")]);
      assert.equal(startup.config.metrics.reportStats, false);
      assert.deepEqual([startup.allowMissingModules, prepare(["-c", "hs.yaml", "--allow-missing-modules"])?.allowMissingModules], [false, true]);
    });

    it("--generate-keys makes what the configuration names and does not exist", () => {
      write("hs.yaml", "server_name: a.org\nreport_stats: no\nregistration_shared_secret_path: secret\nlog_config: log.yaml\ndatabase: {name: psycopg2}\n");
      assert.equal(prepare(["-c", "hs.yaml", "--generate-keys", "--keys-directory", "keys"]), undefined);
      assert.deepEqual(
        ["secret", "log.yaml", "keys/a.org.signing.key"].map((name) => existsSync(path(name))),
        [true, true, true],
      );
      assert.match(readFileSync(path("secret"), "utf8"), /^[A-Za-z]{50}\n$/);
    });

    it("rewrites a signing key of the oldest form", () => {
      write("hs.yaml", "server_name: a.org\nreport_stats: no\nsigning_key_path: key\ndatabase: {name: psycopg2}\n");
      write("key", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n");
      const { signingKeys } = prepare(["-c", "hs.yaml"])!.config.key;
      assert.equal(signingKeys[0]!.publicKey, "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI");
    });

    it("without --config-path keeps everything in ./data", () => {
      const startup = prepare([])!;
      assert.equal(startup.newConfigFile, path("data/homeserver.yaml"));
      assert.deepEqual([startup.config.server.serverName, startup.config.server.publicBaseurl], ["localhost", "http://localhost:8008/"]);
      assert.equal(startup.config.myelin.embeddedPostgres, path("data/postgres"));
      assert.equal(prepare([])!.newConfigFile, undefined);
      assert.deepEqual(startup.config.notices, []);
    });

    it("finds the configuration by the environment of Synapse's Docker image", () => {
      prepare(["-c", "conf/homeserver.yaml", "--generate-config", "-H", "a.org", "--report-stats=yes"]);
      assert.equal(prepare([], { SYNAPSE_CONFIG_DIR: path("conf") })!.config.server.serverName, "a.org");
      assert.equal(prepare([], { SYNAPSE_CONFIG_PATH: path("conf/homeserver.yaml") })!.config.server.serverName, "a.org");
    });

    it("understands abbreviated and joined flags, as Python's argparse", () => {
      const { configPath, enableRegistration } = parseCommandLine(homeserverSpec, ["--config-p", "a", "-cb", "--config-path=c", "--enable-r"]);
      assert.deepEqual([configPath, enableRegistration], [["a", "b", "c"], true]);
      assert.throws(() => parseCommandLine(homeserverSpec, ["--enable"]), /--enable could be --enable-metrics or --enable-registration/);
      assert.throws(() => parseCommandLine(homeserverSpec, ["--generate-config", "--generate-keys"]), /cannot be given together/);
      assert.throws(() => parseCommandLine(homeserverSpec, ["-c"]), /-c needs a value/);
    });
  });

  describe("in Synapse's Docker image", () => {
    const plan = (argv: string[], env: Record<string, string>, isRoot = false): ReturnType<typeof planDockerStart> =>
      planDockerStart(terminal(argv, env), isRoot);

    it("`generate` makes a configuration in the data folder, for the database of the environment", () => {
      const env = { SYNAPSE_SERVER_NAME: "a.org", SYNAPSE_REPORT_STATS: "no", SYNAPSE_CONFIG_DIR: folder, SYNAPSE_DATA_DIR: folder, POSTGRES_PASSWORD: "pw" };
      const { argv } = plan(["generate"], env);
      prepareStartup(parseCommandLine(homeserverSpec, argv!), terminal(argv!, env));
      const { config } = prepareStartup(parseCommandLine(homeserverSpec, plan([], env).argv!), terminal([], env))!;
      const { host, password, user, database } = config.database.connection;
      assert.deepEqual([config.server.serverName, host, user, password, database], ["a.org", "db", "synapse", "pw", "synapse"]);
      assert.deepEqual(config.server.listeners[0]!.bindAddresses, ["::", "0.0.0.0"]);
    });

    it("`migrate_config` turns the environment variables of old images into a configuration that the server takes", () => {
      const env = {
        SYNAPSE_SERVER_NAME: "a.org",
        SYNAPSE_REPORT_STATS: "yes",
        SYNAPSE_CONFIG_DIR: folder,
        SYNAPSE_DATA_DIR: folder,
        SYNAPSE_NO_TLS: "true",
        POSTGRES_HOST: "pg",
        SYNAPSE_TURN_URIS: "turn:a,turn:b",
        SYNAPSE_TURN_SECRET: "t",
      };
      assert.equal(plan(["migrate_config"], env).argv, undefined);
      const secret = readFileSync(path("a.org.registration.key"), "utf8");
      const { config } = prepareStartup(parseCommandLine(homeserverSpec, plan(["run"], env).argv!), terminal([], env))!;
      assert.deepEqual([config.voip.turnUris, config.database.connection.host, config.metrics.reportStats], [["turn:a", "turn:b"], "pg", true]);
      assert.equal(config.registration.registrationSharedSecret, secret);
      plan(["migrate_config"], env);
      assert.equal(readFileSync(path("a.org.registration.key"), "utf8"), secret);
    });

    it("runs as the account of UID and GID, as 991 when started by root", () => {
      write("homeserver.yaml", "");
      const env = { SYNAPSE_CONFIG_DIR: folder };
      assert.deepEqual(plan(["run"], { ...env, UID: "5", GID: "6" }, true).owner, { uid: 5, gid: 6 });
      assert.deepEqual(plan(["run"], env, true).owner, { uid: 991, gid: 991 });
      assert.equal(plan(["run"], env).owner, undefined);
      assert.deepEqual(plan(["run", "-m", "synapse.app.generic_worker", "-c", "w.yaml"], env).argv, ["-c", "w.yaml"]);
    });

    it("says what is missing", () => {
      assert.throws(() => plan(["generate"], {}), /'SYNAPSE_SERVER_NAME' is mandatory/);
      assert.throws(() => plan(["run"], { SYNAPSE_CONFIG_DIR: folder }), /does not exist: make one with `generate`/);
      assert.throws(() => plan(["dance"], {}), /Unknown execution mode 'dance'/);
    });
  });

  it("config checks a configuration and prints its values", async () => {
    write("hs.yaml", "server_name: a.org\nreport_stats: no\nsigning_key: ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\ndatabase: {name: psycopg2}\n");
    assert.equal(await run(readConfig, "-c", "hs.yaml"), 0);
    assert.match(out, /Config parses OK!\n$/);
    out = "";
    assert.equal(await run(readConfig, "read", "server.server_name", "-c", "hs.yaml"), 0);
    assert.equal(out, "server.server_name: a.org\n");
    assert.equal(await run(readConfig, "read", "server.colour", "-c", "hs.yaml"), 1);
  });

  describe("synctl", () => {
    it("stops the process of the pid file and waits for its end", async () => {
      const child = execFile(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
      const ended = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
      write("hs.yaml", `server_name: a.org\npid_file: ${path("pid")}\n`);
      write("pid", String(child.pid));
      assert.equal(await run(synctl, "stop", "hs.yaml"), 0);
      assert.equal(await ended, "SIGTERM");
      assert.equal(out, "stopped synapse.app.homeserver\nWaiting for processes to exit...\nAll processes exited\n");
    });

    it("does not start what runs, and says what it does not find", async () => {
      write("hs.yaml", `server_name: a.org\npid_file: ${path("pid")}\n`);
      write("pid", String(process.pid));
      assert.equal(await run(synctl, "start", "hs.yaml"), 0);
      assert.equal(out, "synapse.app.homeserver already running\n");
      rmSync(path("pid"));
      assert.equal(await run(synctl, "stop", "hs.yaml"), 0);
      assert.match(out, /No running process of synapse\.app\.homeserver found/);
      assert.equal(await run(synctl, "stop", "missing.yaml"), 1);
      assert.equal(await run(synctl, "pause"), 2);
    });
  });
});
