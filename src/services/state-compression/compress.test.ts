import assert from "node:assert/strict";
import fc from "fast-check";
import { stateKeyOf } from "../../protocol/event/event.ts";
import { execute, query } from "../../storage/database.ts";
import { nextGroupsToDelete } from "../../storage/state/delete-groups.ts";
import { emptyState, MAX_DELTA_HOPS, type State } from "../../storage/state/snapshot.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";
import { type ChunkReport, compressStateGroups, type CompressionOptions } from "./compress.ts";
import { emptyLevels, planLevels, type StoredGroup } from "./levels.ts";

describe("state compression", () => {
  describe("the plan", () => {
    const key = (n: number) => stateKeyOf("m.room.member", `@${n}:test`);

    /** Groups as servers make them: mostly one entry more or replaced, sometimes from an older group, sometimes with something taken away. */
    const history = fc.array(fc.record({ back: fc.integer({ min: 1, max: 6 }), at: fc.nat(12), remove: fc.integer({ min: 0, max: 9 }).map((n) => n === 0) }), {
      minLength: 1,
      maxLength: 150,
    });
    const build = (steps: readonly { back: number; at: number; remove: boolean }[], hops: number): StoredGroup[] => {
      const groups: (StoredGroup & { hops: number })[] = [];
      steps.forEach(({ back, at, remove }, index) => {
        const on = groups[Math.max(0, groups.length - back)];
        const state = remove ? (on?.state ?? emptyState).without([key(at)]) : (on?.state ?? emptyState).set(key(at), `$${index}`);
        const full = on === undefined || on.hops >= hops || remove;
        groups.push({ group: index + 10, base: full ? undefined : on.group, rows: full ? state.size : 1, state, hops: full ? 0 : on.hops + 1 });
      });
      return groups;
    };

    it("stands for the same states, never deeper than the levels together", () => {
      fc.assert(
        fc.property(history, fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }), (steps, sizes) => {
          const groups = build(steps, 5);
          const plan = planLevels(groups, emptyLevels(sizes), new Map(), new Map());
          const limit = sizes.reduce((sum, size) => sum + size, 0);
          const resolved = new Map<number, State>();
          const depths = new Map<number, number>();
          let rows = 0;
          for (const group of groups) {
            const change = plan.changes.find((candidate) => candidate.group === group.group);
            const base = change === undefined ? group.base : change.base;
            const below = base === undefined ? emptyState : resolved.get(base)!;
            const entries = change?.entries ?? group.state.changedKeys(below).map((changed) => [changed, group.state.get(changed)!] as const);
            const state = below.with(entries);
            assert.deepEqual(new Map(state), new Map(group.state));
            resolved.set(group.group, state);
            depths.set(group.group, base === undefined ? 0 : depths.get(base)! + 1);
            assert.ok(depths.get(group.group)! <= limit, "too deep");
            rows += change === undefined ? group.rows : change.entries.length;
          }
          assert.equal(plan.rowsAfter, rows);
          assert.equal(
            plan.rowsBefore,
            groups.reduce((sum, group) => sum + group.rows, 0),
          );
          for (const level of plan.levels) assert.ok(level.length <= level.maxLength);
        }),
      );
    });

    it("turns the full copies of a long chain into differences", () => {
      const members = Array.from({ length: 500 }, (_, n) => [key(n), "$first"] as const);
      let state = emptyState.with(members);
      const groups: StoredGroup[] = [];
      for (let n = 0; n < 1000; n++) {
        state = state.set(key(n % 500), `$${n}`);
        const full = n % MAX_DELTA_HOPS === 0;
        groups.push({ group: n, base: full ? undefined : n - 1, rows: full ? state.size : 1, state });
      }
      const plan = planLevels(groups, emptyLevels([100, 50, 25]), new Map(), new Map());
      assert.equal(plan.rowsBefore, 10 * 500 + 990);
      assert.ok(plan.rowsAfter < 500 + 1000 + 9 * 101, String(plan.rowsAfter));
    });
  });

  describe("on a database", () => {
    let server: TestServer;
    before(async () => (server = await startTestServer()));
    after(() => server.close());

    const room = "!compressed:test";
    /** Ten chains of full copies, with forks; returns what each group stands for. */
    const fill = async (roomId: string, first: number): Promise<void> => {
      const rows: [number, string, string, string][] = [];
      const edges: [number, number][] = [];
      const groups: number[] = [];
      let state = new Map<string, string>();
      for (let n = 0; n < 300; n++) {
        const group = first + n;
        groups.push(group);
        const user = `@${n % 60}:test`;
        const full = n % 30 === 0;
        if (n === 170) state = new Map([...state].filter(([who]) => who !== "@3:test"));
        state.set(user, `$${first}_${n}`);
        if (full || n === 170) for (const [who, event] of state) rows.push([group, "m.room.member", who, event]);
        else {
          edges.push([group, group - 1]);
          rows.push([group, "m.room.member", user, `$${first}_${n}`]);
        }
      }
      await server.ctx.transaction("fill", async (txn) => {
        await execute(txn, "INSERT INTO state_groups (id, room_id, event_id) SELECT id, $2, '$e' || id FROM unnest($1::bigint[]) AS g (id)", [groups, roomId]);
        await execute(txn, "INSERT INTO state_group_edges SELECT * FROM unnest($1::bigint[], $2::bigint[])", [
          edges.map((edge) => edge[0]),
          edges.map((edge) => edge[1]),
        ]);
        await execute(
          txn,
          "INSERT INTO state_groups_state (state_group, room_id, type, state_key, event_id) SELECT g, $1, t, k, e FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS r (g, t, k, e)",
          [roomId, rows.map((row) => row[0]), rows.map((row) => row[1]), rows.map((row) => row[2]), rows.map((row) => row[3])],
        );
      });
    };
    /** By one recursive statement, as Synapse reads a group: the nearest entry of the chain wins. */
    const resolve = async (roomId: string): Promise<Record<string, string>> => {
      const rows = await query<{ id: number; text: string }>(
        server.ctx.read,
        `WITH RECURSIVE chain (root, id, hops) AS (
           SELECT id, id, 0 FROM state_groups WHERE room_id = $1
           UNION ALL SELECT c.root, e.prev_state_group, c.hops + 1 FROM chain AS c JOIN state_group_edges AS e ON e.state_group = c.id
         ), nearest AS (
           SELECT DISTINCT ON (c.root, s.type, s.state_key) c.root, s.type || ' ' || s.state_key || ' ' || s.event_id AS entry
           FROM chain AS c JOIN state_groups_state AS s ON s.state_group = c.id ORDER BY c.root, s.type, s.state_key, c.hops
         ) SELECT root AS id, string_agg(entry, ',' ORDER BY entry) AS text FROM nearest GROUP BY root`,
        [roomId],
      );
      return Object.fromEntries(rows.map((row) => [row.id, row.text]));
    };
    const rowCount = async (roomId: string): Promise<number> =>
      (await query<{ count: number }>(server.ctx.read, "SELECT count(*) AS count FROM state_groups_state WHERE room_id = $1", [roomId]))[0]!.count;
    const options: CompressionOptions = { chunkSize: 70, chunks: 100, levels: [20, 10, 5], dryRun: false };

    it("takes fewer rows for the same states; a dry run says how many, and writes nothing", async () => {
      await fill(room, 1000);
      const [before, rows] = [await resolve(room), await rowCount(room)];
      const dry: ChunkReport[] = [];
      assert.equal(await compressStateGroups(server.ctx, { ...options, dryRun: true }, (report) => dry.push(report)), true);
      assert.equal(await rowCount(room), rows);
      assert.equal((await query(server.ctx.read, "SELECT FROM pg_tables WHERE tablename LIKE 'state_compressor%'")).length, 0);

      const wet: ChunkReport[] = [];
      assert.equal(await compressStateGroups(server.ctx, options, (report) => wet.push(report)), true);
      assert.deepEqual(await resolve(room), before);
      const after = await rowCount(room);
      assert.ok(after < rows * 0.85, `${rows} rows became ${after}`);
      assert.equal(wet.length, 5);
      assert.equal(
        wet.reduce((sum, report) => sum + report.rowsAfter, 0),
        after,
      );
      // The chunks of a dry run do not build on each other's changes: it is an estimate.
      const estimate = dry.reduce((sum, report) => sum + report.rowsAfter, 0);
      assert.ok(Math.abs(estimate - after) < rows * 0.1, `estimated ${estimate}, became ${after}`);
    });

    it("goes on where it stopped, and leaves what is done alone", async () => {
      const other = "!stopped:test";
      await fill(other, 5000);
      const before = await resolve(other);
      const seen: ChunkReport[] = [];
      assert.equal(await compressStateGroups(server.ctx, { ...options, chunks: 2 }, (report) => seen.push(report)), false);
      assert.equal(await compressStateGroups(server.ctx, options, (report) => seen.push(report)), true);
      assert.deepEqual(
        seen.map(({ roomId, groups }) => [roomId, groups]),
        [70, 70, 70, 70, 20].map((count) => [other, count]),
      );
      assert.deepEqual(await resolve(other), before);
      assert.equal(await compressStateGroups(server.ctx, options, (report) => seen.push(report)), true);
      assert.equal(seen.length, 5);
    });

    it("builds on no group that is to be deleted, and leaves damaged chains as they are", async () => {
      const leaving = "!leaving:test";
      await fill(leaving, 10_000);
      await server.ctx.transaction("mark", (txn) =>
        execute(txn, "INSERT INTO state_groups_pending_deletion (state_group, insertion_ts) SELECT id, 0 FROM generate_series(10000, 10299, 7) AS g (id)"),
      );
      const edgesTo = () =>
        query(
          server.ctx.read,
          `SELECT e.state_group FROM state_group_edges AS e JOIN state_groups_pending_deletion AS d ON d.state_group = e.prev_state_group
           WHERE e.state_group <> e.prev_state_group + 1`,
        );
      const before = await resolve(leaving);
      await compressStateGroups(server.ctx, options);
      assert.deepEqual(await edgesTo(), []);
      assert.deepEqual(await resolve(leaving), before);
      assert.notEqual(await nextGroupsToDelete(server.ctx.read, 1), undefined);

      const damaged = "!damaged:test";
      await fill(damaged, 20_000);
      await server.ctx.transaction("break", (txn) => execute(txn, "DELETE FROM state_groups WHERE id = 20040"));
      const rows = await rowCount(damaged);
      const reports: ChunkReport[] = [];
      await compressStateGroups(server.ctx, { ...options, chunkSize: 500 }, (report) => reports.push(report));
      assert.match(reports[0]!.skipped!, /builds on 20040, which is missing/);
      assert.equal(await rowCount(damaged), rows);
    });

    it("is a job of the server where the configuration asks for it", async () => {
      const asked = await startTestServer({ config: { myelin: { state_compression: true } } });
      try {
        await asked.server.jobs.runOnce("compress_state_groups");
        const there = await query(asked.ctx.read, "SELECT FROM pg_tables WHERE tablename = 'state_compressor_progress'");
        assert.equal(there.length, 1);
      } finally {
        await asked.close();
      }
      await server.server.jobs.runOnce("compress_state_groups");
    });

    it("does not disturb who reads a group at that moment", async () => {
      const read = "!read:test";
      await fill(read, 30_000);
      const before = await resolve(read);
      let done = false;
      const compressing = compressStateGroups(server.ctx, { ...options, chunkSize: 20 }).finally(() => (done = true));
      let group = 30_000;
      while (!done) {
        group = 30_000 + ((group * 7 + 13) % 300);
        server.ctx.state.forgetGroups();
        const state = (await server.ctx.state.groups([group])).get(group)!;
        assert.equal(
          [...state]
            .map(([key, event]) => `${key.replace("\u0000", " ")} ${event}`)
            .sort()
            .join(","),
          before[group],
          `group ${group}`,
        );
      }
      await compressing;
    });
  });
});
