import { createHash } from "node:crypto";
import type { Writable } from "node:stream";
import pg from "pg";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { systemRandom } from "../lib/random.ts";
import { Connection } from "./connection.ts";

/**
 * The connection to Postgres: the pool, statements, transactions. Everything outside `storage/` sees only the opaque
 * `ReadHandle` and `Txn`.
 *
 * Statements are SQL text with `$1` placeholders; each distinct text is prepared once a connection. Statements that are
 * issued without awaiting the one before are pipelined: they leave in one packet and are executed in order.
 */
declare const handle: unique symbol;

/** Something to read through: the pool (each statement sees its own snapshot) or a transaction. */
export interface ReadHandle {
  readonly [handle]: "read" | "txn";
}

/** An open transaction: the right to write. REPEATABLE READ unless asked otherwise. */
export interface Txn extends ReadHandle {
  readonly [handle]: "txn";
  /** Runs after the commit, in order of registration; never when the transaction rolls back. Must not throw. */
  afterCommit(fn: () => void): void;
  /** Runs when the attempt rolls back (also before a retry). */
  afterRollback(fn: () => void): void;
  /** Runs at the end of the attempt, after all other hooks, whether it was committed or rolled back. */
  afterEnd(fn: () => void): void;
}

export interface DatabaseOptions {
  host?: string;
  port?: number;
  user?: string;
  password?: string;
  database: string;
  ssl?: pg.ConnectionConfig["ssl"];
  /** Largest number of connections (Synapse's cp_max). */
  poolSize: number;
  /** Statement timeout in milliseconds; as Synapse, 10 minutes. */
  statementTimeoutMs?: number;
  /** Ends sessions that sit in a transaction for so long; as Synapse, 30 minutes. 0: never. */
  idleInTransactionSessionTimeoutMs?: number;
  /** `synchronous_commit` of each session; default true. */
  synchronousCommit?: boolean;
  /** How long connecting may take; default 15 seconds. */
  connectionTimeoutMs?: number | undefined;
  /** libpq's `options`, such as "-c search_path=synapse". */
  options?: string | undefined;
  /** A connection is replaced after it was used so often; 0: never. */
  txnLimit?: number;
  applicationName: string;
}

/**
 * What the function of a transaction returns when it need not see the answers of its last statements: COMMIT leaves together with them.
 * If one fails, so does the transaction. Nothing but statements may decide about it any more.
 */
export class LastStatements<T> {
  constructor(readonly done: Promise<T>) {
    done.catch(() => {}); // reported by the transaction
  }
}

export interface TransactionOptions {
  isolation?: "read committed" | "repeatable read";
  readOnly?: boolean;
}

/** What a finished statement tells the observers (metrics, the statement log of tests). */
export interface StatementRecord {
  sql: string;
  transaction: string | undefined;
  milliseconds: number;
}

/** What a finished transaction tells, one that was tried again once for each attempt. */
export interface TransactionRecord {
  name: string;
  /** From the begin to the end, with a connection at hand. */
  milliseconds: number;
  /** Until a connection was free. */
  waitedMilliseconds: number;
}

/** Thrown when Postgres cannot be reached: the edge answers 503, and the request may be repeated. */
export class DatabaseUnavailable extends Error {
  constructor(cause: unknown) {
    super("The database cannot be reached", { cause });
    this.name = "DatabaseUnavailable";
  }
}

// int8: a number while that is exact, else a bigint (only `depth` and `topological_ordering` can be that large).
pg.types.setTypeParser(20, (text) => {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : BigInt(text);
});
// bytea is read as Buffer (the default parser understands both output formats); json and jsonb are parsed by the default parser.

const MAX_ATTEMPTS = 5;
/** Attempts at a transaction that clashes with others. */
const MAX_CLASHES = 10; // as Synapse: five attempts in total

class Handle implements Txn {
  declare readonly [handle]: "txn";
  readonly commitHooks: (() => void)[] = [];
  readonly rollbackHooks: (() => void)[] = [];
  readonly endHooks: (() => void)[] = [];
  constructor(
    readonly run: (sql: string, params: readonly unknown[]) => Promise<pg.QueryResult>,
    readonly name: string | undefined,
  ) {}
  afterCommit(fn: () => void): void {
    this.commitHooks.push(fn);
  }
  afterRollback(fn: () => void): void {
    this.rollbackHooks.push(fn);
  }
  afterEnd(fn: () => void): void {
    this.endHooks.push(fn);
  }
}

export class Database {
  readonly read: ReadHandle;
  private readonly pool: pg.Pool;
  private closing = false;
  private readonly statementNames = new Map<string, string>();
  private readonly observers = new Set<(record: StatementRecord) => void>();
  private readonly transactionObservers = new Set<(record: TransactionRecord) => void>();

