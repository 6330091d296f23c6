import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { systemClock } from "../lib/clock.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../lib/embedded-postgres.ts";
import { isRunning } from "../lib/processes.ts";
import { silentLogger } from "../lib/log.ts";
import { Database } from "../storage/database.ts";
import { fullSchemaSql } from "../storage/schema/files.ts";
import { loadDump } from "./load-dump.ts";

/**
 * Databases for tests: each is cloned from a template, which is built once for each state of the schema.
 *
 * They live on the server of `MYELIN_TEST_DATABASE_URL` (a superuser's URL), else on an embedded one that is started with the first
 * database and stopped at the end of the run (`mocha-root.ts`).
 */
export interface TestDatabaseOptions {
  /** A plain SQL dump to start from instead of the empty schema: a path, see `fixtureDump`. */
  fixture?: string;
  /** False: a database with nothing in it, not even the schema. */
  schema?: boolean;
  /** Size of the pool; default 6. */
  poolSize?: number;
  /** `LC_COLLATE` and `LC_CTYPE` of a database without schema; default C. */
  locale?: string;
}

export interface TestDatabase {
  readonly database: Database;
  /** postgres://user:password@host:port/name */
  readonly url: string;
  readonly name: string;
  /** Closes `database` and removes it from the server, whoever is still connected. */
  drop(): Promise<void>;
}

const open = new Map<string, { origin: string; drop(): Promise<void> }>();
let embedded: Promise<EmbeddedPostgres> | undefined;
let admin: Promise<pg.Pool> | undefined;

/** A new database; about half a second: one for a `describe` (in `before`, dropped in `after`) is usually enough. */
export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const name = `myelin_test_${process.pid}_${randomBytes(5).toString("hex")}`;
  if (options.schema === false) await createEmpty(name, options.locale);
  else await cloneTemplate(name, options.fixture);
  const url = await urlOf(name);
  const database = connectTo(url, options.poolSize);
  let dropped = false;
  const drop = async (): Promise<void> => {
    if (dropped) return;
    dropped = true;
    open.delete(name);
    // A connection that a failed test did not give back must not hold the run up.
    const closed = database.close();
    await Promise.race([closed.catch(() => {}), systemClock.sleep(1000)]);
    await dropDatabase(name);
  };
  open.set(name, { origin: new Error().stack?.split("\n")[2]?.trim() ?? "", drop });
  return { database, url, name, drop };
}

/** A `Database` on that URL; the caller closes it. */
export function connectTo(url: string, poolSize = 6): Database {
  const { hostname, port, username, password, pathname } = new URL(url);
  return new Database(
    {
      host: hostname,
      port: Number(port || 5432),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
      poolSize,
      applicationName: "myelin-test",
      synchronousCommit: false,
    },
    systemClock,
    silentLogger,
  );
}

/** The dump of a fixture, or undefined when it is not on this machine. They lie in `MYELIN_FIXTURES`, else in `compat-tests/fixtures`. */
export function fixtureDump(name = "synapse-1.160-clients"): string | undefined {
  const folder = process.env["MYELIN_FIXTURES"] ?? fileURLToPath(new URL("../../compat-tests/fixtures", import.meta.url));
  const file = path.join(folder, name, "database.sql.gz");
  return existsSync(file) ? file : undefined;
}

/** Drops the databases that tests forgot; returns where each was made. */
export async function dropLeaked(): Promise<string[]> {
  const leaked = [...open.values()];
  for (const { drop } of leaked) await drop();
  return leaked.map(({ origin }) => origin);
}

/** Ends what this module started: connections and the embedded server. */
export async function stopTestDatabases(): Promise<void> {
  const [pool, server] = [admin, embedded];
  admin = embedded = undefined;
  await (await pool)?.end();
  if (server) {
    const { dataFolder, stop } = await server;
    await stop();
    rmSync(path.dirname(dataFolder), { recursive: true, force: true });
  }
}

// ------------------------------------------------------------------------------------------------------------------- the server

async function urlOf(database: string): Promise<string> {
  const given = process.env["MYELIN_TEST_DATABASE_URL"];
  if (!given) return (await (embedded ??= startForTests())).url(database);
  const url = new URL(given);
  url.pathname = `/${database}`;
  return url.href;
}

const EMBEDDED_PREFIX = "myelin-test-postgres-";

