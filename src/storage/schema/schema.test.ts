import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { execute, query, type Txn } from "../database.ts";
import { createTestDatabase, fixtureDump, type TestDatabase } from "../../testing/database.ts";
import { expectedCatalogue } from "./catalogue-file.ts";
import { describeCatalogue, describeDatabase, differences } from "./compare.ts";

describe("the schema of an empty database", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  before(async () => (db = await createTestDatabase()));
  after(() => db.drop());

  it("risk 10, 14, 25: is Synapse's to the last column, index, constraint, sequence, trigger and setting", async () => {
    assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)), []);
  });

  it("risk 10, 14, 25: and the database of a real Synapse is equal in the same eyes", async function () {
    const fixture = fixtureDump();
    if (!fixture) return this.skip();
    const real = await createTestDatabase({ fixture });
    try {
      assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(real.database.read)), []);
    } finally {
      await real.drop();
    }
  });

  it("is what schema/generate.ts writes", () => {
    execFileSync(process.execPath, ["--import", "tsx", fileURLToPath(new URL("../../../schema/generate.ts", import.meta.url)), "--check"], { stdio: "pipe" });
  });

  it("risk 7: records each delta of Synapse under its name", async () => {
    const rows = await query<{ version: number; file: string }>(db.database.read, "SELECT version, file FROM applied_schema_deltas ORDER BY version, file");
    const byName = (a: { version: number; file: string }, b: { version: number; file: string }): number => a.version - b.version || (a.file < b.file ? -1 : 1);
    assert.deepEqual(rows, [...expectedCatalogue().applied_schema_deltas].sort(byName));
    assert.equal(rows.length, 128);
  });

  it("risk 5, 6: stands at version 94, open to servers from 84 on", async () => {
    assert.deepEqual(await query(db.database.read, "SELECT lock, version, upgraded FROM schema_version"), [{ lock: "X", version: 94, upgraded: true }]);
    assert.deepEqual(await query(db.database.read, "SELECT lock, compat_version FROM schema_compat_version"), [{ lock: "X", compat_version: 84 }]);
  });

  it("risk 18: has sequences that were called as in a new database of Synapse", async () => {
    for (const sequence of expectedCatalogue().sequences) {
      const [row] = await query(db.database.read, `SELECT last_value, is_called FROM ${sequence.name}`);
      assert.deepEqual(row, { last_value: sequence.fresh_last_value, is_called: sequence.fresh_is_called }, sequence.name);
    }
  });

  it("has Synapse's first rows, and no background update to run", async () => {
    assert.equal((await query(db.database.read, "SELECT FROM background_updates")).length, 0);
    for (const [table, rows] of Object.entries(expectedCatalogue().seed_rows)) {
      const stored = await query<Record<string, unknown>>(db.database.read, `SELECT * FROM ${table} ORDER BY 1 DESC`);
      const comparable = (row: Record<string, unknown>): Record<string, unknown> => ({ ...row, ...("timestamp" in row ? { timestamp: "now" } : {}) });
      // The directory needs no rebuilding: -1 is what Synapse's rebuild of an empty one leaves.
      const expected = table === "user_directory_stream_pos" ? [{ lock: "X", stream_id: -1 }] : rows;
      const key = (row: Record<string, unknown>): string => JSON.stringify(comparable(row));
      assert.deepEqual(stored.map(comparable).sort((a, b) => (key(a) < key(b) ? -1 : 1)), expected.map(comparable).sort((a, b) => (key(a) < key(b) ? -1 : 1)), table);
    }
    const [task] = await query<{ late: number }>(db.database.read, `SELECT (EXTRACT(epoch FROM now()) * 1000 - "timestamp")::float AS late FROM scheduled_tasks`);
    assert.ok(task!.late >= 0 && task!.late < 7 * 86_400_000);
  });
});

describe("the triggers", function () {
  let db: TestDatabase;
  before(async () => (db = await createTestDatabase()));
  after(() => db.drop());
  const write = (sql: string): Promise<unknown> => db.database.transaction("test", (txn) => execute(txn, sql), { isolation: "read committed" });
  const modes = (): Promise<unknown[]> => query(db.database.read, "SELECT write_lock, token FROM worker_read_write_locks_mode ORDER BY token");
  const hold = (token: string, writing: boolean): Promise<unknown> =>
    write(`INSERT INTO worker_read_write_locks (lock_name, lock_key, instance_name, write_lock, token, last_renewed_ts) VALUES ('l', 'k', 'master', ${writing}, '${token}', 1)`);
  const letGo = (token: string): Promise<unknown> => write(`DELETE FROM worker_read_write_locks WHERE token = '${token}'`);

  it("risk 56: refuse a membership with another position than its event's, and take one whose event is not stored", async () => {
    await write(`INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, stream_ordering) VALUES (1, '$e', 'm.room.member', '!r', true, false, 1, 7)`);
    const insert = (event: string, ordering: number): string =>
      `INSERT INTO room_memberships (event_id, user_id, sender, room_id, membership, event_stream_ordering) VALUES ('${event}', '@u', '@u', '!r', 'join', ${ordering})`;
    await assert.rejects(write(insert("$e", 8)), /Incorrect event_stream_ordering/);
    await write(insert("$e", 7));
    await assert.rejects(write("UPDATE room_memberships SET event_stream_ordering = 9 WHERE event_id = '$e'"), /Incorrect event_stream_ordering/);
    await write(insert("$unknown", 7));
  });

  it("refuse a partial-state event under another room", async () => {
    await write("INSERT INTO rooms (room_id, is_public, creator, room_version) VALUES ('!r', false, '@u', '10'), ('!s', false, '@u', '10')");
    await write("INSERT INTO partial_state_rooms (room_id, device_lists_stream_id) VALUES ('!r', 0), ('!s', 0)");
    await assert.rejects(write("INSERT INTO partial_state_events (room_id, event_id) VALUES ('!s', '$e')"), /Incorrect room_id in partial_state_events/);
    await write("INSERT INTO partial_state_events (room_id, event_id) VALUES ('!r', '$e')");
  });

  it("risk 73: let many read, or one write", async () => {
    await hold("a", false);
    await hold("b", false);
    await assert.rejects(hold("w", true), { code: "23503" });
    assert.deepEqual(await modes(), [{ write_lock: false, token: "a" }]);
    await letGo("a");
    assert.deepEqual(await modes(), [{ write_lock: false, token: "b" }], "another holder takes over the mode");
    await letGo("b");
    assert.deepEqual(await modes(), []);
    await hold("w", true);
    await assert.rejects(hold("x", true), { code: "23505" });
    await assert.rejects(hold("r", false), { code: "23503" });
    await letGo("w");
    assert.deepEqual(await modes(), []);
  });

  it("risk 73: do not fall over each other when two holders let go at once", async () => {
    for (let round = 0; round < 5; round++) {
      const tokens = ["a", "b", "c", "d"];
      for (const token of tokens) await hold(token, false);
      const both = (token: string): Promise<unknown> => db.database.transaction("let go", (txn: Txn) => execute(txn, `DELETE FROM worker_read_write_locks WHERE token = '${token}'`), { isolation: "read committed" });
      await Promise.all(tokens.map(both));
      assert.deepEqual(await modes(), []);
    }
  });
});
