import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheSizes } from "./sections/cache.ts";
import { parseConfig, type Config } from "./config.ts";
import { ConfigError } from "./errors.ts";
import { configDirectory, readConfigFiles } from "./load.ts";
import { formatSigningKey, parseSigningKeys, signingKeyFromSeed } from "./signing-key.ts";
import { parseDuration, parseSize } from "./units.ts";
import { parseYaml } from "./yaml.ts";

const KEY = formatSigningKey(signingKeyFromSeed("a_test", new Uint8Array(32).fill(7)));
const DATABASE = { name: "psycopg2", args: { user: "synapse", host: "db" } };
const BASE = { server_name: "test", report_stats: false, signing_key: KEY, database: DATABASE, suppress_key_server_warning: true, macaroon_secret_key: "x" };

describe("the configuration", () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "myelin-config-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  const parse = (options: object = {}, extra: object = {}): Config =>
    parseConfig({ ...BASE, ...options }, { configDir: folder, dataDir: folder, env: {}, ...extra });
  const refuses = (options: object, message: string, extra: object = {}): void =>
    assert.throws(
      () => parse(options, extra),
      (error) => error instanceof ConfigError && error.message === message,
      `wanted: ${message}`,
    );

  it("is frozen to its depth", () => {
    const config = parse({ listeners: [{ type: "http", port: 1, resources: [{ names: ["client"] }] }] });
    assert.throws(() => ((config.server.listeners[0]!.resources[0]!.names as string[])[0] = "x"), TypeError);
  });

  describe("tells what is wrong in one line with the option's path", () => {
    it("for values of a wrong type", () => {
      refuses({ listeners: [{ type: "http", port: "http" }] }, 'listeners[0].port: found "http", wanted a port number (0 to 65535)');
      refuses({ enable_search: "maybe" }, 'enable_search: found "maybe", wanted true or false');
      refuses({ presence: [] }, "presence: found a list, wanted a mapping");
      refuses({ filter_timeline_limit: 1.5 }, "filter_timeline_limit: found 1.5, wanted a whole number");
      refuses(
        { user_ips_max_age: "28 days" },
        'user_ips_max_age: found "28 days", wanted a duration such as "30s", "5m", "1h", "7d" or a number of milliseconds',
      );
      refuses(
        { listeners: [{ type: "http", port: 8008, resources: [{ names: ["client", "consent"] }] }] },
        "listeners[0].resources: serves the page of the terms (consent), but there is no user_consent section",
      );
      refuses({ ip_range_blacklist: ["10.0.0.0/8", "ten"] }, 'ip_range_blacklist[1]: found "ten", wanted an IP address or range such as "10.0.0.0/8"');
      refuses({ retention: { purge_jobs: [{}] } }, "retention.purge_jobs[0].interval: found nothing, wanted a duration (the option is required)");
    });

    it("without showing secrets", () => {
      refuses({ registration_shared_secret: 12345 }, "registration_shared_secret: found a number, wanted a string");
      refuses({ signing_key: "ed25519 a_b tooshort" }, "signing_key: line 1 holds no 32 bytes in base64");
    });

    it("for a document about support that names nobody", () => {
      const support = (wrong: object): object => ({ myelin: { well_known_support: wrong } });
      const path = "myelin.well_known_support.contacts";
      refuses(support({}), `${path}: is missing or empty, and so is support_page: one of them is needed`);
      refuses(support({ contacts: [{ role: "m.role.admin" }] }), `${path}[0].matrix_id: is missing, and so is email_address: one of them is needed`);
      refuses(support({ contacts: "root" }), `${path}: found "root", wanted a list`);
    });

    it("for what is required", () => {
      refuses({ server_name: undefined }, "server_name: found nothing, wanted a string (the option is required)");
      refuses({ server_name: "no spaces" }, 'server_name: found "no spaces", wanted a domain such as "example.org"');
      const { report_stats: _, ...rest } = BASE;
      assert.throws(
        () => parseConfig(rest, { configDir: folder, dataDir: folder, env: {} }),
        /^ConfigError: report_stats: found nothing, wanted true or false/,
      );
    });
  });

  describe("refuses combinations that Synapse refuses", () => {
    it("open registration without any verification", () => {
      assert.throws(() => parse({ enable_registration: true }), /^ConfigError: enable_registration: is true without any verification/);
      for (const way of [
        { enable_registration_captcha: true },
        { registrations_require_3pid: ["email"] },
        { registration_requires_token: true },
        { enable_registration_without_verification: true },
      ]) {
        assert.equal(parse({ enable_registration: true, ...way }).registration.enableRegistration, true);
      }
    });

    it("what delegated authentication does not go with", () => {
      const mas = { matrix_authentication_service: { enabled: true, secret: "s" } };
      assert.equal(parse(mas).auth.passwordEnabledForLogin, false);
      assert.equal(parse(mas).registration.enable3pidChanges, false);
      refuses({ ...mas, password_config: { enabled: true } }, "password_config.enabled: cannot be enabled together with matrix_authentication_service");
      refuses({ ...mas, session_lifetime: "1d" }, "session_lifetime: cannot be enabled together with matrix_authentication_service");
      refuses(
        { matrix_authentication_service: { enabled: true } },
        "matrix_authentication_service.secret: found nothing, wanted the shared secret (or secret_path), since the service is enabled",
      );
    });

    it("others", () => {
      refuses(
        { url_preview_enabled: true },
        "url_preview_ip_range_blacklist: found nothing, wanted a list of ranges, since url_preview_enabled is true (without it anyone could make the server fetch from its own network)",
      );
      refuses({ session_lifetime: "1h", refreshable_access_token_lifetime: "2h" }, "refreshable_access_token_lifetime: must not exceed session_lifetime");
      refuses(
        { autocreate_auto_join_room_preset: "private_chat" },
        "auto_join_mxid_localpart: found nothing, wanted the localpart of the user who invites, since autocreate_auto_join_room_preset is private_chat",
      );
      refuses({ presence: { idle_timeout: "1m" } }, "presence.idle_timeout: must be greater than presence.last_active_granularity");
      refuses(
        { listeners: [{ type: "http", port: 8448, tls: true }] },
        "tls_certificate_path: found nothing, wanted a PEM file, since a listener has tls: true",
      );
      refuses({ experimental_features: { msc3861: { enabled: true } } }, "experimental_features.msc3861: no longer exists; use matrix_authentication_service");
      refuses(
        { federation_verify_certificates: false },
        "trusted_key_servers: answers of matrix.org would be believed without TLS check and without verify_keys; set federation_verify_certificates, or accept_keys_insecurely if you are sure",
      );
      refuses({ worker_app: "synapse.app.generic_worker", worker_name: "w" }, "instance_map: has no entry main, by which workers reach the main process");
      refuses({ stream_writers: { events: "w1" } }, "stream_writers.events: names the instance w1, which is not in instance_map");
      refuses({ stream_writers: { typing: ["master", "master"] } }, "stream_writers.typing: wanted exactly one instance");
    });
  });

  describe("secrets", () => {
    it("come from files, too, without the white space around them", () => {
      writeFileSync(join(folder, "s"), "  secret\n");
      assert.equal(parse({ registration_shared_secret_path: "s" }).registration.registrationSharedSecret, "secret");
      refuses(
        { registration_shared_secret_path: "s", registration_shared_secret: "x" },
        "registration_shared_secret: is set together with registration_shared_secret_path; keep only one of them",
      );
      refuses({ form_secret_path: "missing" }, `form_secret_path: cannot read the file ${join(folder, "missing")} (ENOENT)`);
    });

    it("may be forbidden in the configuration itself", () => {
      const forbid = { allowSecretsInConfig: false };
      refuses({}, "macaroon_secret_key: a secret stands in the configuration, and --no-secrets-in-config forbids that", forbid);
      refuses(
        { macaroon_secret_key: undefined, redis: { password: "x" } },
        "redis.password: a secret stands in the configuration, and --no-secrets-in-config forbids that",
        forbid,
      );
    });

    it("of macaroons fall back to the registration secret, then to the signing key's hash", () => {
      const text = (config: Config): string => Buffer.from(config.key.macaroonSecretKey).toString();
      assert.equal(text(parse({})), "x");
      assert.equal(text(parse({ macaroon_secret_key: undefined, registration_shared_secret: "r" })), "r");
      // Python: hashlib.sha256(bytes([7] * 32)).hexdigest()
      const derived = parse({ macaroon_secret_key: undefined, listeners: [] });
      assert.equal(Buffer.from(derived.key.macaroonSecretKey).toString("hex"), "4bb06f8e4e3a7715d201d573d0aa423762e55dabd61a2c02278fa56cc6d294e0");
      assert.deepEqual(derived.notices, ["macaroon_secret_key is not set; it is derived from the signing key"]);
    });
  });

  it("names options that have no effect and options that it does not know", () => {
    const { notices } = parse({
      gc_thresholds: [1, 2, 3],
      presence: { enabled: true, quiet: true },
      web_client: false,
      use_frozen_dicts: false,
      listeners: [{ type: "http", port: 1, colour: "red" }],
      caches: { per_cache_factors: { x: 1 } },
    });
    assert.deepEqual(notices, [
      "gc_thresholds has no effect: it tunes the Python interpreter",
      "presence.quiet is unknown and has no effect",
      "web_client is unknown and has no effect",
      "listeners[0].colour is unknown and has no effect",
    ]);
  });

  it("knows durations and sizes as Synapse", () => {
    assert.deepEqual(
      ["90", "90s", "5m", "2h", "7d", "1w", "1y", 90].map(parseDuration),
      [90, 90_000, 300_000, 7_200_000, 604_800_000, 604_800_000, 31_536_000_000, 90],
    );
    assert.deepEqual(["5 m", "m", "1.5h", "5M", "", true, 1.5].map(parseDuration), [300_000, ...Array<undefined>(6).fill(undefined)]);
    assert.deepEqual(["10K", "50M", "1G", "2T", "5", 5].map(parseSize), [10_240, 52_428_800, 1_073_741_824, 2_199_023_255_552, 5, 5]);
    assert.deepEqual(["500MiB", "10k", "1m"].map(parseSize), [undefined, undefined, undefined]);
  });

  it("tells an option without a value from an absent one where that differs", () => {
    assert.equal(parse({}).server.userIpsMaxAgeMs, 2_419_200_000);
    assert.equal(parse({ user_ips_max_age: null }).server.userIpsMaxAgeMs, undefined);
    assert.equal(parse({}).federation.domainWhitelist, undefined);
    assert.deepEqual(parse({ federation_domain_whitelist: [] }).federation.domainWhitelist, []);
    assert.equal(parse({ rc_admin_redaction: null }).ratelimiting.adminRedaction?.perSecond, 0.17);
    assert.equal(parse({}).ratelimiting.adminRedaction, undefined);
  });

  describe("listeners", () => {
    const one = (listener: object): Config["server"]["listeners"][number] => parse({ listeners: [listener] }).server.listeners[0]!;

    it("bind all addresses of both families unless told otherwise, metrics those of IPv4", () => {
      assert.deepEqual(one({ type: "http", port: 1 }).bindAddresses, ["::", "0.0.0.0"]);
      assert.deepEqual(one({ type: "metrics", port: 1 }).bindAddresses, ["0.0.0.0"]);
      assert.deepEqual(one({ type: "http", port: 1, bind_addresses: ["::1"], bind_address: "127.0.0.1" }).bindAddresses, ["::1", "127.0.0.1"]);
    });

    it("on a Unix socket trust X-Forwarded-For unless told otherwise", () => {
      const listener = one({ type: "http", path: "/run/x.sock", mode: 0o660 });
      assert.deepEqual([listener.path, listener.mode, listener.xForwarded, listener.siteTag], ["/run/x.sock", 0o660, true, "unix"]);
      assert.equal(one({ type: "http", path: "/run/x.sock", x_forwarded: false }).xForwarded, false);
    });

    it("have a port or a path, and known resources", () => {
      refuses({ listeners: [{ type: "http" }] }, "listeners[0]: has neither port nor path");
      refuses({ listeners: [{ type: "http", port: 1, path: "/x" }] }, "listeners[0]: has both port and path; keep one of them");
      refuses({ listeners: [{ type: "replication", port: 1 }] }, "listeners[0].type: replication over bare TCP no longer exists; use redis");
      assert.throws(
        () => parse({ listeners: [{ type: "http", port: 1, resources: [{ names: ["webclient"] }] }] }),
        /listeners\[0\]\.resources\[0\]\.names: found "webclient"/,
      );
    });

    it("are one on the loopback addresses when there are none, but none for a worker and none for an empty list", () => {
      assert.deepEqual(
        parse({}).server.listeners.map(({ port, bindAddresses }) => [port, bindAddresses]),
        [[8008, ["::1", "127.0.0.1"]]],
      );
      assert.deepEqual(parse({ listeners: [] }).server.listeners, []);
      const worker = parse({ worker_app: "synapse.app.generic_worker", worker_name: "w", instance_map: { main: { host: "h", port: 1 } } });
      assert.deepEqual(worker.server.listeners, []);
    });
  });

  describe("the database", () => {
    const connection = (database: object, env: object = {}): Config["database"]["connection"] => parse({ database }, { env }).database.connection;

    it("is reached by libpq's parameters, however they are given", () => {
      const wanted = { host: "h", port: 5433, user: "u", password: "p w", database: "d" };
      const pick = ({ host, port, user, password, database }: Config["database"]["connection"]): object => ({ host, port, user, password, database });
      const psycopg2 = (args: object): object => ({ name: "psycopg2", args });
      assert.deepEqual(pick(connection(psycopg2({ host: "h", port: 5433, user: "u", password: "p w", dbname: "d" }))), wanted);
      assert.deepEqual(pick(connection(psycopg2({ host: "h", port: "5433", user: "u", password: "p w", database: "d" }))), wanted);
      assert.deepEqual(pick(connection(psycopg2({ dsn: "host=h port=5433 user=u password='p w' dbname=d" }))), wanted);
      assert.deepEqual(pick(connection(psycopg2({ dsn: "postgresql://u:p%20w@h:5433/d" }))), wanted);
      assert.deepEqual(pick(connection(psycopg2({}), { PGHOST: "h", PGPORT: "5433", PGUSER: "u", PGPASSWORD: "p w", PGDATABASE: "d" })), wanted);
    });

    it("takes the password from libpq's password file", () => {
      writeFileSync(join(folder, "pass"), "# comment\nother:*:*:u:no\nh:5432:*:u:se\\:cret\n*:*:*:*:last\n");
      const args = { host: "h", user: "u", passfile: "pass" };
      assert.equal(connection({ name: "psycopg2", args }).password, "se:cret");
      assert.equal(connection({ name: "psycopg2", args: { ...args, user: "v" } }).password, "last");
    });

    it("is checked over TLS as strictly as sslmode says", () => {
      const ssl = (args: object): unknown => connection({ name: "psycopg2", args: { host: "h", ...args } }).ssl;
      assert.equal(ssl({}), false);
      assert.equal(ssl({ sslmode: "disable" }), false);
      const require_ = ssl({ sslmode: "require" }) as { rejectUnauthorized: boolean; checkServerIdentity?: unknown };
      assert.deepEqual([require_.rejectUnauthorized, typeof require_.checkServerIdentity], [false, "function"]);
      const full = ssl({ sslmode: "verify-full" }) as { rejectUnauthorized: boolean; checkServerIdentity?: unknown };
      assert.deepEqual([full.rejectUnauthorized, full.checkServerIdentity], [true, undefined]);
      refuses(
        { database: { name: "psycopg2", args: { sslmode: "yes" } } },
        'database.args.sslmode: found "yes", wanted one of disable, allow, prefer, require, verify-ca, verify-full',
      );
    });

    it("is never SQLite", () => {
      for (const database of [{ name: "sqlite3", args: { database: "x" } }, { args: { database: "x" } }]) {
        assert.throws(
          () => parse({ database }),
          /^ConfigError: database\.name: is an SQLite database, and Myelin needs PostgreSQL: copy it with Synapse's synapse_port_db/,
        );
      }
      refuses({ database: undefined }, "database: there is no database in the configuration: set database with name: psycopg2 and args");
    });

    it("may be written as one of several, when it is only one", () => {
      const main = { name: "psycopg2", args: { host: "h", database: "d" } };
      assert.equal(
        parse({ database: undefined, databases: { a: { ...main, data_stores: ["main"] }, b: { ...main, data_stores: ["state"] } } }).database.connection
          .database,
        "d",
      );
      const state = { name: "psycopg2", args: { host: "h", database: "e" }, data_stores: ["state"] };
      refuses(
        { database: undefined, databases: { a: { ...main, data_stores: ["main"] }, b: state } },
        "databases: keeps the state store in a second database (b); Myelin needs main and state in one",
      );
    });
  });

  describe("files", () => {
    const write = (name: string, text: string): string => {
      const file = join(folder, name);
      mkdirSync(join(file, ".."), { recursive: true });
      writeFileSync(file, text);
      return file;
    };

    it("replace each other's top-level options in the order given, directories in sorted order", () => {
      write("conf.d/b.yaml", "a: {y: 2}\nb: from b\n");
      write("conf.d/a.yaml", "b: from a\nc: from a\n");
      write("conf.d/notes.txt", "x: 1\n");
      write("main.yaml", "a: {x: 1}\nb: main\n");
      write("empty.yaml", "# nothing\n");
      const { values, files, notices } = readConfigFiles(["main.yaml", "conf.d", "empty.yaml"], folder);
      assert.deepEqual(values, { a: { y: 2 }, b: "from b", c: "from a" });
      assert.deepEqual(
        files,
        ["main.yaml", "conf.d/a.yaml", "conf.d/b.yaml", "empty.yaml"].map((name) => join(folder, name)),
      );
      assert.deepEqual(notices, [
        `${join(folder, "conf.d/notes.txt")} does not end in .yaml; it is passed over`,
        `${join(folder, "empty.yaml")} is empty or holds no mapping of options; it is passed over`,
      ]);
      assert.equal(configDirectory(files.slice(0, 3), undefined, "/x"), join(folder, "conf.d"));
      assert.equal(configDirectory(files, "keys", "/x"), "/x/keys");
    });

    it("with a mistake are named with the line", () => {
      const file = write("bad.yaml", "a: 1\nb: [1\nc: 2\n");
      assert.throws(() => readConfigFiles([file], folder), new RegExp(`^ConfigError: ${file}, line [23]: `));
      assert.throws(() => readConfigFiles(["missing.yaml"], folder), /--config-path: cannot read the file .*missing.yaml \(ENOENT\)/);
    });
  });

  describe("YAML", () => {
    it("means what it means to Python", () => {
      const text = "[yes, No, on, off, y, n, 0660, 0o660, 1e3, 1.5e+3, 1_000, 2020-01-01, ~, null, '1', .5, 0x1F, 12:30]";
      // 12:30 is a sexagesimal integer in YAML 1.1, as PyYAML has it.
      assert.deepEqual(parseYaml(text, "f"), [
        true,
        false,
        true,
        false,
        "y",
        "n",
        432,
        "0o660",
        "1e3",
        1500,
        1000,
        "2020-01-01",
        null,
        null,
        "1",
        0.5,
        31,
        750,
      ]);
    });

    it("may merge mappings and repeat keys", () => {
      assert.deepEqual(parseYaml("base: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}\nd: 1\nd: 2\n", "f"), { base: { x: 1, y: 2 }, c: { x: 1, y: 3 }, d: 2 });
    });

    it("keeps the version of terms as the text that users agreed to", () => {
      assert.deepEqual(parseYaml("user_consent: {version: 1.0}", "f"), { user_consent: { version: "1.0" } });
      assert.deepEqual(parseYaml("user_consent: {version: 1.10}", "f"), { user_consent: { version: "1.1" } });
    });
  });

  describe("the signing key", () => {
    it("is read from the file beside the configuration", () => {
      writeFileSync(join(folder, "test.signing.key"), `\n${KEY}\n${formatSigningKey(signingKeyFromSeed("old", new Uint8Array(32).fill(1)))}\n`);
      const { signing_key: _, ...rest } = BASE;
      const { signingKeys } = parseConfig(rest, { configDir: folder, dataDir: folder, env: {} }).key;
      assert.deepEqual(
        signingKeys.map(({ keyId }) => keyId),
        ["ed25519:a_test", "ed25519:old"],
      );
    });

    it("has the public key that the specification's test vectors give for its seed", () => {
      const [key] = parseSigningKeys("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1", "x");
      assert.equal(key!.publicKey, "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI");
    });
  });

  it("takes the registration of appservices from their files", () => {
    const service = {
      id: "irc",
      url: null,
      as_token: "a",
      hs_token: "h",
      sender_localpart: "_irc",
      namespaces: { users: [{ exclusive: true, regex: "@irc_.*" }] },
      rate_limited: false,
      receive_ephemeral: true,
    };
    writeFileSync(join(folder, "irc.yaml"), JSON.stringify(service));
    writeFileSync(join(folder, "twin.yaml"), JSON.stringify({ ...service, id: "twin" }));
    writeFileSync(join(folder, "bad.yaml"), JSON.stringify({ ...service, hs_token: 5 }));
    const [registration] = parse({ app_service_config_files: ["irc.yaml"] }).appservice.registrations;
    assert.deepEqual(
      [registration!.sender, registration!.url, registration!.rateLimited, registration!.receiveEphemeral],
      ["@_irc:test", undefined, false, true],
    );
    assert.throws(() => parse({ app_service_config_files: ["irc.yaml", "twin.yaml"] }), /app_service_config_files\[1\]: .* have the same as_token/);
    assert.throws(() => parse({ app_service_config_files: ["bad.yaml"] }), /bad\.yaml: hs_token: found a number, wanted a string/);
  });

  it("covers IPv4 ranges in their IPv6 forms, and always blocks the unspecified addresses (Synapse 0.99.3.1, #5134)", () => {
    const { ipRangeBlocklist } = parse({ ip_range_blacklist: ["10.1.0.0/16"] }).server;
    assert.deepEqual(ipRangeBlocklist.slice(0, 5), ["10.1.0.0/16", "::a01:0/112", "::ffff:a01:0/112", "2002:a01:0::/32", "0.0.0.0/32"]);
    assert.equal(ipRangeBlocklist.at(-1), "::/128");
  });

  it("takes cache factors from the environment, too", () => {
    const env = { SYNAPSE_CACHE_FACTOR: "2", SYNAPSE_CACHE_FACTOR_GET_USERS: "4" };
    const { caches } = parse({ caches: { per_cache_factors: { "*getEvent*": 3, get_users: 1 } } }, { env });
    assert.deepEqual([caches.globalFactor, caches.perCacheFactors], [2, { getevent: 3, get_users: 4 }]);
    const sizeOf = cacheSizes(caches);
    assert.deepEqual([sizeOf("*getEvent*", 100), sizeOf("get_users", 100), sizeOf("another", 100)], [600, 800, 400]);
  });

  it("scales caches from their own size at the default factor; they stay above nothing and within bounds", () => {
    const sizeOf = (global_factor?: number): number => cacheSizes(parse({ caches: { global_factor } }).caches)("get_user_by_id", 1000);
    assert.deepEqual([sizeOf(), sizeOf(1), sizeOf(0.1), sizeOf(0), sizeOf(100)], [1000, 2000, 200, 1, 10_000]);
  });

  it("takes proxies from the environment in any letter case, options first", () => {
    const { proxy } = parse({ https_proxy: "http://o" }, { env: { HTTP_PROXY: "http://e", https_proxy: "http://e", No_Proxy: "a, b" } }).server;
    assert.deepEqual(proxy, { http: "http://e", https: "http://o", noProxyHosts: ["a", "b"] });
  });

  it("gives the main process the duties that any of Synapse's processes had, and workers none", () => {
    const shared = {
      instance_map: { main: { host: "h", port: 1 }, w1: { path: "/run/w1" } },
      stream_writers: { events: "w1", receipts: ["w1", "master"] },
      federation_sender_instances: ["w2"],
      run_background_tasks_on: "w1",
      notify_appservices_from_worker: "w2",
    };
    const duties = ({ workers }: Config): unknown[] => [
      workers.instanceName,
      workers.sendFederation,
      workers.startPushers,
      workers.shouldNotifyAppservices,
      workers.shouldUpdateUserDirectory,
    ];
    const worker = (name: string): Config => parse({ ...shared, worker_app: "synapse.app.generic_worker", worker_name: name });
    assert.deepEqual(duties(parse(shared)), ["master", true, true, true, true]);
    assert.deepEqual(duties(worker("w1")), ["w1", false, false, false, false]);
    assert.deepEqual(duties(parse({ send_federation: false, start_pushers: false })), ["master", false, false, true, true]);
    assert.deepEqual(worker("w1").workers.instanceMap, { master: { host: "h", port: 1, tls: false }, w1: { path: "/run/w1" } });
    assert.deepEqual(parse(shared).workers.streamWriters.receipts, ["w1", "master"]);
  });
});