async function startForTests(): Promise<EmbeddedPostgres> {
  // A run that was killed could not stop its server: its folder names the process.
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(EMBEDDED_PREFIX) ? Number(name.slice(EMBEDDED_PREFIX.length).split("-")[0]) : 0;
    if (pid === 0 || isRunning(pid)) continue;
    const folder = path.join(tmpdir(), name);
    const server = Number(readIfThere(path.join(folder, "data", "postmaster.pid")).split("\n")[0]);
    if (server > 0 && readIfThere(`/proc/${server}/comm`).startsWith("postgres")) process.kill(server, "SIGQUIT");
    rmSync(folder, { recursive: true, force: true });
  }
  const folder = path.join(tmpdir(), `${EMBEDDED_PREFIX}${process.pid}-${randomBytes(4).toString("hex")}`);
  const server = await startEmbeddedPostgres({ dataFolder: path.join(folder, "data"), durable: false, log: silentLogger });
  process.once("exit", () => {
    // Only when the run ends without its teardown (an exception, process.exit).
    if (!embedded) return;
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  return server;
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

async function adminPool(): Promise<pg.Pool> {
  return await (admin ??= (async () => {
    const pool = new pg.Pool({ connectionString: process.env["MYELIN_TEST_DATABASE_URL"] ?? (await urlOf("postgres")), max: 3, allowExitOnIdle: true });
    pool.on("error", () => {});
    await dropAbandoned(pool);
    return pool;
  })());
}

/** Databases of runs that were killed on this machine. */
async function dropAbandoned(pool: pg.Pool): Promise<void> {
  const host = new URL(await urlOf("postgres")).hostname;
  if (host !== "127.0.0.1" && host !== "localhost") return; // process numbers of other machines say nothing
  const { rows } = await pool.query<{ datname: string }>("SELECT datname FROM pg_database WHERE datname LIKE 'myelin\\_test\\_%'");
  for (const { datname } of rows) {
    if (!isRunning(Number(datname.split("_")[2]))) await pool.query(`DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
  }
}

async function dropDatabase(name: string): Promise<void> {
  await (await adminPool()).query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

// ----------------------------------------------------------------------------------------------------------------- the templates

async function createEmpty(name: string, locale = "C"): Promise<void> {
  await (await adminPool()).query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE '${locale}' LC_CTYPE '${locale}'`);
}

async function cloneTemplate(name: string, fixture: string | undefined): Promise<void> {
  const pool = await adminPool();
  for (let attempt = 1; ; attempt++) {
    const template = await ensureTemplate(pool, fixture);
    try {
      await pool.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
      return;
    } catch (error) {
      // A run with another schema has just removed it.
      if ((error as { code?: string }).code !== "3D000" || attempt === 3) throw error;
    }
  }
}

const ensured = new Set<string>();

/** The template for the schema or the fixture, built when it is not there: by one process, while others wait. */
async function ensureTemplate(pool: pg.Pool, fixture: string | undefined): Promise<string> {
  const kind = fixture === undefined ? "myelin_template_" : "myelin_fixture_";
  const content = fixture === undefined ? fullSchemaSql() : readFileSync(fixture);
  const template = kind + createHash("sha256").update(content).digest("hex").slice(0, 12);
  if (ensured.has(template)) {
    ensured.delete(template); // asked again after a failure: look once more
    if (await exists(pool, template)) return ensured.add(template) && template;
  }
  const client = await pool.connect();
  try {
    await client.query("SELECT pg_advisory_lock(hashtext('myelin test templates'))");
    if (!(await exists(pool, template))) {
      const { rows } = await client.query<{ datname: string }>("SELECT datname FROM pg_database WHERE datname LIKE $1", [`${kind.replaceAll("_", "\\_")}%`]);
      for (const { datname } of rows) {
        await client.query(`ALTER DATABASE ${datname} IS_TEMPLATE false`);
        await client.query(`DROP DATABASE ${datname} WITH (FORCE)`);
      }
      const draft = `myelin_draft_${randomBytes(5).toString("hex")}`;
      await createEmpty(draft);
      const loader = new pg.Client({ connectionString: await urlOf(draft) });
      await loader.connect();
      try {
        if (fixture === undefined) await loader.query(`BEGIN;\n${fullSchemaSql()}\nCOMMIT;`);
        else await loadDump(loader, fixture);
      } finally {
        await loader.end();
      }
      await client.query(`ALTER DATABASE ${draft} RENAME TO ${template}`);
      await client.query(`ALTER DATABASE ${template} IS_TEMPLATE true ALLOW_CONNECTIONS false`);
    }
    ensured.add(template);
  } finally {
    await client.query("SELECT pg_advisory_unlock(hashtext('myelin test templates'))").catch(() => {});
    client.release();
  }
  return template;
}

async function exists(pool: pg.Pool, database: string): Promise<boolean> {
  return (await pool.query("SELECT FROM pg_database WHERE datname = $1", [database])).rowCount === 1;
}
