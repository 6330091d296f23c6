import { ConfigError } from "../src/config/errors.ts";
import { parseTracked, type ParseOptions } from "../src/config/config.ts";
import { configDirectory, readConfigFiles } from "../src/config/load.ts";
import { ReadTracker } from "../src/config/reader.ts";
import { examineOptions } from "../src/config/unknown-options.ts";
import type { Clock } from "../src/lib/clock.ts";
import type { Random } from "../src/lib/random.ts";
import type { Txn } from "../src/storage/database.ts";
import { describeDatabase } from "../src/storage/schema/compare.ts";
import { SCHEMA_VERSION } from "../src/storage/schema/deltas.ts";
import { CONFIG_CHECKS, DATABASE_CHECKS } from "./checks.ts";
import { connect, connectionProblem } from "./connect.ts";
import type { CheckContext, ConfigContext, DatabaseCheck, Target } from "./context.ts";
import { blocker, type Draft, type Finding, note, warning } from "./finding.ts";
import { chooseBlocks, eventRange, type Sampling, stateGroupRange } from "./queries/blocks.ts";
import { type DatabaseFacts, readFacts } from "./queries/facts.ts";
import { beginCheck, keepCheck, undoCheck, useReadOnlySession } from "./queries/session.ts";
import { type MyelinProcess, processList } from "./process-list.ts";
import { readWorkerFiles, type WorkerFile } from "./worker-files.ts";

export interface CheckOptions {
  readonly target: Target;
  readonly configPaths: readonly string[];
  readonly keysDirectory?: string | undefined;
  /** Files of workers, and folders of them. */
  readonly workerPaths?: readonly string[];
  /** Absolute. */
  readonly workingDirectory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Verify samples, and read whole tables where that is needed. */
  readonly deep?: boolean;
  /** Look at the configuration alone. */
  readonly configOnly?: boolean;
  readonly clock: Clock;
  readonly random: Random;
  /** Told before each check of the database. */
  readonly progress?: (check: string, done: number, of: number) => void | Promise<void>;
}

export interface Report {
  readonly target: Target;
  readonly verdict: "ready" | "warnings" | "blocked";
  /** 0, 1 or 2, by the verdict. */
  readonly exitStatus: 0 | 1 | 2;
  readonly deep: boolean;
  /** Undefined when the configuration could not be read. */
  readonly serverName: string | undefined;
  readonly configFiles: readonly string[];
  /** Undefined when the database was not looked at. */
  readonly database: DatabaseSummary | undefined;
  /** What Myelin would run instead of Synapse's processes. */
  readonly processes: readonly MyelinProcess[];
  readonly options: ConfigContext["options"];
  readonly findings: readonly Finding[];
  readonly elapsedMs: number;
}

export interface DatabaseSummary {
  readonly name: string;
  readonly postgres: string;
  readonly bytes: number;
  readonly schemaVersion: number | undefined;
  /** Estimates. */
  readonly events: number;
  readonly rooms: number;
  readonly users: number;
}

