import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { allowedAnswer } from "./allowed.ts";
import { delayAcross, delayedArrives } from "./fixtures/accounts.ts";
import { makeWorld } from "./fixtures/make.ts";
import { goOn, slidingRequest } from "./fixtures/traffic.ts";
import type { Maker } from "./fixtures/world.ts";
import { C, enc } from "./harness/client.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { checkInvariants, describeViolations } from "./harness/invariants.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { sleep, waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer } from "./harness/server.ts";
import { startSink, type Sink } from "./harness/sink.ts";
import { allowedProbe, outline, probes } from "./probes.ts";
import { allReads } from "./reads.ts";
import { requireServers, sides } from "./sides.ts";
import { compareSnapshots, report, takeSnapshot, type Snapshot } from "./snapshot.ts";

/** The same database, handed from one server to the other and back, twice. */
describe("swap: one database, two servers in turn", function () {
  this.timeout(20 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let sink: Sink;
  let home: Home;
  let maker: Maker;
  let last: Snapshot;
  let odd: Snapshot;
  let server: RunningServer | undefined;
  /** What Synapse warns of when it starts on its own data: only more than this is new. */
  let usualWarnings: Set<string>;

  const running = (): RunningServer => server ?? assert.fail("the server is not running: see the failure above");
  const snapshot = (): Promise<Snapshot> => takeSnapshot(maker, allReads(maker.world));
  /** Statistics, directory, device lists and pushes follow behind; background updates of a new database take a while. */
  const settle = async (): Promise<void> => {
    await sleep(4000);
    await waitFor(
      "background updates are done",
      120_000,
      async () => ((await postgres.query(home.database, "SELECT 1 FROM background_updates LIMIT 1")).length === 0 ? true : undefined),
      1000,
    );
  };
  const stopAndCheck = async (): Promise<void> => {
    await running().stop();
    server = undefined;
    const violations = await checkInvariants(postgres, home.database);
    assert.equal(violations.length, 0, `invariants broken:\n${describeViolations(violations)}`);
  };

  before("two servers can be had", async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    sink = await startSink();
    home = await makeHome({ name: "swap", postgres, sinkUrl: sink.url });
  });

  after(async () => {
    await server?.kill();
    await sink?.close();
    if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  describe(`leg 1: ${a} makes the world`, () => {
    it("on an empty database", async () => {
      server = await startServer(a, home);
      maker = await makeWorld(home, sink.url);
      await settle();
    });
    it("and leaves a sound database when it stops", stopAndCheck);
    it("and answers the same after a restart", async () => {
      server = await startServer(a, home);
      usualWarnings = new Set(server.warnings());
      const one = await snapshot();
      last = await snapshot();
      assert.equal(report(compareSnapshots(one, last, allowedAnswer)), report([]));
      odd = outline(await takeSnapshot(maker, probes(maker.world)));
      await stopAndCheck();
    });
  });

  for (const [index, kind] of [b, a, b, a].entries()) {
    const leg = index + 2;
    describe(`leg ${leg}: ${kind} takes over`, () => {
      before(async () => {
        await server?.kill(); // where the leg before failed
        server = undefined;
      });

      it("starts without a new warning", async () => {
        server = await startServer(kind, home);
        assert.deepEqual(
          server.warnings().filter((line) => !usualWarnings.has(line)),
          [],
        );
      });

      it("answers every read as the server before", async () => {
        running();
        const now = await snapshot();
        const differences = compareSnapshots(last, now, allowedAnswer);
        const file = join(home.folder, `leg${leg}-differences.txt`);
        writeFileSync(file, report(differences, 10_000));
        assert.equal(differences.length, 0, `${report(differences)}\n(all of them: ${file})`);
      });

      if (leg === 2)
        it("answers odd requests with the same status and code", async () => {
          const now = outline(await takeSnapshot(maker, probes(maker.world)));
          const failed = [...now].flatMap(([read, { status }]) => (kind === "myelin" && status === 500 ? [`${read}: ${status}`] : []));
          assert.deepEqual(failed, [], "Myelin never fails at what it is asked");
          const differences = compareSnapshots(odd, now, allowedProbe);
          assert.equal(differences.length, 0, report(differences));
        });

      it("goes on with sliding sync connections of the server before", async () => {
        running();
        const connection = maker.world.sliding.at(-1)!;
        const answer = await maker.as(connection.person, connection.device).request("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", {
          query: { pos: connection.pos, timeout: 0 },
          body: slidingRequest(connection.connection),
        });
        assert.equal(answer.status, 200, answer.raw.toString("utf8"));
        // The connection has seen every room: what is not new is not sent whole again.
        const initial = Object.entries<{ initial?: boolean }>(answer.body.rooms)
          .filter(([, room]) => room.initial)
          .map(([id]) => id);
        assert.deepEqual(initial, []);
        // What happens now comes alone.
        const lobby = maker.room("lobby");
        const event = await maker.as("hana").text(lobby.id, `for sliding sync, leg ${leg}`);
        const next = await maker.as(connection.person, connection.device).request("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", {
          query: { pos: answer.body.pos, timeout: 20_000 },
          body: slidingRequest(connection.connection),
        });
        assert.equal(next.status, 200, next.raw.toString("utf8"));
        const room = next.body.rooms[lobby.id];
        assert.deepEqual(
          room.timeline.map((each: { event_id: string }) => each.event_id),
          [event],
        );
        assert.equal(room.initial ?? false, false);
        const members = (room.required_state ?? []).filter(
          (each: { type: string; sender: string }) => each.type !== "m.room.member" || each.sender !== maker.id("hana"),
        );
        assert.deepEqual(members, []);
      });

      it("knows the transaction ids of the server before", async () => {
        running();
        const lobby = maker.room("lobby");
        const txn = `swap ${leg}`;
        const first = await maker.as("hana").send(lobby.id, "m.room.message", { msgtype: "m.text", body: txn }, txn);
        if (leg > 2) {
          const again = await maker.as("hana").send(lobby.id, "m.room.message", { msgtype: "m.text", body: "again" }, `swap ${leg - 1}`);
          assert.equal(again, lobby.events[`txn ${leg - 1}`]);
        }
        lobby.events[`txn ${leg}`] = first;
      });

      it("hands out the to-device messages that waited, once and in order", async () => {
        running();
        const bob = maker.as("bob", 0);
        const first = await bob.sync({ filter: '{"room":{"timeline":{"limit":1}}}' });
        const got = (first.to_device?.events ?? [])
          .filter((event: { type: string }) => event.type === "m.room.encrypted")
          .map((event: { content: Record<string, string> }) => event.content["org.matrix.msgid"]);
        assert.deepEqual(got, [leg === 2 ? "make one" : `leg ${leg - 2} one`]);
        const second = await bob.sync({ since: first.next_batch, timeout: 0 });
        assert.deepEqual(second.to_device?.events ?? [], []);
      });

      it("takes writes of every kind", async () => {
        running();
        await goOn(maker);
        await settle();
        const failures = maker.failures.splice(0);
        assert.deepEqual(
          failures.map(({ part, error }) => `${part}: ${error.message}`),
          [],
        );
      });

      it("sends bridges and push gateways each event once", async () => {
        running();
        const ids = sink.transactions.flatMap(({ body }) => body.events.map((event: { event_id: string }) => event.event_id));
        assert.deepEqual(
          ids.filter((id: string, at: number) => ids.indexOf(id) !== at),
          [],
          "events twice to the application service",
        );
        const lobby = maker.room("lobby");
        const missing = Object.values(lobby.events).filter((id) => !ids.includes(id));
        assert.deepEqual(missing, [], "events not sent to the application service");
        await waitFor("the receipt of this leg reaches the application service", 20_000, () =>
          sink.transactions
            .flatMap(({ body }) => body.ephemeral ?? body["de.sorunome.msc2409.ephemeral"] ?? [])
            .filter((edu: { type: string; room_id: string }) => edu.type === "m.receipt" && edu.room_id === lobby.id)
            .some((edu: { content: object }) => Object.hasOwn(edu.content, lobby.events[`mention leg ${maker.world.leg}`]!))
            ? true
            : undefined,
        );
        const pushed = sink.pushes.filter((push) => push.event_id !== undefined).map((push) => `${push.event_id} ${push.devices[0].pushkey}`);
        assert.deepEqual(
          pushed.filter((each, at) => pushed.indexOf(each) !== at),
          [],
          "pushed twice",
        );
        assert.ok(
          pushed.some((each) => each.startsWith(lobby.events[`mention leg ${maker.world.leg}`]!)),
          "the mention of this leg was not pushed",
        );
      });

      it("keeps users with old tokens logged in, and refresh tokens alive", async () => {
        running();
        for (const person of ["alice", "bob", "carol", "dave", "kim", "bridge", "guest"]) {
          for (let device = 0; device < maker.world.people[person]!.sessions.length; device++) {
            const { user_id } = await maker.as(person, device).get(`${C}/account/whoami`);
            assert.equal(user_id, maker.id(person));
          }
        }
        const answer = await maker.as("alice").request("GET", `${C}/rooms/${enc(maker.room("lobby").id)}/state`);
        assert.equal(answer.status, 200);
      });

      it("leaves a sound database when it stops", async () => {
        running();
        await settle();
        last = await snapshot();
        if (leg === 5) await delayAcross(maker, `for ${b}`, 1000);
        await stopAndCheck();
      });
    });
  }

  describe("events that fell due while no server ran", () => {
    for (const kind of [b, a]) {
      it(`are sent when ${kind} starts`, async () => {
        server = await startServer(kind, home);
        await delayedArrives(maker, `for ${kind}`);
        if (kind === b) await delayAcross(maker, `for ${a}`, 1000);
        await stopAndCheck();
      });
    }
  });
});