  constructor(
    options: DatabaseOptions,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {
    this.pool = new pg.Pool({
      host: options.host,
      port: options.port,
      user: options.user,
      password: options.password,
      database: options.database,
      ssl: options.ssl,
      max: options.poolSize,
      application_name: options.applicationName,
      connectionTimeoutMillis: options.connectionTimeoutMs ?? 15_000,
      ...(options.options === undefined ? {} : { options: options.options }),
      ...(options.txnLimit ? { maxUses: options.txnLimit } : {}),
      keepAlive: true,
      pipeline: true,
      Client: Connection,
    } as pg.PoolConfig);
    this.pool.on("error", (error) => {
      if (!this.closing) this.log.warn("A database connection broke", { error });
    });
    this.pool.on("connect", (client) => {
      client.on("error", () => {}); // the query in flight is told; the pool drops the client
      client
        .query(
          `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ;
           SET bytea_output TO escape;
           SET statement_timeout TO ${options.statementTimeoutMs ?? 600_000};
           SET idle_in_transaction_session_timeout TO ${options.idleInTransactionSessionTimeoutMs ?? 1_800_000};
           SET jit TO off;
           ${options.synchronousCommit === false ? "SET synchronous_commit TO off;" : ""}`,
        )
        .catch((error: unknown) => this.log.error("Could not set up a database connection", { error }));
    });
    this.read = new Handle((sql, params) => this.timed(undefined, sql, () => this.pool.query(this.statement(sql, params))), undefined);
  }

  /** Calls `fn` for each finished statement until the returned function is called. */
  observe(fn: (record: StatementRecord) => void): () => void {
    this.observers.add(fn);
    return () => this.observers.delete(fn);
  }

  /** Calls `fn` for each finished transaction until the returned function is called. */
  observeTransactions(fn: (record: TransactionRecord) => void): () => void {
    this.transactionObservers.add(fn);
    return () => this.transactionObservers.delete(fn);
  }

  /**
   * Runs `fn` in a transaction and commits. Lost connections are tried again, five attempts in total, and serialisation failures and
   * deadlocks, ten in total, so `fn` must have no effect but through `txn` and its hooks.
   * @throws DatabaseUnavailable when Postgres cannot be reached
   */
  async transaction<T>(name: string, fn: (txn: Txn) => Promise<T | LastStatements<T>>, options: TransactionOptions = {}): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.attempt(name, fn, options);
      } catch (error) {
        const lost = isConnectionError(error);
        if (attempt >= (lost ? MAX_ATTEMPTS : MAX_CLASHES) || !isRetryable(error)) throw asUnavailable(error);
        this.log.debug(`Transaction ${name} is tried again (attempt ${attempt + 1})`, { error });
        // Those that clashed must not meet again: each waits a time of its own.
        await this.clock.sleep(lost ? 50 * 2 ** attempt : 1 + systemRandom.below(2 ** Math.min(attempt + 1, 7)));
      }
    }
  }

  private async attempt<T>(name: string, fn: (txn: Txn) => Promise<T | LastStatements<T>>, options: TransactionOptions): Promise<T> {
    const asked = this.clock.monotonic();
    const client = await this.pool.connect();
    const begin = this.clock.monotonic();
    const txn = new Handle((sql, params) => this.timed(name, sql, () => submit(client, this.statement(sql, params))), name);
    let broken: Error | undefined;
    try {
      const level = options.isolation === "read committed" ? "READ COMMITTED" : "REPEATABLE READ";
      const begun = submit(client, `BEGIN ISOLATION LEVEL ${level}${options.readOnly ? " READ ONLY" : ""}`);
      begun.catch(() => {}); // reported by the first statement of fn, or by COMMIT
      const returned = await fn(txn);
      const isLast = returned instanceof LastStatements;
      const committing = isLast ? submit(client, "COMMIT") : undefined;
      committing?.catch(() => {}); // after a failed statement its own error is the one to tell
      const result = isLast ? await returned.done : returned;
      await begun;
      const end = await (committing ?? client.query("COMMIT"));
      // COMMIT of a transaction in which a statement failed is answered with ROLLBACK, not with an error.
      if (end.command === "ROLLBACK") throw new Error(`Transaction ${name} had a failed statement that nobody awaited`);
      for (const hook of txn.commitHooks) hook();
      return result;
    } catch (error) {
      await client.query("ROLLBACK").catch((e: unknown) => {
        broken = e instanceof Error ? e : new Error(String(e));
      });
      for (const hook of txn.rollbackHooks) hook();
      throw error;
    } finally {
      for (const hook of txn.endHooks) hook();
      client.release(broken);
      const record = { name, milliseconds: this.clock.monotonic() - begin, waitedMilliseconds: begin - asked };
      for (const observer of this.transactionObservers) observer(record);
    }
  }

  /** A dedicated connection for LISTEN or a session-level advisory lock; the caller ends it. */
  async dedicatedConnection(): Promise<pg.PoolClient> {
    return await this.pool.connect();
  }

  /** Numbers for metrics: connections open, idle, and requests waiting for one. */
  poolStats(): { total: number; idle: number; waiting: number } {
    return { total: this.pool.totalCount, idle: this.pool.idleCount, waiting: this.pool.waitingCount };
  }

  async close(): Promise<void> {
    this.closing = true;
    await this.pool.end();
  }

  private async timed(name: string | undefined, sql: string, fn: () => Promise<pg.QueryResult>): Promise<pg.QueryResult> {
    if (this.observers.size === 0) return fn();
    const start = this.clock.monotonic();
    try {
      return await fn();
    } finally {
      const record = { sql, transaction: name, milliseconds: this.clock.monotonic() - start };
      for (const observer of this.observers) observer(record);
    }
  }

  /** Texts without parameters are sent as they are; others are prepared under a name made of their hash. */
  private statement(sql: string, params: readonly unknown[]): pg.QueryConfig {
    if (params.length === 0) return { text: sql };
    let name = this.statementNames.get(sql);
    if (name === undefined) {
      name = "m" + createHash("sha1").update(sql).digest("base64url").slice(0, 20);
      // Texts are written by us and few; a runaway generator of texts must not fill the memory.
      if (this.statementNames.size < 5000) this.statementNames.set(sql, name);
      else return { text: sql, values: params as unknown[] };
    }
    return { name, text: sql, values: params as unknown[] };
  }
}

