import assert from "node:assert/strict";
import { silentLogger, type Logger } from "../../lib/log.ts";
import { connectTo, createTestDatabase, fixtureDump, type TestDatabase, type TestDatabaseOptions } from "../../testing/database.ts";
import { query, type Txn } from "../database.ts";
import { expectedCatalogue } from "./catalogue-file.ts";
import { describeCatalogue, describeDatabase, differences } from "./compare.ts";
import { DELTAS, versionOf } from "./deltas.ts";
import { handOver } from "./hand-over.ts";
import { openDatabase, type OpenOptions, type OpenReport } from "./open.ts";
import { StartupRefusal, type RefusalCode } from "./refusal.ts";
import { SEQUENCE_USES } from "./sequences.ts";

const SERVER = "localhost:18448";

/** Undoes what versions 89 to 94 changed, so that the database is as a Synapse of schema version 88 left it, all its updates done. */
const BACK_TO_88 = `
  DROP TABLE profile_updates_per_user, profile_updates, device_lists_changes_in_room_max_pruned_stream_id, msc4242_state_dag_edges,
             msc4242_state_dag_forward_extremities, quarantined_media_changes, sliding_sync_connection_lazy_members, sticky_events,
             room_ban_redactions, user_reports, thread_subscriptions, state_groups_persisting, state_groups_pending_deletion;
  DROP SEQUENCE profile_updates_sequence, quarantined_media_id_seq, sticky_events_sequence, thread_subscriptions_sequence;
  DROP INDEX device_lists_changes_in_room_inserted_ts_idx, device_lists_changes_in_room_unconverted_idx, sliding_sync_connections_last_used_ts_idx,
             delayed_events_idx, event_txn_id_device_id_txn_id2, device_federation_inbox_received_ts_index,
             sliding_sync_membership_snapshots_user_id_stream_ordering, local_media_repository_sha256, remote_media_cache_sha256,
             sliding_sync_membership_snapshots_membership_event_id_idx;
  CREATE UNIQUE INDEX event_txn_id_device_id_txn_id ON event_txn_id_device_id (room_id, user_id, device_id, txn_id);
  CREATE INDEX sliding_sync_membership_snapshots_user_id ON sliding_sync_membership_snapshots (user_id);
  ALTER TABLE device_lists_changes_in_room DROP COLUMN inserted_ts;
  ALTER TABLE redactions DROP COLUMN recheck;
  ALTER TABLE delayed_events ALTER COLUMN content TYPE bytea USING convert_to(content, 'UTF8'), DROP COLUMN sticky_duration_ms;
  ALTER TABLE sliding_sync_connections DROP COLUMN last_used_ts;
  ALTER TABLE local_media_repository DROP COLUMN sha256;
  ALTER TABLE remote_media_cache DROP COLUMN sha256;
  ALTER TABLE room_memberships DROP COLUMN participant;
  DELETE FROM applied_schema_deltas WHERE version > 88;
  UPDATE schema_version SET version = 88;`;

