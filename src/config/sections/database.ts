import { existsSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { readConfigFile } from "../reader.ts";

/** Where Postgres is (`database` or `databases`). */
export type DatabaseConfig = ReturnType<typeof parseDatabase>;

export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

/** How to connect, as node-postgres takes it. */
export interface DatabaseConnection {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string | undefined;
  readonly database: string;
  /** False for the modes `disable`, `allow` and `prefer`; whether the server wants TLS in the latter two is found out before connecting. */
  readonly ssl: false | DatabaseTls;
  /** Largest number of connections. */
  readonly poolSize: number;
  /** 0: none. */
  readonly statementTimeoutMs: number;
  readonly idleInTransactionSessionTimeoutMs: number;
  readonly synchronousCommit: boolean;
  /** A connection is replaced after this many transactions; 0: never. */
  readonly txnLimit: number;
  readonly connectionTimeoutMs: number | undefined;
  /** libpq's `options`, such as "-c search_path=synapse". */
  readonly options: string | undefined;
}

/** PEM texts and checks, as node's TLS takes them. */
export interface DatabaseTls {
  readonly rejectUnauthorized: boolean;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** Set where the certificate's name is not compared with the host. */
  readonly checkServerIdentity?: () => undefined;
}

const SQLITE_ADVICE =
  "is an SQLite database, and Myelin needs PostgreSQL: copy it with Synapse's synapse_port_db (https://element-hq.github.io/synapse/latest/postgres.html), then set database.name to psycopg2";

export function parseDatabase(raw: ConfigReader, ctx: ParseContext) {
  const legacyPath = raw.string("database_path");
  const single = raw.optionalObject("database");
  const several = raw.map("databases");
  if (single !== undefined && !single.isEmpty && several.length > 0) throw raw.error("databases", "cannot be set together with database");
  const databases = several.map(([name, reader]) => ({ name, ...parseOne(reader, ctx) }));
  if (single !== undefined && !single.isEmpty) databases.push({ name: "master", ...parseOne(single, ctx) });
  if (databases.length === 0 && legacyPath !== undefined) throw raw.error("database_path", SQLITE_ADVICE);
  const embedded = raw.object("myelin").filePath("embedded_postgres", ctx);
  if (embedded !== undefined) {
    if (databases.length > 0) throw new ConfigError("cannot be set together with database", "myelin.embedded_postgres");
    return EMBEDDED;
  }
  const main = databases.find((database) => database.dataStores.includes("main"));
  if (main === undefined) throw new ConfigError("there is no database in the configuration: set database with name: psycopg2 and args", "database");
  const state = databases.find((database) => database.dataStores.includes("state") && database !== main);
  if (state !== undefined && !sameDatabase(main.connection, state.connection)) {
    throw raw.error("databases", `keeps the state store in a second database (${state.name}); Myelin needs main and state in one`);
  }
  return main;
}

/** Stands for the embedded Postgres until it is started, see `withConnection`. */
const EMBEDDED = {
  name: "master",
  dataStores: ["main", "state"],
  allowUnsafeLocale: false,
  sslMode: "disable" as SslMode,
  connection: {
    host: "127.0.0.1",
    port: 5432,
    user: "myelin",
    password: undefined,
    database: "synapse",
    ssl: false,
    poolSize: 10,
    statementTimeoutMs: 600_000,
    idleInTransactionSessionTimeoutMs: 1_800_000,
    synchronousCommit: true,
    txnLimit: 0,
    connectionTimeoutMs: undefined,
    options: undefined,
  } satisfies DatabaseConnection as DatabaseConnection,
};

function sameDatabase(a: DatabaseConnection, b: DatabaseConnection): boolean {
  return a.host === b.host && a.port === b.port && a.database === b.database;
}

function parseOne(raw: ConfigReader, ctx: ParseContext) {
  const engine = raw.oneOf("name", ["sqlite3", "psycopg2"], "sqlite3");
  const args = raw.object("args");
  const settings = {
    /** `main` and `state`, which may lie in different databases in Synapse; Myelin takes them from one. */
    dataStores: raw.strings("data_stores", ["main", "state"]),
    allowUnsafeLocale: raw.boolean("allow_unsafe_locale", false),
  };
  const session = {
    statementTimeoutMs: timeout(raw, "statement_timeout", 600_000),
    idleInTransactionSessionTimeoutMs: timeout(raw, "idle_in_transaction_session_timeout", 1_800_000),
    synchronousCommit: raw.boolean("synchronous_commit", true),
    txnLimit: raw.integer("txn_limit", 0, { min: 0 }),
  };
  if (engine === "sqlite3") {
    args.everything();
    throw raw.error("name", SQLITE_ADVICE);
  }
  const { sslMode, ...connection } = parseArgs(args, ctx);
  return { ...settings, sslMode, connection: { ...connection, ...session } satisfies DatabaseConnection as DatabaseConnection };
}

/** Milliseconds; an option without a value switches the timeout off. */
function timeout(raw: ConfigReader, key: string, fallback: number): number {
  return raw.has(key) ? (raw.integer(key) ?? 0) : fallback;
}

/** What psycopg2 takes: libpq's parameters, or a whole connection string in `dsn`, and the pool's `cp_...` options. */
function parseArgs(args: ConfigReader, ctx: ParseContext) {
  const dsn = parseDsn(args.string("dsn"));
  const text = (key: string): string | undefined => args.text(key) ?? dsn[key];
  const number = (key: string): number | undefined => {
    const value = text(key);
    if (value === undefined || value === "") return undefined;
    if (!/^\d+$/.test(value)) throw args.wrong(key, "a whole number");
    return Number(value);
  };
  const path = (key: string): string | undefined => {
    const value = text(key);
    return value === undefined ? undefined : resolve(ctx.dataDir, value.replace(/^~(?=\/)/, homedir()));
  };
  const port = number("port") ?? envPort(ctx.env["PGPORT"]) ?? 5432;
  const host = text("host") ?? text("hostaddr") ?? ctx.env["PGHOST"] ?? defaultHost(port);
  const user = text("user") ?? ctx.env["PGUSER"] ?? userInfo().username;
  const database = text("dbname") ?? text("database") ?? ctx.env["PGDATABASE"] ?? user;
  const inline = args.inlineSecret("password", ctx) ?? dsn["password"] ?? ctx.env["PGPASSWORD"];
  const sslMode = text("sslmode") ?? ctx.env["PGSSLMODE"] ?? "prefer";
  if (!isSslMode(sslMode)) throw args.wrong("sslmode", `one of ${SSL_MODES.join(", ")}`);
  const timeoutSeconds = number("connect_timeout");
  // Taken by libpq and by Synapse's pool; here connections are made when they are needed and kept alive always.
  for (const key of [
    "cp_reconnect",
    "cp_openfun",
    "cp_noisy",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "client_encoding",
    "application_name",
    "target_session_attrs",
    "channel_binding",
    "gssencmode",
    "krbsrvname",
  ]) {
    args.raw(key);
  }
  args.integer("cp_min", 3, { min: 0 });
  return {
    host,
    port,
    user,
    password: inline ?? passwordFromFile(path("passfile") ?? ctx.env["PGPASSFILE"], { host, port, user, database }),
    database,
    sslMode,
    ssl: parseTls(sslMode, { ca: path("sslrootcert"), cert: path("sslcert"), key: path("sslkey") }, args),
    poolSize: args.integer("cp_max", 5, { min: 1 }),
    connectionTimeoutMs: timeoutSeconds === undefined ? undefined : timeoutSeconds * 1000,
    options: text("options"),
  };
}

const SSL_MODES: readonly SslMode[] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

function isSslMode(text: string): text is SslMode {
  return (SSL_MODES as readonly string[]).includes(text);
}

/** libpq's rules: `require` checks nothing unless there is a root certificate, `verify-ca` the chain, `verify-full` the name, too. */
function parseTls(
  mode: SslMode,
  files: { ca: string | undefined; cert: string | undefined; key: string | undefined },
  args: ConfigReader,
): false | DatabaseTls {
  if (mode === "disable" || mode === "allow" || mode === "prefer") return false;
  const read = (file: string | undefined, key: string): string | undefined => (file === undefined ? undefined : readConfigFile(file, args.pathOf(key)));
  const ca = read(files.ca, "sslrootcert");
  const tls = { ca, cert: read(files.cert, "sslcert"), key: read(files.key, "sslkey"), rejectUnauthorized: mode !== "require" || ca !== undefined };
  return mode === "verify-full" ? tls : { ...tls, checkServerIdentity: () => undefined };
}

/** libpq's default: the Unix socket, where there is one. */
function defaultHost(port: number): string {
  const folders = ["/var/run/postgresql", "/run/postgresql", "/tmp"];
  return folders.find((folder) => existsSync(join(folder, `.s.PGSQL.${port}`))) ?? "localhost";
}

function envPort(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** libpq's "key=value key='other value'" or postgres:// URL. */
function parseDsn(dsn: string | undefined): Record<string, string> {
  if (dsn === undefined) return {};
  if (/^postgres(ql)?:\/\//.test(dsn)) {
    if (!URL.canParse(dsn)) throw new ConfigError("wanted a connection URL or key=value pairs", "database.args.dsn");
    const url = new URL(dsn);
    const parts = {
      host: decodeURIComponent(url.hostname),
      port: url.port,
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      dbname: decodeURIComponent(url.pathname.slice(1)),
      ...Object.fromEntries(url.searchParams),
    };
    return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== ""));
  }
  const pairs = dsn.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))/g);
  return Object.fromEntries([...pairs].map(([, key, quoted, plain]) => [key!, (quoted ?? plain ?? "").replace(/\\(.)/g, "$1")]));
}

/** The first line of libpq's password file (host:port:database:user:password, `*` matches all) that fits. */
export function passwordFromFile(file: string | undefined, target: { host: string; port: number; user: string; database: string }): string | undefined {
  const path = file ?? join(homedir(), ".pgpass");
  let lines: string[];
  try {
    lines = readConfigFile(path, "database.args.passfile").split(/\r?\n/);
  } catch (error) {
    if (file === undefined) return undefined;
    throw error;
  }
  const wanted = [target.host.startsWith("/") ? "localhost" : target.host, String(target.port), target.database, target.user];
  for (const line of lines) {
    if (line === "" || line.startsWith("#")) continue;
    const fields = [...line.matchAll(/((?:[^:\\]|\\.)*)(?::|$)/g)].map((match) => match[1]!.replace(/\\(.)/g, "$1"));
    if (fields.length >= 5 && wanted.every((value, index) => fields[index] === "*" || fields[index] === value)) return fields[4];
  }
  return undefined;
}