/** Connections that are told to hold back their output until the end of the turn. */
const corked = new WeakSet<object>();

/** What is issued in the same turn of the event loop leaves by one system call: those cost more than building the messages. */
function submit(client: pg.PoolClient, statement: string | pg.QueryConfig): Promise<pg.QueryResult> {
  const stream = (client as unknown as { connection?: { stream?: Writable } }).connection?.stream;
  if (stream !== undefined && !corked.has(stream)) {
    corked.add(stream);
    stream.cork();
    process.nextTick(() => {
      corked.delete(stream);
      stream.uncork();
    });
  }
  return client.query(statement);
}

/** Rows of a SELECT (or of INSERT/UPDATE/DELETE ... RETURNING, with a Txn). */
export async function query<Row extends object>(h: ReadHandle, sql: string, params: readonly unknown[] = []): Promise<Row[]> {
  return (await run(h, sql, params)).rows as Row[];
}

/** The first row, or undefined. */
export async function queryOne<Row extends object>(h: ReadHandle, sql: string, params: readonly unknown[] = []): Promise<Row | undefined> {
  return (await run(h, sql, params)).rows[0] as Row | undefined;
}

/** Runs a write; returns the number of rows it touched. */
export async function execute(txn: Txn, sql: string, params: readonly unknown[] = []): Promise<number> {
  return (await run(txn, sql, params)).rowCount ?? 0;
}

async function run(h: ReadHandle, sql: string, params: readonly unknown[]): Promise<pg.QueryResult> {
  try {
    return await (h as unknown as Handle).run(sql, params);
  } catch (error) {
    // Inside a transaction the raw error decides about a retry; outside it the caller learns of the outage.
    throw (h as unknown as Handle).name === undefined ? asUnavailable(error) : error;
  }
}

function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

function isConnectionError(error: unknown): boolean {
  const code = sqlState(error);
  if (code === undefined) return error instanceof Error && /Connection terminated|timeout exceeded when trying to connect|not queryable/.test(error.message);
  return code.startsWith("08") || code.startsWith("57P") || ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOENT", "ETIMEDOUT"].includes(code);
}

function isRetryable(error: unknown): boolean {
  const code = sqlState(error);
  return code === "40001" || code === "40P01" || isConnectionError(error);
}

function asUnavailable(error: unknown): unknown {
  return isConnectionError(error) ? new DatabaseUnavailable(error) : error;
}

/** True when `error` is a violation of a unique or primary key constraint. */
export function isUniqueViolation(error: unknown): boolean {
  return sqlState(error) === "23505";
}

/** True when `error` says that a row which must be there is not. */
export function isForeignKeyViolation(error: unknown): boolean {
  return sqlState(error) === "23503";
}

/** True when a value cannot be represented: U+0000 in text, a number out of range (SQLSTATE class 22). */
export function isDataException(error: unknown): boolean {
  return sqlState(error)?.startsWith("22") === true;
}