describe("opening a database", function () {
  this.timeout(60_000);
  const open = (db: TestDatabase, extra: Partial<OpenOptions> = {}): Promise<OpenReport> => openDatabase(db.database, { serverName: SERVER, log: silentLogger, ...extra });
  const sql = (db: TestDatabase, text: string): Promise<unknown> => db.database.transaction("test", (txn) => query(txn, text));
  const ask = <Row extends object = Record<string, unknown>>(db: TestDatabase, text: string): Promise<Row[]> => query<Row>(db.database.read, text);

  async function withDatabase(options: TestDatabaseOptions, fn: (db: TestDatabase) => Promise<void>): Promise<void> {
    const db = await createTestDatabase(options);
    try {
      await fn(db);
    } finally {
      await db.drop();
    }
  }

  async function refused(db: TestDatabase, code: RefusalCode, message: RegExp, extra: Partial<OpenOptions> = {}): Promise<void> {
    await assert.rejects(open(db, extra), (error) => {
      assert.ok(error instanceof StartupRefusal, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"), "one line");
      return true;
    });
  }

  function recordingLogger(): { log: Logger; lines: string[] } {
    const lines: string[] = [];
    const log: Logger = { ...silentLogger, warn: (message) => void lines.push(message), named: () => log };
    return { log, lines };
  }

  it("makes the schema in an empty database, and finds nothing to do the second time", () =>
    withDatabase({ schema: false }, async (db) => {
      const first = await open(db);
      assert.equal(first.created, true);
      assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)), []);
      const { log, lines } = recordingLogger();
      assert.deepEqual(await open(db, { log }), { created: false, applied: [], moved: [], pendingUpdates: 0 });
      assert.deepEqual(lines, []);
    }));

  it("leaves an empty database empty when making the schema fails half way", () =>
    withDatabase({ schema: false }, async (db) => {
      // A name that the schema needs, taken by something that is no table.
      await sql(db, "CREATE FUNCTION check_partial_state_events() RETURNS int LANGUAGE sql AS 'SELECT 1'");
      await assert.rejects(open(db));
      assert.deepEqual(await ask(db, "SELECT FROM pg_tables WHERE schemaname = 'public'"), []);
    }));

  it("opens the database that a real Synapse left, without a warning or a change", async function () {
    const fixture = fixtureDump();
    if (!fixture) return this.skip();
    await withDatabase({ fixture }, async (db) => {
      const { log, lines } = recordingLogger();
      assert.deepEqual(await open(db, { log }), { created: false, applied: [], moved: [], pendingUpdates: 0 });
      assert.deepEqual(lines, []);
    });
  });

  it("risk 1: asks for Postgres 14, and risk 2: for UTF8", async () => {
    const answer = (version: number, encoding: string): TestDatabase =>
      ({ database: { read: fakeReader({ version, release: "13.9", encoding, collate: "C", ctype: "C", schema: "public" }) } }) as unknown as TestDatabase;
    await refused(answer(130009, "UTF8"), "postgres-version", /Postgres 14 or newer is needed: found 13\.9\. Upgrade/);
    await refused(answer(150000, "SQL_ASCII"), "encoding", /UTF8: found SQL_ASCII/);
  });

  it("risk 3: asks for collation C, unless the config allows another", async function () {
    let db: TestDatabase;
    try {
      db = await createTestDatabase({ schema: false, locale: "C.UTF-8" });
    } catch {
      return this.skip(); // a system without that locale
    }
    try {
      await refused(db, "locale", /collation and the ctype C: found C\.UTF-8 and C\.UTF-8\. .*allow_unsafe_locale/);
      assert.deepEqual(await ask(db, "SELECT FROM pg_tables WHERE schemaname = 'public'"), [], "nothing was made");
      assert.equal((await open(db, { allowUnsafeLocale: true })).created, true);
    } finally {
      await db.drop();
    }
  });

  it("says what is wrong when Postgres cannot be reached", async () => {
    const database = connectTo("postgres://nobody:x@127.0.0.1:1/none");
    try {
      await refused({ database } as TestDatabase, "unreachable", /cannot be opened: found connect ECONNREFUSED .*database\.args/);
    } finally {
      await database.close();
    }
  });

  describe("that has the schema", () => {
    let db: TestDatabase;
    beforeEach(async () => (db = await createTestDatabase()));
    afterEach(() => db.drop());

    it("risk 4: refuses the users of another server, and reports single ones", async () => {
      await sql(db, "INSERT INTO users (name, creation_ts) VALUES ('@a:elsewhere.org:8448', 1)");
      await refused(db, "foreign-users", /another server than localhost:18448: found the user @a:elsewhere\.org:8448/);
      await sql(db, `DELETE FROM users; INSERT INTO users (name, creation_ts) VALUES ('@b:${SERVER}', 1); INSERT INTO users (name, creation_ts) VALUES ('@a:elsewhere.org', 1)`);
      const { log, lines } = recordingLogger();
      await open(db, { log });
      assert.match(lines.join("\n"), /^1 users in the database are not of localhost:18448$/);
    });

    it("risk 5: refuses a database that is for newer servers only", async () => {
      await sql(db, "UPDATE schema_version SET version = 101; UPDATE schema_compat_version SET compat_version = 95");
      await refused(db, "schema-too-new", /schema version 95 or newer: found schema version 101/);
    });

    it("risk 6: leaves a newer version that is open to us as it is", async () => {
      await sql(db, "UPDATE schema_version SET version = 96; INSERT INTO applied_schema_deltas VALUES (96, '96/01_of_the_future.sql')");
      const { log, lines } = recordingLogger();
      assert.deepEqual((await open(db, { log })).applied, []);
      assert.match(lines.join("\n"), /newer than 94/);
      assert.deepEqual(await ask(db, "SELECT version FROM schema_version"), [{ version: 96 }]);
    });

    it("refuses a schema older than 88, and says how to get there", async () => {
      await sql(db, "UPDATE schema_version SET version = 87");
      await refused(db, "schema-too-old", /88 at least: found version 87\. Start Synapse 1\.160/);
    });

    it("risk 70: refuses while Synapse has background updates of old schemas to finish, and names them", async () => {
      await sql(db, "INSERT INTO background_updates (update_name, progress_json) VALUES ('replace_stream_ordering_column', '{}'), ('events_received_ts_index', '{}')");
      await refused(db, "old-updates", /must be finished by Synapse: found replace_stream_ordering_column\. Start Synapse 1\.160/);
    });

    it("risk 7: takes no notice of deltas it does not know", async () => {
      await sql(db, "INSERT INTO applied_schema_deltas VALUES (94, '94/99_a_fork_of_synapse.sql')");
      assert.deepEqual((await open(db)).applied, []);
    });

    it("risk 7: applies a delta of the current version that is missing", async () => {
      await sql(db, "DELETE FROM applied_schema_deltas WHERE file = '94/07_profile_updates_seq.sql.postgres'; DROP SEQUENCE profile_updates_sequence");
      assert.deepEqual((await open(db)).applied, ["94/07_profile_updates_seq.sql.postgres"]);
      assert.deepEqual(await ask(db, "SELECT last_value, is_called FROM profile_updates_sequence"), [{ last_value: 1, is_called: true }]);
    });

    it("risk 7: does not repeat the deltas of the version that the schema was made at", async () => {
      await sql(db, "UPDATE schema_version SET upgraded = false; DELETE FROM applied_schema_deltas WHERE version = 94");
      assert.deepEqual((await open(db)).applied, []);
    });

    it("risk 10: refuses when tables, columns or sequences are missing, and names them", async () => {
      await sql(db, "DROP TABLE rejections; ALTER TABLE users DROP COLUMN locked; DROP SEQUENCE user_id_seq");
      await refused(db, "schema-damaged", /no column rejections\.event_id, .*no sequence user_id_seq/);
    });

    it("risk 10: reports a missing trigger, foreign key and index, and an index that was not finished", async () => {
      await sql(
        db,
        `DROP TRIGGER check_event_stream_ordering ON room_memberships;
         ALTER TABLE current_state_events DROP CONSTRAINT event_stream_ordering_fkey;
         DROP INDEX events_ts;
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'received_ts_idx'::regclass`,
      );
      const { log, lines } = recordingLogger();
      await open(db, { log });
      assert.deepEqual(lines.map((line) => /^The (database has no )?(\S+ \S+)/.exec(line)?.slice(1).join("")), [
        "database has no constraint current_state_events.event_stream_ordering_fkey",
        "database has no index events.events_ts",
        "index events.received_ts_idx",
        "database has no trigger room_memberships.check_event_stream_ordering",
      ]);
    });

    it("says nothing of an index that a pending background update will make", async () => {
      await sql(db, "DROP INDEX received_ts_idx; INSERT INTO background_updates (update_name, progress_json) VALUES ('events_received_ts_index', '{}')");
      const { log, lines } = recordingLogger();
      assert.equal((await open(db, { log })).pendingUpdates, 1);
      assert.deepEqual(lines, []);
    });

    it("risk 76: takes no notice of tables that are not Synapse's", async () => {
      await sql(db, "CREATE TABLE mine (id int); CREATE SCHEMA other; CREATE TABLE other.events (id int)");
      assert.equal((await open(db)).created, false);
    });

    it("risk 77: refuses when a single-row table has lost its row", async () => {
      await sql(db, "DELETE FROM appservice_stream_position");
      await refused(db, "single-row", /appservice_stream_position must have exactly one row: found 0 rows\./);
    });

    it("risk 16, 17, 23: moves sequences up to what tables and stored positions say, and touches nothing else", async () => {
      await sql(
        db,
        `INSERT INTO stream_positions VALUES ('receipts', 'master', 500), ('backfill', 'master', -30);
         INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, stream_ordering) VALUES
           (1, '$a', 't', '!r', true, false, 1, 70), (1, '$b', 't', '!r', true, false, 1, -40);
         INSERT INTO state_groups (id, room_id, event_id) VALUES (99, '!r', '$a');
         INSERT INTO event_auth_chains VALUES ('$a', 12, 3)`,
      );
      const { log, lines } = recordingLogger();
      const { moved } = await open(db, { log });
      assert.deepEqual(
        moved.map(({ sequence, needed, because }) => [sequence, needed, because]).sort(),
        [
          ["event_auth_chain_id", 12, "event_auth_chains.chain_id"],
          ["events_backfill_stream_seq", 40, "events.stream_ordering"],
          ["events_stream_seq", 70, "events.stream_ordering"],
          ["receipts_sequence", 500, "stream_positions of receipts"],
          ["state_group_id_seq", 99, "state_groups.id"],
        ],
      );
      assert.equal(lines.length, 5);
      assert.deepEqual(await ask(db, "SELECT nextval('events_stream_seq') AS e, nextval('events_backfill_stream_seq') AS b, nextval('state_group_id_seq') AS s"), [{ e: 71, b: 41, s: 100 }]);
      assert.deepEqual(await ask(db, "SELECT stream_name, stream_id FROM stream_positions ORDER BY 1"), [
        { stream_name: "backfill", stream_id: -30 },
        { stream_name: "receipts", stream_id: 500 },
      ]);
    });

    it("risk 17: never moves a sequence down", async () => {
      await sql(db, "SELECT setval('events_stream_seq', 1000); INSERT INTO stream_positions VALUES ('events', 'master', 20)");
      assert.deepEqual((await open(db)).moved, []);
      assert.deepEqual(await ask(db, "SELECT nextval('events_stream_seq') AS e"), [{ e: 1001 }]);
    });

    it("risk 18: a stream's sequence that was never called gives 2 first", async () => {
      await sql(db, "ALTER SEQUENCE sticky_events_sequence RESTART");
      await open(db);
      assert.deepEqual(await ask(db, "SELECT nextval('sticky_events_sequence') AS id"), [{ id: 2 }]);
    });

    it("risk 21: forgets the positions of writers that the config no longer names", async () => {
      await sql(db, "INSERT INTO stream_positions VALUES ('events', 'master', 1), ('events', 'old_worker', 1), ('receipts', 'old_worker', 1), ('some_module', 'x', 1)");
      await open(db, { writers: { events: ["master"], receipts: ["master"] } });
      assert.deepEqual(await ask(db, "SELECT stream_name, instance_name FROM stream_positions ORDER BY 1"), [
        { stream_name: "events", instance_name: "master" },
        { stream_name: "some_module", instance_name: "x" },
      ]);
    });

    it("risk 26: refuses a sequence that has left its column's 32 bits", async () => {
      await sql(db, "SELECT setval('sticky_events_sequence', 2147483647)");
      await refused(db, "sequence-range", /sticky_events_sequence has run out of numbers: found 2147483647/);
    });

    it("risk 23: knows each sequence of the schema but the one whose gaps do no harm", () => {
      const known = new Set(SEQUENCE_USES.map(({ sequence }) => sequence));
      assert.deepEqual(expectedCatalogue().sequences.map(({ name }) => name).filter((name) => !known.has(name)), ["user_id_seq"]);
    });

    it("a worker changes nothing, and waits for the main process to prepare the schema", async () => {
      await sql(db, "DELETE FROM applied_schema_deltas WHERE file = '94/01_redactions_recheck.sql'; SELECT setval('events_stream_seq', 1); INSERT INTO stream_positions VALUES ('events', 'master', 9)");
      await refused(db, "schema-not-prepared", /without 94\/01_redactions_recheck\.sql/, { worker: true });
      await sql(db, "INSERT INTO applied_schema_deltas VALUES (94, '94/01_redactions_recheck.sql')");
      assert.deepEqual((await open(db, { worker: true })).moved, []);
      assert.deepEqual(await ask(db, "SELECT last_value FROM events_stream_seq"), [{ last_value: 1 }]);
    });

    it("refuses the remains of a restore: tables, but no version", async () => {
      await sql(db, "DELETE FROM schema_version");
      await refused(db, "not-empty", /no schema version, but tables of a homeserver: found 17\d tables/);
    });

    it("risk 16, 20, 68, 73, 79: a clean stop leaves positions of all writers at the sequences, and nothing half done", async () => {
      await sql(
        db,
        `SELECT setval('events_stream_seq', 40); SELECT setval('events_backfill_stream_seq', 7); SELECT setval('receipts_sequence', 9);
         INSERT INTO stream_positions VALUES ('events', 'master', 3), ('backfill', 'master', -2), ('receipts', 'w1', 9);
         INSERT INTO state_groups_persisting VALUES (1, 'master'), (1, 'w1');
         INSERT INTO worker_locks (lock_name, lock_key, instance_name, token, last_renewed_ts) VALUES ('a', 'b', 'master', 't', 1), ('a', 'c', 'w1', 't', 1);
         INSERT INTO worker_read_write_locks (lock_name, lock_key, instance_name, write_lock, token, last_renewed_ts) VALUES ('a', 'b', 'master', true, 't', 1);
         INSERT INTO event_push_actions_staging (event_id, user_id, actions, notif, highlight, thread_id) VALUES ('$e', '@u', '[]', 1, 0, 'main')`,
      );
      const writers = { events: ["master"], receipts: ["w1", "w2"], presence: ["w2"] };
      const stop = (lastProcess: boolean): Promise<void> => db.database.transaction("stop", (txn: Txn) => handOver(txn, { instanceName: "master", lastProcess, writers }));
      await stop(false);
      assert.equal((await ask(db, "SELECT FROM event_push_actions_staging")).length, 1, "another process may still be at it");
      assert.deepEqual(await ask(db, "SELECT stream_id FROM stream_positions WHERE stream_name = 'events'"), [{ stream_id: 3 }]);
      await stop(true);
      const positions = await ask<{ stream_name: string; instance_name: string }>(db, "SELECT stream_name, instance_name, stream_id FROM stream_positions ORDER BY 1, 2");
      assert.equal(positions.length, 16, "a row for each stream and writer");
      assert.equal(positions.find(({ stream_name }) => stream_name === "presence_stream")!.instance_name, "w2");
      assert.deepEqual(positions.filter(({ stream_name }) => ["backfill", "events", "receipts"].includes(stream_name)), [
        { stream_name: "backfill", instance_name: "master", stream_id: -7 },
        { stream_name: "events", instance_name: "master", stream_id: 40 },
        { stream_name: "receipts", instance_name: "w1", stream_id: 9 },
        { stream_name: "receipts", instance_name: "w2", stream_id: 9 },
      ]);
      assert.deepEqual(await ask(db, "SELECT instance_name FROM state_groups_persisting UNION ALL SELECT instance_name FROM worker_locks UNION ALL SELECT instance_name FROM worker_read_write_locks"), [
        { instance_name: "w1" },
        { instance_name: "w1" },
      ]);
      assert.deepEqual(await ask(db, "SELECT FROM event_push_actions_staging"), []);
    });
  });

  it("brings a database from version 88 to what Synapse 1.160 would make of it", () =>
    withDatabase({}, async (db) => {
      await sql(db, BACK_TO_88);
      await sql(db, "INSERT INTO delayed_events (delay_id, user_localpart, delay, send_ts, room_id, event_type, content) VALUES ('d', 'u', 1, 1, '!r', 't', convert_to('{\"body\":\"grüße\"}', 'UTF8'))");
      await sql(db, "UPDATE schema_compat_version SET compat_version = 83");
      const { applied, pendingUpdates } = await open(db);
      assert.deepEqual(applied, DELTAS.filter((delta) => versionOf(delta) > 88).map(({ file }) => file));
      const queued = await ask<{ update_name: string; ordering: number }>(db, "SELECT update_name, ordering FROM background_updates ORDER BY ordering");
      const inSynapse = expectedCatalogue().background_updates.filter(({ ordering }) => ordering > 8806).map(({ update_name, ordering }) => ({ update_name, ordering }));
      assert.deepEqual([...queued].sort((a, b) => (a.update_name < b.update_name ? -1 : 1)), inSynapse.sort((a, b) => (a.update_name < b.update_name ? -1 : 1)));
      assert.equal(pendingUpdates, queued.length);
      assert.deepEqual(await ask(db, "SELECT content FROM delayed_events"), [{ content: '{"body":"grüße"}' }]);
      assert.deepEqual(await ask(db, "SELECT version, upgraded, compat_version FROM schema_version, schema_compat_version"), [{ version: 94, upgraded: true, compat_version: 84 }]);
      assert.deepEqual(
        await ask(db, "SELECT version, file FROM applied_schema_deltas ORDER BY file"),
        [...expectedCatalogue().applied_schema_deltas].sort((a, b) => (a.file < b.file ? -1 : 1)),
      );
      // What is left to differ is what the queued updates do, and the place of columns that were added later.
      const byUpdate = new Set(Object.values(expectedCatalogue().tables).flatMap(({ indexes }) => indexes.filter((index) => index.created_by_background_update).map((index) => index.name)));
      const left = differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)).filter(
        ({ object, expected, found }) =>
          !(object.startsWith("index ") && (byUpdate.has(object.split(".")[1]!) || expected === undefined)) &&
          !(object.startsWith("column ") && expected?.replace(/^\d+ /, "") === found?.replace(/^\d+ /, "")),
      );
      assert.deepEqual(left, []);
      for (const sequence of expectedCatalogue().sequences) {
        assert.deepEqual(await ask(db, `SELECT last_value, is_called FROM ${sequence.name}`), [{ last_value: sequence.fresh_last_value, is_called: sequence.fresh_is_called }], sequence.name);
      }
    }));

  it("an upgrade that fails changes nothing", () =>
    withDatabase({}, async (db) => {
      await sql(db, `${BACK_TO_88} CREATE TABLE user_reports (id int)`);
      await assert.rejects(open(db), /user_reports/);
      assert.deepEqual(await ask(db, "SELECT version FROM schema_version"), [{ version: 88 }]);
      assert.deepEqual(await ask(db, "SELECT FROM applied_schema_deltas WHERE version > 88"), []);
    }));

  it("knows each delta of Synapse from 88 on, in Synapse's order", () => {
    assert.deepEqual(DELTAS.map(({ file }) => file), expectedCatalogue().applied_schema_deltas.filter(({ version }) => version >= 88).map(({ file }) => file));
  });

  /** A reader that answers the first statement with one row. */
  function fakeReader(row: object): unknown {
    return { run: async () => ({ rows: [row] }), name: undefined };
  }
});
