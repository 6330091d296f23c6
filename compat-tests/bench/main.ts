import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeFederatedHome } from "../harness/federated.ts";
import type { Home } from "../harness/home.ts";
import { provideLxml } from "../harness/python-libraries.ts";
import { startPostgres, type PostgresServer } from "../harness/postgres.ts";
import { scratchRoot, sleep } from "../harness/scratch.ts";
import { startServer, type RunningServer, type ServerKind } from "../harness/server.ts";
import { closePeers, FEDERATION } from "./federation.ts";
import { LARGE } from "./large.ts";
import { closePages, MEDIA, PREVIEWS } from "./media.ts";
import { prepareDatabase } from "./prepared.ts";
import { figures, markdown, type Memory, type Result } from "./report.ts";
import { fullScale, newStage, type Scale, type Scenario, SCENARIOS } from "./scenarios.ts";
import { atRest, makeUsers, measure, rss, targetOfServer, targetOfUrl, type Target } from "./targets.ts";

const USAGE = `npm run bench -- [options] [URL...]

Measures Matrix servers side by side: each round runs on every server in turn, so that what else the machine does meets all alike.
Ratios are to the first server, and more is better.

  URL...              running servers to measure (open registration, or --shared-secret)
  --synapse           start real Synapse on an empty database and measure it
  --myelin            start Myelin (compiled) on an empty database and measure it
  --shared-secret X   registration_shared_secret of the URLs
  --scale N           part of the full size (default 1: 300 users, 200 rooms, 5,000 events; 2,000 rooms and 100,000 messages prepared)
  --rounds N          rounds (default 4)
  --only WORDS        scenarios whose names are, or contain, one of the comma-separated words (those they build on run too, unmeasured)
  --no-durable        Postgres without fsync
  --json FILE         write all figures as JSON
  --markdown FILE     write the tables
`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    allowNegative: true,
    options: {
      synapse: { type: "boolean" },
      myelin: { type: "boolean" },
      "shared-secret": { type: "string" },
      scale: { type: "string", default: "1" },
      rounds: { type: "string", default: "4" },
      only: { type: "string" },
      durable: { type: "boolean", default: true },
      json: { type: "string" },
      markdown: { type: "string" },
      help: { type: "boolean" },
    },
  });
  const kinds: ServerKind[] = [...(values.synapse ? (["synapse"] as const) : []), ...(values.myelin ? (["myelin"] as const) : [])];
  if (values.help || kinds.length + positionals.length === 0) {
    process.stdout.write(USAGE);
    return;
  }
  const scale = fullScale(Number(values.scale), Number(values.rounds));
  if (!(scale.users > 0) || !(scale.rounds > 0)) throw new Error("--scale and --rounds are positive numbers");
  const words = values.only?.split(",");
  const groups = [SCENARIOS, MEDIA, ...FEDERATION, LARGE];
  const names = new Set(groups.flat().map(({ name }) => name));
  // A whole name stands for itself alone.
  const measured = (name: string): boolean =>
    words === undefined || words.map((word) => word.trim()).some((word) => (names.has(word) ? name === word : name.includes(word)));

  // What comes after the last of a group's chosen ones is not built on.
  const chosen = (groups: readonly (readonly Scenario[])[]): Scenario[] =>
    groups.flatMap((group) => group.slice(0, group.findLastIndex(({ name }) => measured(name)) + 1));
  // Each group builds on itself alone.
  const onEmpty = chosen([SCENARIOS, MEDIA, ...FEDERATION]);
  const onPrepared = kinds.length === 0 ? [] : chosen([LARGE]);

  let postgres: PostgresServer | undefined;
  const servers: RunningServer[] = [];
  const start = async (kind: ServerKind, home: Home): Promise<RunningServer> => {
    const server = await startServer(kind, home, { compiled: true });
    servers.push(server);
    return server;
  };
  /** Files that were uploaded, logs. Kept where something went wrong. */
  const homes = new Set<string>();
  const stopAll = async (): Promise<void> => {
    for (const server of servers.splice(0)) {
      homes.add(server.home.folder);
      await server.stop().catch(() => server.kill());
    }
  };
  try {
    const results: Result[] = [];
    const memory: Memory[] = [];
    if (kinds.length > 0) postgres = await startPostgres({ durable: values.durable });
    if (kinds.includes("myelin") || onPrepared.length > 0) compile();
    if (onEmpty.length > 0) {
      if (kinds.includes("synapse")) provideLxml();
      const targets: Target[] = [];
      for (const kind of kinds)
        targets.push(
          targetOfServer(await start(kind, await makeFederatedHome({ name: `bench-${kind}`, postgres: postgres!, logLevel: "WARNING", extra: PREVIEWS }))),
        );
      for (const url of positionals) targets.push(targetOfUrl(url, values["shared-secret"]));
      const seen = await watchMemory(targets, servers);
      for (const target of targets) {
        note(`${target.label}: ${scale.users} users`);
        await makeUsers(target, scale.users);
      }
      results.push(...(await run(targets, scale, onEmpty, measured)));
      memory.push(...seen());
      await stopAll();
    }
    if (onPrepared.length > 0) {
      note(`a database with ${scale.manyRooms} rooms and ${scale.searchable} messages`);
      const prepared = await prepareDatabase(postgres!, scale);
      const targets: Target[] = [];
      for (const kind of kinds) {
        const server = await start(kind, await prepared.homeFor(kind));
        targets.push(targetOfServer(server, prepared.clients(server.baseUrl)));
      }
      const seen = await watchMemory(targets, servers, " (prepared)");
      results.push(...(await run(targets, scale, onPrepared, measured)));
      memory.push(...seen());
    }
    const all = figures(results);
    const table = markdown(all, memory);
    process.stdout.write(`\n${table}`);
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release(), node: process.version, scale, durable: values.durable };
    const file = values.json ?? join(scratchRoot(), "bench.json");
    writeFileSync(file, JSON.stringify({ machine, figures: all, memory }, undefined, 1));
    if (values.markdown !== undefined) writeFileSync(values.markdown, table);
    process.stdout.write(`\nJSON: ${file}\n`);
    await stopAll();
    for (const home of homes) rmSync(home, { recursive: true, force: true });
  } finally {
    await Promise.all([closePeers(), closePages()]);
    await stopAll();
    await postgres?.stop();
  }
}

