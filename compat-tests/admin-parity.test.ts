import assert from "node:assert/strict";
import { cpSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adminScript, type AdminAnswer, compareAnswers } from "./admin-script.ts";
import { ALLOWED_ADMIN_TABLES, allowedAdminAnswer } from "./allowed.ts";
import { makeWorld } from "./fixtures/make.ts";
import type { Maker } from "./fixtures/world.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { checkInvariants, describeViolations } from "./harness/invariants.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { sleep, waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer } from "./harness/server.ts";
import { startSink, type Sink } from "./harness/sink.ts";
import { requireServers, sides } from "./sides.ts";

/** The whole admin API, asked of two servers that start from copies of the same database and media store. */
describe("admin parity: two servers answer an admin alike", function () {
  this.timeout(15 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let sink: Sink;
  let home: Home;
  let maker: Maker;
  let server: RunningServer | undefined;
  const answers: AdminAnswer[][] = [];
  const counts: Map<string, number>[] = [];
  const copy = (): string => `${home.database}_world`;
  const mediaCopy = (): string => join(home.folder, "media.world");

  const rowCounts = async (): Promise<Map<string, number>> => {
    const tables = await postgres.query<{ name: string }>(home.database, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'");
    const found = new Map<string, number>();
    for (const { name } of tables)
      found.set(name, Number((await postgres.query<{ count: number }>(home.database, `SELECT count(*) AS count FROM ${name}`))[0]!.count));
    return found;
  };

  before(async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    sink = await startSink();
    home = await makeHome({ name: "admin", postgres, sinkUrl: sink.url });
    server = await startServer(a, home);
    maker = await makeWorld(home, sink.url);
    await sleep(4000); // statistics and the directory follow behind
    await waitFor(
      "background updates are done",
      120_000,
      async () => ((await postgres.query(home.database, "SELECT 1 FROM background_updates LIMIT 1")).length === 0 ? true : undefined),
      1000,
    );
    await server.stop();
    server = undefined;
    await postgres.createDatabase(copy(), home.database);
    cpSync(join(home.folder, "media"), mediaCopy(), { recursive: true });
  });

  after(async () => {
    await server?.kill();
    await sink?.close();
    if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) for (const database of [copy(), home.database]) await postgres.dropDatabase(database);
    await postgres?.stop();
  });

  for (const kind of [a, b]) {
    it(`${kind} is asked, and leaves a sound database`, async () => {
      await server?.kill();
      await postgres.createDatabase(home.database, copy());
      rmSync(join(home.folder, "media"), { recursive: true, force: true });
      cpSync(mediaCopy(), join(home.folder, "media"), { recursive: true });
      server = await startServer(kind, home);
      answers.push(await adminScript(maker));
      assert.ok(answers.at(-1)!.length > 500);
      await sleep(4000); // statistics and the directory follow behind
      await server.stop();
      server = undefined;
      counts.push(await rowCounts());
      const violations = await checkInvariants(postgres, home.database);
      assert.equal(violations.length, 0, describeViolations(violations));
    });
  }

  it("both left as many rows in each table", () => {
    const [one, two] = counts;
    assert.ok(one !== undefined && two !== undefined, "both were asked");
    const tables = [...one].filter(([table]) => !ALLOWED_ADMIN_TABLES.has(table));
    assert.deepEqual(
      tables.filter(([table, count]) => two.get(table) !== count).map(([table, count]) => `${table}: ${count}, ${two.get(table)}`),
      [],
    );
  });

  it("the answers are the same", () => {
    const [one, two] = answers;
    assert.ok(one !== undefined && two !== undefined, "both were asked");
    const differences = compareAnswers(one, two).filter((line) => allowedAdminAnswer(line) === undefined);
    const file = join(home.folder, "admin-differences.txt");
    writeFileSync(file, differences.join("\n"));
    assert.equal(differences.length, 0, `${differences.slice(0, 40).join("\n")}\n(all ${differences.length}: ${file})`);
  });
});
