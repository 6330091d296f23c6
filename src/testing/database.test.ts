import assert from "node:assert/strict";
import { execute, query } from "../storage/database.ts";
import { createTestDatabase, fixtureDump } from "./database.ts";

describe("test databases", function () {
  this.timeout(60_000);

  it("have the schema, and are apart from each other", async () => {
    const [a, b] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    try {
      await a.database.transaction("test", (txn) => execute(txn, "INSERT INTO users (name, creation_ts) VALUES ($1, 1)", ["@a:test"]));
      assert.equal((await query(a.database.read, "SELECT name FROM users")).length, 1);
      assert.equal((await query(b.database.read, "SELECT name FROM users")).length, 0);
    } finally {
      await Promise.all([a.drop(), b.drop()]);
    }
  });

  it("sort by code point, whatever the server's locale", async () => {
    const { database, drop } = await createTestDatabase();
    try {
      const rows = await query<{ x: string }>(database.read, "SELECT x FROM unnest(ARRAY['a', 'B', 'é', 'z']) AS x ORDER BY x");
      assert.deepEqual(
        rows.map((row) => row.x),
        ["B", "a", "z", "é"],
      );
    } finally {
      await drop();
    }
  });

  it("can start from a dump of a real server", async function () {
    const fixture = fixtureDump();
    if (!fixture) return this.skip();
    const { database, drop } = await createTestDatabase({ fixture });
    try {
      const [row] = await query<{ users: number; events: number }>(
        database.read,
        "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM events) AS events",
      );
      assert.ok(row!.users >= 115);
      assert.ok(row!.events > 1900);
    } finally {
      await drop();
    }
  });
});