const note = (text: string): boolean => process.stderr.write(`${text}\n`);

/** Notes the memory of idle servers; the function returned gives that and what they hold then. */
async function watchMemory(targets: readonly Target[], servers: readonly RunningServer[], suffix = ""): Promise<() => Memory[]> {
  await sleep(3000);
  const idle = targets.map(rss);
  return () =>
    targets.map((target, index) => ({
      target: target.label + suffix,
      idle: idle[index],
      after: rss(target),
      startupMs: servers.find((server) => server.baseUrl === target.baseUrl)?.startupMs,
    }));
}

async function run(targets: readonly Target[], scale: Scale, scenarios: readonly Scenario[], measured: (name: string) => boolean): Promise<Result[]> {
  const all = targets.map((target) => newStage(target, scale));
  const results: Result[] = [];
  for (const scenario of scenarios) {
    const stages = all.filter(({ target }) => scenario.applies?.(target) ?? true);
    if (stages.length === 0) continue;
    const own = stages.map((stage): Result => ({ scenario: scenario.name, what: scenario.what, target: stage.target.label, rounds: [] }));
    try {
      for (const stage of stages) await scenario.prepare?.(stage);
      for (let round = 0; round < scale.rounds * (scenario.repeat ?? 1); round++) {
        // Another server begins each round: being first is no one's advantage.
        for (let turn = 0; turn < stages.length; turn++) {
          const index = (round + turn) % stages.length;
          const stage = stages[index]!;
          await scenario.arrange?.(stage, round);
          await Promise.all(targets.map(atRest)); // what one still does is not to slow the other down
          own[index]!.rounds.push(await measure(stage.target, (done) => scenario.round(stage, round, done)));
        }
      }
    } catch (error) {
      // One server that does not come through does not take the other figures along.
      note(`${scenario.name}: given up: ${(error as Error).message}`);
      continue;
    }
    note(
      `${scenario.name}: ${own.map((result) => `${result.target} ${result.rounds.map((round) => (round.operations / round.seconds).toFixed(0)).join(" ")} ops/s`).join("; ")}`,
    );
    if (measured(scenario.name)) results.push(...own);
  }
  return results;
}

/** Myelin is measured as it is run: compiled. */
function compile(): void {
  const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
  try {
    execFileSync(process.execPath, [join(repository, "node_modules", "typescript", "bin", "tsc"), "-p", join(repository, "tsconfig.json")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    // Types that do not agree do not keep the compiler from writing its output.
    process.stderr.write(
      `tsc: ${String((error as { stdout?: Buffer }).stdout ?? error)
        .split("\n")
        .slice(0, 3)
        .join("\n")}\n`,
    );
  }
}

await main();