/** Looks at a deployment, changing nothing, and says what the swap would come to. Never throws for what an admin can put right. */
export async function check(options: CheckOptions): Promise<Report> {
  const start = options.clock.monotonic();
  const findings: Finding[] = [];
  const report = (ctx: Pick<ConfigContext, "config" | "files" | "options" | "workers"> | undefined, facts: DatabaseFacts | undefined): Report => ({
    target: options.target,
    ...verdictOf(findings),
    deep: options.deep ?? false,
    serverName: ctx?.config.server.serverName,
    configFiles: ctx?.files ?? [],
    database: facts && summary(facts),
    processes: ctx === undefined || options.target === "synapse" ? [] : processList(ctx.config, ctx.files, ctx.workers),
    options: ctx?.options ?? [],
    findings,
    elapsedMs: Math.round(options.clock.monotonic() - start),
  });
  let ctx: ConfigContext;
  try {
    ctx = readConfiguration(options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    findings.push({ ...configProblem(error, options.target), check: "configuration" });
    return report(undefined, undefined);
  }
  for (const each of CONFIG_CHECKS) {
    if (each.only !== undefined && each.only !== options.target) continue;
    for (const draft of await each.run(ctx)) findings.push({ ...draft, check: each.name });
  }
  if (options.configOnly || ctx.config.myelin.embeddedPostgres !== undefined) return report(ctx, undefined);
  const facts = await checkDatabase(ctx, options, findings);
  return report(ctx, facts);
}

/** The configuration as the checks see it. @throws ConfigError */
export function readConfiguration(options: CheckOptions): ConfigContext {
  const { values, files } = readConfigFiles(options.configPaths, options.workingDirectory);
  const parse: ParseOptions = {
    configDir: configDirectory(files, options.keysDirectory, options.workingDirectory),
    dataDir: options.workingDirectory,
    env: options.env,
  };
  const tracker = new ReadTracker();
  const config = parseTracked(values, parse, tracker);
  const workers: WorkerFile[] = readWorkerFiles(options.workerPaths ?? [], values, parse);
  const { target, clock, random, deep = false } = options;
  return { target, config, raw: values, files, options: examineOptions(values, tracker), workers, clock, random, deep };
}

/** Options whose refusal is the answer to one of the risks. */
const RISK_OF_OPTION: Readonly<Record<string, string>> = { databases: "risk-09", signing_key: "risk-39", signing_key_path: "risk-39" };

function configProblem(error: ConfigError, target: Target): Draft {
  return blocker((error.path !== undefined && RISK_OF_OPTION[error.path]) || "risk-97", {
    what: `The configuration cannot be used: ${error.message}`,
    why: target === "myelin" ? "Myelin would not start on it, and nothing else could be looked at." : "Nothing else could be looked at.",
    todo: "Correct it (or the path given by --config-path), and check again.",
  });
}

async function checkDatabase(ctx: ConfigContext, options: CheckOptions, findings: Finding[]): Promise<DatabaseFacts | undefined> {
  const statementTimeout = options.deep ? 600_000 : 4000;
  let found: Finding[] = [];
  let facts: DatabaseFacts | undefined;
  try {
    const db = await connect(ctx.config, ctx.clock, statementTimeout);
    try {
      await db.transaction(
        "check",
        async (txn) => {
          found = [];
          await useReadOnlySession(txn);
          ({ facts, findings: found } = await examineDatabase(ctx, txn, options));
        },
        { readOnly: true },
      );
    } finally {
      await db.close();
    }
  } catch (error) {
    found.push({ ...connectionProblem(error, ctx.config), check: "connection" });
  }
  findings.push(...found);
  return facts;
}

const QUICK: { events: Sampling; groups: Sampling } = { events: { newest: 3000, blocks: 8, length: 250 }, groups: { newest: 500, blocks: 8, length: 50 } };
const DEEP: { events: Sampling; groups: Sampling } = {
  events: { newest: 20_000, blocks: 60, length: 1000 },
  groups: { newest: 2000, blocks: 40, length: 200 },
};

/** All checks of the database, as this transaction sees it. */
export async function examineDatabase(
  config: ConfigContext,
  txn: Txn,
  options: Pick<CheckOptions, "target" | "deep" | "progress">,
): Promise<{ facts: DatabaseFacts; findings: Finding[] }> {
  const facts = await readFacts(txn);
  const findings: Finding[] = [];
  const usable = facts.schema !== undefined && facts.tables.has("events") && facts.tables.has("state_groups");
  let catalogue: Promise<Map<string, string>> | undefined;
  const sampling = options.deep ? DEEP : QUICK;
  const ctx: CheckContext = {
    ...config,
    read: txn,
    facts,
    catalogue: () => (catalogue ??= describeDatabase(txn)),
    events: usable ? chooseBlocks(await eventRange(txn), sampling.events, config.random) : [],
    stateGroups: usable ? chooseBlocks(await stateGroupRange(txn), sampling.groups, config.random) : [],
  };
  const checks = DATABASE_CHECKS.filter(
    (each) => (each.only === undefined || each.only === options.target) && (!each.deep || options.deep) && (usable || each.withoutSchema === true),
  );
  for (const [index, each] of checks.entries()) {
    await options.progress?.(each.name, index, checks.length);
    for (const draft of await runOne(each, ctx, txn)) findings.push({ ...draft, check: each.name });
  }
  return { facts, findings };
}

/** A check that fails, because the database is not as it should be or changes meanwhile, must not end the others. */
async function runOne(each: DatabaseCheck, ctx: CheckContext, txn: Txn): Promise<readonly Draft[]> {
  await beginCheck(txn);
  try {
    const drafts = await each.run(ctx);
    await keepCheck(txn);
    return drafts;
  } catch (error) {
    const draft = failure(each, error, ctx);
    if (draft === undefined) throw error;
    await undoCheck(txn);
    return [draft];
  }
}

/** Undefined when the connection broke: then nothing goes on. */
function failure(each: DatabaseCheck, error: unknown, { facts }: CheckContext): Draft | undefined {
  const { code, message } = error as { code?: unknown; message?: string };
  if (/Connection terminated|not queryable/.test(message ?? "")) return undefined;
  if (typeof code === "string" && /^(?:08|57P|40001|E[A-Z]{3,}$)/.test(code)) return undefined;
  const id = each.risks.length > 0 ? `risk-${String(each.risks[0]).padStart(2, "0")}` : each.name;
  if ((code === "42P01" || code === "42703") && facts.schema !== undefined && facts.schema.version < SCHEMA_VERSION) {
    const why = `It looks at what only schema ${SCHEMA_VERSION} has, and this one is ${facts.schema.version}.`;
    return note(id, { what: `The check ${each.name} was left`, why, todo: "Check again after the upgrade, when you like." });
  }
  if (code === "57014") {
    const todo = "Check again when the database is less busy, or with --deep, which takes its time.";
    return note(id, { what: `The check ${each.name} took too long and was left`, why: "It reads little; the database is busy, or an index is missing.", todo });
  }
  if (code === "55P03") {
    return note(id, {
      what: `The check ${each.name} would have had to wait for a lock`,
      why: "A table is being changed just now.",
      todo: "Check again in a while.",
    });
  }
  if (code === "42501") {
    return warning(id, {
      what: `The check ${each.name} may not read what it needs: ${message}`,
      why: "The server would not be able to, either.",
      todo: "Grant the user the rights that the owner of the tables has.",
    });
  }
  return warning(id, {
    what: `The check ${each.name} could not be made: ${message}`,
    why: "The database is not as Synapse 1.160 makes it, or changed while it was looked at.",
    todo: "Look at the findings about the schema, and check again.",
  });
}

function verdictOf(findings: readonly Finding[]): Pick<Report, "verdict" | "exitStatus"> {
  if (findings.some(({ level }) => level === "blocker")) return { verdict: "blocked", exitStatus: 2 };
  if (findings.some(({ level }) => level === "warning")) return { verdict: "warnings", exitStatus: 1 };
  return { verdict: "ready", exitStatus: 0 };
}

function summary(facts: DatabaseFacts): DatabaseSummary {
  const estimate = (table: string): number => facts.rows.get(table) ?? 0;
  const { database: name, release: postgres, size: bytes, schema } = facts;
  return { name, postgres, bytes, schemaVersion: schema?.version, events: estimate("events"), rooms: estimate("rooms"), users: estimate("users") };
}
