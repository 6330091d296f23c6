import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ALLOWED_COLUMNS, ALLOWED_TABLES, TABLE_VIEWS } from "./allowed.ts";
import { makeWorld } from "./fixtures/make.ts";
import { goOn } from "./fixtures/traffic.ts";
import type { Maker } from "./fixtures/world.ts";
import { makeHome, shareIdentity, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { sleep, waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer, type ServerKind } from "./harness/server.ts";
import { startSink, type Sink } from "./harness/sink.ts";
import { catalogue, compareTables, describeTables } from "./harness/tables.ts";
import { requireServers, sides } from "./sides.ts";

/** The same traffic on two empty databases, one server each: then the tables must tell the same. */
describe("parity: the same traffic leaves the same rows", function () {
  this.timeout(15 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let sink: Sink;
  const runs: { kind: ServerKind; home: Home; maker?: Maker }[] = [];
  let server: RunningServer | undefined;

  before(async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    sink = await startSink();
    for (const [index, kind] of [a, b].entries()) runs.push({ kind, home: await makeHome({ name: `parity-${index}`, postgres, sinkUrl: sink.url }) });
    shareIdentity(runs[0]!.home, runs[1]!.home);
  });

  after(async () => {
    await server?.kill();
    await sink?.close();
    if (process.env["COMPAT_KEEP"] === undefined) for (const { home } of runs) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  for (const [index, kind] of [a, b].entries()) {
    it(`the traffic runs on ${index === 0 ? "the first" : "the second"}, ${kind}`, async () => {
      await server?.kill(); // where the one before failed
      const run = runs[index]!;
      server = await startServer(run.kind, run.home);
      run.maker = await makeWorld(run.home, sink.url);
      await goOn(run.maker);
      const failures = run.maker.failures.splice(0);
      await sleep(5000); // statistics, directory, device lists and pushes follow behind
      await waitFor(
        "background updates are done",
        120_000,
        async () => ((await postgres.query(run.home.database, "SELECT 1 FROM background_updates LIMIT 1")).length === 0 ? true : undefined),
        1000,
      );
      await server.stop();
      server = undefined;
      assert.deepEqual(
        failures.map(({ part, error }) => `${part}: ${error.message}`),
        [],
      );
    });
  }

  it("both made the same schema", async () => {
    const [one, two] = [await catalogue(postgres, runs[0]!.home.database), await catalogue(postgres, runs[1]!.home.database)];
    const [first, second] = [new Set(one), new Set(two)];
    assert.deepEqual(
      { onlyFirst: one.filter((line) => !second.has(line)), onlySecond: two.filter((line) => !first.has(line)) },
      { onlyFirst: [], onlySecond: [] },
    );
  });

  it("both answered each request alike", () => {
    const [one, two] = runs.map(({ maker }) =>
      maker?.trace.map(
        ({ method, path, status }) => `${method} ${path.replaceAll(/[!$][\w%.\-:]+|%21[\w%.-]+|%24[\w%.-]+|\d{3,}|[A-Za-z]{18,}/g, "*")} ${status}`,
      ),
    ) as [string[], string[]];
    assert.ok(one !== undefined && two !== undefined, "both sides ran");
    assert.deepEqual(two.filter((line, at) => line !== one[at]).slice(0, 20), one.filter((line, at) => line !== two[at]).slice(0, 20));
  });

  it("both left the same rows in every table", async () => {
    const [one, two] = runs.map(({ home, maker }) => ({ postgres, database: home.database, trace: maker?.trace ?? assert.fail("a side did not run") }));
    const differences = await compareTables(one!, two!, { tables: ALLOWED_TABLES, columns: ALLOWED_COLUMNS, views: TABLE_VIEWS });
    const file = join(runs[1]!.home.folder, "table-differences.txt");
    writeFileSync(file, describeTables(differences));
    assert.equal(differences.length, 0, `${describeTables(differences).slice(0, 20_000)}\n(all of them: ${file})`);
  });
});
