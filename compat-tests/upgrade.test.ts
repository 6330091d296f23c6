import assert from "node:assert/strict";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { allowedAnswer } from "./allowed.ts";
import { makeWorld } from "./fixtures/make.ts";
import { goOn } from "./fixtures/traffic.ts";
import { Maker, type World } from "./fixtures/world.ts";
import { makeHome, OLD_FEATURES, type Home } from "./harness/home.ts";
import { checkInvariants, describeViolations } from "./harness/invariants.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { sleep, waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer } from "./harness/server.ts";
import { startSink, type Sink } from "./harness/sink.ts";
import { installSynapse, SynapseUnavailable } from "./harness/synapse.ts";
import { catalogue } from "./harness/tables.ts";
import { allReads } from "./reads.ts";
import { requireServers, sides } from "./sides.ts";
import { compareSnapshots, report, takeSnapshot, type Snapshot } from "./snapshot.ts";

/** Schema 88. */
const OLD = "1.119.0";
/** The rule that this old server breaks by itself, when it is busy: what it counted wrongly it goes on from. */
const COUNTS = "room_stats_current counts the members";
const roomOf = (row: object): unknown => (row as { room_id?: unknown }).room_id;

/** A database of an older Synapse is brought to the present by the one and by the other, with the same outcome. */
describe(`upgrade: a database of Synapse ${OLD}`, function () {
  this.timeout(15 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let sink: Sink;
  let server: RunningServer | undefined;
  let old: Home;
  let world: World;
  const upgraded: { kind: typeof a; home: Home; catalogue: string[]; snapshot: Snapshot; miscounted: object[] }[] = [];

  const settled = async (home: Home): Promise<void> => {
    await sleep(3000);
    await waitFor(
      "background updates are done",
      180_000,
      async () => ((await postgres.query(home.database, "SELECT 1 FROM background_updates LIMIT 1")).length === 0 ? true : undefined),
      1000,
    );
  };

  before(async function () {
    requireServers(this, a, b);
    try {
      installSynapse(OLD);
    } catch (error) {
      if (!(error instanceof SynapseUnavailable)) throw error;
      process.stderr.write(`    skipped: ${error.message}\n`);
      this.skip();
    }
    postgres = await acquirePostgres();
    sink = await startSink();
  });

  after(async () => {
    await server?.kill();
    await sink?.close();
    for (const home of [old, ...upgraded.map((each) => each.home)])
      if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  it("is made", async () => {
    old = await makeHome({ name: "upgrade-old", postgres, sinkUrl: sink.url, features: OLD_FEATURES });
    server = await startServer("synapse", old, { synapseVersion: OLD });
    world = (await makeWorld(old, sink.url)).world;
    await settled(old);
    await server.stop();
    server = undefined;
  });

  for (const [index, kind] of [a, b].entries()) {
    it(`is opened and brought to the present by ${index === 0 ? "the first" : "the second"}, ${kind}`, async () => {
      await server?.kill();
      const home = await makeHome({ name: `upgrade-${index}`, postgres, sinkUrl: sink.url });
      await postgres.createDatabase(home.database, old.database);
      for (const name of ["signing.key", "media"]) cpSync(join(old.folder, name), join(home.folder, name), { recursive: true });
      server = await startServer(kind, home, { readyMs: 120_000 });
      const entry = { kind, home, catalogue: [] as string[], snapshot: new Map() as Snapshot, miscounted: [] as object[] };
      upgraded.push(entry);
      await settled(home);
      entry.snapshot = await takeSnapshot(new Maker(home, world), allReads(world));
      await server.stop();
      server = undefined;
      entry.catalogue = await catalogue(postgres, home.database);
      const violations = await checkInvariants(postgres, home.database);
      entry.miscounted = violations.flatMap(({ rule, rows }) => (rule === COUNTS ? rows : []));
      const others = violations.filter(({ rule }) => rule !== COUNTS);
      assert.equal(others.length, 0, describeViolations(others));
    });
  }

  it("counts members after both as the old server did, who miscounted at times", () => {
    const [one, two] = upgraded.map((each) => each.miscounted.map((row) => JSON.stringify(row)).sort()) as [string[], string[]];
    assert.deepEqual(two, one);
  });

  it("has the same schema after both", () => {
    const [one, two] = upgraded.map((each) => each.catalogue) as [string[], string[]];
    const [first, second] = [new Set(one), new Set(two)];
    assert.deepEqual(
      { onlyFirst: one.filter((line) => !second.has(line)), onlySecond: two.filter((line) => !first.has(line)) },
      { onlyFirst: [], onlySecond: [] },
    );
  });

  it("gives the same answers after both", () => {
    const [one, two] = upgraded as [(typeof upgraded)[0], (typeof upgraded)[0]];
    const differences = compareSnapshots(one.snapshot, two.snapshot, (difference) =>
      /well-known|versions/.test(difference.read) ? "the address of the server" : allowedAnswer(difference),
    );
    const file = join(two.home.folder, "upgrade-differences.txt");
    writeFileSync(file, report(differences, 10_000));
    assert.equal(differences.length, 0, `${report(differences)}\n(all of them: ${file})`);
  });

  it(`goes on under ${a} after ${b} upgraded it`, async () => {
    const [one, two] = upgraded as [(typeof upgraded)[0], (typeof upgraded)[0]];
    server = await startServer(a, one.home);
    const usual = new Set(server.warnings());
    await server.stop();
    server = await startServer(a, two.home);
    assert.deepEqual(
      server.warnings().filter((line) => !usual.has(line)),
      [],
    );
    const maker = new Maker(two.home, structuredClone(world));
    await goOn(maker);
    assert.deepEqual(
      maker.failures.map(({ part, error }) => `${part}: ${error.message}`),
      [],
    );
    await settled(two.home);
    await server.stop();
    server = undefined;
    const rooms = new Set(two.miscounted.map(roomOf));
    const violations = (await checkInvariants(postgres, two.home.database)).filter(
      ({ rule, rows }) => rule !== COUNTS || !rows.every((row) => rooms.has(roomOf(row))),
    );
    assert.equal(violations.length, 0, describeViolations(violations));
  });
});
