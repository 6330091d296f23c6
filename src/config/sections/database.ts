import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { readConfigFile } from "../reader.ts";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where Postgres is (`database` or `databases`). */
export type DatabaseConfig = ReturnType<typeof parseDatabase>;

export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

/** One connection; what is undefined is left to the driver's defaults (environment variables PGHOST, PGUSER, ...). */
export interface DatabaseConnection {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly sslMode: SslMode;
  /** File paths. */
  readonly sslRootCert: string | undefined;
  readonly sslCert: string | undefined;
  readonly sslKey: string | undefined;
  readonly connectTimeoutSeconds: number | undefined;
  readonly keepalives: boolean;
  readonly keepalivesIdleSeconds: number | undefined;
  readonly applicationName: string | undefined;
  /** libpq's `options`, such as "-c search_path=synapse". */
  readonly options: string | undefined;
  readonly poolMin: number;
  readonly poolMax: number;
  readonly allowUnsafeLocale: boolean;
  readonly synchronousCommit: boolean;
  /** 0: none. */
  readonly statementTimeoutMs: number;
  readonly idleInTransactionSessionTimeoutMs: number;
  /** A connection is replaced after this many transactions; 0: never. */
  readonly txnLimit: number;
  /** `main` and `state` may lie in different databases in Synapse; Myelin takes them from one. */
  readonly dataStores: readonly string[];
}

const SQLITE_ADVICE =
  "is an SQLite database, and Myelin needs PostgreSQL: copy it with Synapse's synapse_port_db (https://element-hq.github.io/synapse/latest/postgres.html), then set database.name to psycopg2";

export function parseDatabase(raw: ConfigReader, ctx: ParseContext): DatabaseConnection & { readonly name: string } {
  const legacyPath = raw.string("database_path");
  const single = raw.optionalObject("database");
  const several = raw.map("databases");
  if (single !== undefined && !single.isEmpty && several.length > 0) throw raw.error("databases", "cannot be set together with database");
  const connections = several.map(([name, reader]) => ({ name, ...parseConnection(reader, ctx) }));
  if (single !== undefined && !single.isEmpty) connections.push({ name: "master", ...parseConnection(single, ctx) });
  if (connections.length === 0 && legacyPath !== undefined) throw raw.error("database_path", SQLITE_ADVICE);
  const main = connections.find((connection) => connection.dataStores.includes("main"));
  if (main === undefined) throw new ConfigError("there is no database in the configuration: set database with name: psycopg2 and args", "database");
  const elsewhere = connections.find((connection) => connection.dataStores.includes("state") && connection !== main);
  if (elsewhere !== undefined && !sameDatabase(main, elsewhere)) {
    throw raw.error("databases", `keeps the state store in a second database (${elsewhere.name}); Myelin needs main and state in one`);
  }
  return main;
}

function sameDatabase(a: DatabaseConnection, b: DatabaseConnection): boolean {
  return a.host === b.host && a.port === b.port && a.database === b.database;
}

function parseConnection(raw: ConfigReader, ctx: ParseContext): DatabaseConnection {
  const engine = raw.oneOf("name", ["sqlite3", "psycopg2"], "sqlite3");
  const args = raw.object("args");
  const dataStores = raw.strings("data_stores", ["main", "state"]);
  const allowUnsafeLocale = raw.boolean("allow_unsafe_locale", false);
  const txnLimit = raw.integer("txn_limit", 0, { min: 0 });
  const synchronousCommit = raw.boolean("synchronous_commit", true);
  const statementTimeoutMs = timeout(raw, "statement_timeout", 600_000);
  const idleInTransactionSessionTimeoutMs = timeout(raw, "idle_in_transaction_session_timeout", 1_800_000);
  const connection = parseArgs(args, ctx);
  if (engine === "sqlite3") throw raw.error("name", SQLITE_ADVICE);
  return {
    ...connection,
    dataStores,
    allowUnsafeLocale,
    txnLimit,
    synchronousCommit,
    statementTimeoutMs,
    idleInTransactionSessionTimeoutMs,
  };
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
  const password = args.inlineSecret("password", ctx) ?? dsn["password"];
  const database = args.text("database");
  const host = text("host") ?? text("hostaddr") ?? ctx.env["PGHOST"];
  const user = text("user") ?? ctx.env["PGUSER"];
  const port = number("port") ?? envPort(ctx.env["PGPORT"]);
  const name = text("dbname") ?? database ?? ctx.env["PGDATABASE"];
  const passfile = path("passfile") ?? ctx.env["PGPASSFILE"];
  const sslMode = text("sslmode") ?? ctx.env["PGSSLMODE"] ?? "prefer";
  const sslModes: readonly string[] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
  if (!sslModes.includes(sslMode)) throw args.wrong("sslmode", `one of ${sslModes.join(", ")}`);
  args.boolean("cp_reconnect", true);
  args.boolean("cp_openfun", true);
  return {
    host,
    port,
    user,
    password: password ?? ctx.env["PGPASSWORD"] ?? passwordFromFile(passfile, { host, port, user, database: name }),
    database: name ?? user,
    sslMode: sslMode as SslMode,
    sslRootCert: path("sslrootcert"),
    sslCert: path("sslcert"),
    sslKey: path("sslkey"),
    connectTimeoutSeconds: number("connect_timeout"),
    keepalives: (number("keepalives") ?? 1) !== 0,
    keepalivesIdleSeconds: number("keepalives_idle"),
    keepalivesIntervalSeconds: number("keepalives_interval"),
    keepalivesCount: number("keepalives_count"),
    applicationName: text("application_name"),
    options: text("options"),
    poolMin: args.integer("cp_min", 3, { min: 0 }),
    poolMax: args.integer("cp_max", 5, { min: 1 }),
  };
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
export function passwordFromFile(
  file: string | undefined,
  target: { host: string | undefined; port: number | undefined; user: string | undefined; database: string | undefined },
): string | undefined {
  const path = file ?? join(homedir(), ".pgpass");
  let lines: string[];
  try {
    lines = readConfigFile(path, "database.args.passfile").split(/\r?\n/);
  } catch (error) {
    if (file === undefined) return undefined;
    throw error;
  }
  const wanted = [target.host === undefined || target.host.startsWith("/") ? "localhost" : target.host, String(target.port ?? 5432), target.database, target.user];
  for (const line of lines) {
    if (line === "" || line.startsWith("#")) continue;
    const fields = [...line.matchAll(/((?:[^:\\]|\\.)*)(?::|$)/g)].map((match) => match[1]!.replace(/\\(.)/g, "$1"));
    if (fields.length >= 5 && wanted.every((value, index) => fields[index] === "*" || fields[index] === value)) return fields[4];
  }
  return undefined;
}
