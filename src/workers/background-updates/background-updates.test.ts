// More than 500 lines: the runner and its updates, which are tested on the same kinds of databases.
import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import { silentLogger, type Logger } from "../../lib/log.ts";
import { EventStore } from "../../storage/events/event-store.ts";
import { query } from "../../storage/database.ts";
import { expectedCatalogue } from "../../storage/schema/catalogue-file.ts";
import { describeCatalogue, describeDatabase, differences } from "../../storage/schema/compare.ts";
import { StateStore } from "../../storage/state/state-store.ts";
import { openStreams } from "../../storage/stream-ids.ts";
import { createTestDatabase, fixtureDump, type TestDatabase } from "../../testing/database.ts";
import { BEFORE_SERVING } from "../../storage/jobs/background-updates.ts";
import { UPDATES } from "./registry.ts";
import { BackgroundUpdates } from "./runner.ts";
import type { Update, UpdateContext } from "./update.ts";

const SERVER = "localhost:18448";

describe("background updates", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let lines: string[];

  const sql = (text: string): Promise<unknown> => db.database.transaction("test", (txn) => query(txn, text), { isolation: "read committed" });
  const ask = <Row extends object = Record<string, unknown>>(text: string): Promise<Row[]> => query<Row>(db.database.read, text);
  const queued = async (): Promise<string[]> =>
    (await ask<{ update_name: string }>("SELECT update_name FROM background_updates ORDER BY ordering, update_name")).map((row) => row.update_name);
  const progressOf = async (name: string): Promise<unknown> =>
    JSON.parse((await ask<{ progress_json: string }>(`SELECT progress_json FROM background_updates WHERE update_name = '${name}'`))[0]!.progress_json);

  async function open(pace: { size?: number; sleep?: boolean } = {}, updates?: ReadonlyMap<string, Update>): Promise<BackgroundUpdates> {
    const { database } = db;
    const events = new EventStore(database.read, silentLogger);
    const log: Logger = { ...silentLogger, warn: (line) => void lines.push(line), error: (line) => void lines.push(line), named: () => log };
    const ctx = {
      config: {
        server: { serverName: SERVER, enableSearch: true },
        stats: { enabled: true },
        workers: { instanceName: "master" },
        // A batch takes no time at all, so its size stays what it begins with.
        backgroundUpdates: {
          sleepEnabled: pace.sleep ?? false,
          sleepDurationMs: 20,
          updateDurationMs: 0,
          minBatchSize: pace.size ?? 100,
          defaultBatchSize: pace.size ?? 100,
        },
      },
      db: database,
      read: database.read,
      transaction: database.transaction.bind(database),
      clock: systemClock,
      log,
      streams: await openStreams(database, "master"),
      events,
      state: new StateStore(database.read, events),
      appservices: { all: () => [{ interestedInUser: (userId: string) => userId.startsWith("@bridge_") }] },
    } as unknown as UpdateContext;
    return new BackgroundUpdates(ctx, updates);
  }

  async function run(names: readonly string[], size?: number): Promise<void> {
    for (const [index, name] of names.entries())
      await sql(`INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('${name}', '{}', ${index})`);
    const updates = await open({ ...(size !== undefined && { size }) });
    updates.start();
    await updates.whenIdle();
    assert.deepEqual(await queued(), []);
    assert.equal(updates.status(), "complete");
  }

  beforeEach(() => {
    lines = [];
  });

  describe("the runner", () => {
    before(async () => (db = await createTestDatabase()));
    beforeEach(() => sql("TRUNCATE background_updates"));
    after(() => db.drop());

    const counting = (calls: string[], name: string, batches: number): [string, Update] => [
      name,
      {
        kind: "batches",
        batch: async (_txn, { progress, size }) => {
          calls.push(`${name} ${String(progress.done ?? 0)}`);
          const done = Number(progress.done ?? 0) + 1;
          return { items: size, progress: done < batches ? { done } : undefined };
        },
      },
    ];
    const queue = (name: string, ordering: number, dependsOn?: string): Promise<unknown> =>
      sql(
        `INSERT INTO background_updates (update_name, progress_json, ordering, depends_on) VALUES ('${name}', '{}', ${ordering}, ${dependsOn === undefined ? "NULL" : `'${dependsOn}'`})`,
      );

    it("runs in Synapse's order, each after what it depends on, and stores progress with each batch", async () => {
      const calls: string[] = [];
      const updates = await open({}, new Map([counting(calls, "a", 1), counting(calls, "b", 2), counting(calls, "c", 1)]));
      await queue("c", 1, "b");
      await queue("b", 2);
      await queue("a", 2);
      updates.start();
      await updates.whenIdle();
      assert.deepEqual(calls, ["a 0", "b 0", "b 1", "c 0"]);
      assert.deepEqual(await queued(), []);
    });

    it("goes on from the progress that another server left", async () => {
      const calls: string[] = [];
      await sql(`INSERT INTO background_updates (update_name, progress_json) VALUES ('a', '{"done": 7}')`);
      const updates = await open({}, new Map([counting(calls, "a", 9)]));
      updates.start();
      await updates.whenIdle();
      assert.deepEqual(calls, ["a 7", "a 8"]);
    });

    it("risk 70: leaves names it does not know, says so once, and does not let others wait for them", async () => {
      const calls: string[] = [];
      const updates = await open({}, new Map([counting(calls, "a", 1), counting(calls, "late", 1)]));
      await queue("of_the_future", 1);
      await queue("late", 2, "of_the_future");
      await queue("a", 3);
      updates.start();
      await updates.whenIdle();
      updates.start();
      await updates.whenIdle();
      assert.deepEqual(calls, ["a 0"]);
      assert.deepEqual(await queued(), ["of_the_future", "late"]);
      assert.deepEqual(lines, [
        "Background update left in the queue: of_the_future is not known here: the server that queued it must do it",
        "Background update left in the queue: late waits for of_the_future",
      ]);
      assert.equal(updates.status(), "not started");
    });

    it("tries an update that fails five times, and goes on with the others", async () => {
      let attempts = 0;
      const calls: string[] = [];
      const failing: Update = { kind: "once", run: () => Promise.reject(new Error(`attempt ${++attempts}`)) };
      const updates = await open({}, new Map<string, Update>([["broken", failing], counting(calls, "a", 1)]));
      await queue("broken", 1);
      await queue("a", 2);
      updates.start();
      await updates.whenIdle();
      assert.equal(attempts, 5);
      assert.deepEqual(calls, ["a 0"]);
      assert.deepEqual(await queued(), ["broken"]);
      assert.equal(updates.status(), "aborted");
    });

    it("a batch that fails leaves no trace", async () => {
      let attempts = 0;
      const failing: Update = {
        kind: "batches",
        batch: async (txn) => {
          await query(txn, "INSERT INTO users (name, creation_ts) VALUES ('@half:done', 1)");
          if (++attempts < 3) throw new Error("no");
          return { items: 1, progress: undefined };
        },
      };
      await queue("a", 1);
      const updates = await open({}, new Map([["a", failing]]));
      updates.start();
      await updates.whenIdle();
      assert.equal(attempts, 3);
      assert.equal((await ask("SELECT FROM users WHERE name = '@half:done'")).length, 1);
    });

    it("can be paused and resumed, and tells what it is at", async () => {
      const calls: string[] = [];
      const [name, inner] = counting(calls, "a", 6) as [string, Extract<Update, { kind: "batches" }>];
      const pausing: Update = {
        kind: "batches",
        batch: async (txn, input) => {
          if (calls.length === 2) {
            assert.equal(updates.currentUpdate()?.name, "a");
            assert.equal(updates.currentUpdate()?.totalItemCount, 2 * 100);
            assert.equal(updates.status(), "running");
            updates.setEnabled(false);
          }
          return await inner.batch(txn, input);
        },
      };
      const updates = await open({ sleep: true }, new Map([[name, pausing]]));
      await queue("a", 1);
      updates.start();
      await updates.whenIdle();
      assert.equal(updates.status(), "disabled");
      assert.equal(updates.currentUpdate(), undefined);
      assert.deepEqual(await progressOf("a"), { done: 3 });
      updates.start();
      await updates.whenIdle();
      assert.equal(calls.length, 3, "nothing runs while it is off");
      updates.setEnabled(true);
      await updates.whenIdle();
      assert.deepEqual(await queued(), []);
      assert.equal(updates.status(), "complete");
    });

    it("stops after the batch under way", async () => {
      const calls: string[] = [];
      const updates = await open({ sleep: true }, new Map([counting(calls, "a", 1000)]));
      await queue("a", 1);
      updates.start();
      while (calls.length < 2) await systemClock.sleep(5);
      await updates.stop();
      const done = calls.length;
      assert.deepEqual(await progressOf("a"), { done });
      await systemClock.sleep(60);
      assert.equal(calls.length, done);
    });

    it("makes batches as large as fit the time, measured by those before", async () => {
      const sizes: number[] = [];
      const slow: Update = {
        kind: "batches",
        batch: async (_txn, { size }) => {
          sizes.push(size);
          await systemClock.sleep(10);
          return { items: size, progress: sizes.length < 4 ? {} : undefined };
        },
      };
      await queue("a", 1);
      const updates = await open({}, new Map([["a", slow]]));
      (updates as unknown as { ctx: { config: { backgroundUpdates: { updateDurationMs: number; minBatchSize: number } } } }).ctx.config.backgroundUpdates = {
        ...(updates as unknown as { ctx: UpdateContext }).ctx.config.backgroundUpdates,
        updateDurationMs: 100,
        minBatchSize: 1,
      };
      updates.start();
      await updates.whenIdle();
      assert.equal(sizes[0], 100);
      assert.ok(sizes[1]! > 300 && sizes[1]! <= 1000, `the second batch has ${sizes[1]}`);
    });

    it("queues the jobs of the admin API, and refuses to queue one twice", async () => {
      const updates = await open();
      updates.setEnabled(false);
      assert.equal(await updates.startJob("regenerate_directory"), "started");
      assert.equal(await updates.startJob("regenerate_directory"), "queued before");
      const atOnce = await Promise.all(Array.from({ length: 5 }, () => updates.startJob("populate_stats_process_rooms")));
      assert.deepEqual(atOnce.sort(), ["queued before", "queued before", "queued before", "queued before", "started"]);
      assert.equal(await updates.startJob("something_else"), "unknown");
      assert.deepEqual(
        await ask("SELECT update_name, depends_on, progress_json FROM background_updates WHERE update_name LIKE 'populate_user%' ORDER BY depends_on"),
        [
          { update_name: "populate_user_directory_createtables", depends_on: "", progress_json: "{}" },
          { update_name: "populate_user_directory_process_rooms", depends_on: "populate_user_directory_createtables", progress_json: "{}" },
          { update_name: "populate_user_directory_cleanup", depends_on: "populate_user_directory_process_users", progress_json: "{}" },
          { update_name: "populate_user_directory_process_users", depends_on: "populate_user_directory_process_rooms", progress_json: "{}" },
        ].sort((a, b) => (a.depends_on < b.depends_on ? -1 : 1)),
      );
      updates.setEnabled(true);
      await updates.whenIdle();
      assert.deepEqual(await queued(), []);
    });
  });

  describe("the registry", () => {
    it("risk 70: knows each update that a Synapse of schema 88 or newer queues", () => {
      assert.deepEqual(
        expectedCatalogue()
          .background_updates.map(({ update_name }) => update_name)
          .filter((name) => !UPDATES.has(name)),
        [],
      );
    });

    it("risk 70: knows no name that Synapse 1.160 does not know", () => {
      const known = new Set(expectedCatalogue().known_background_update_handlers.map(({ name }) => name));
      assert.deepEqual(
        [...UPDATES.keys()].filter((name) => !known.has(name)),
        [],
      );
    });

    it("risk 71: makes the unique indexes that writers rely on before serving", () => {
      const { tables } = expectedCatalogue();
      for (const name of BEFORE_SERVING) {
        const update = UPDATES.get(name)!;
        if (update.kind === "index")
          assert.match(
            Object.values(tables)
              .flatMap(({ indexes }) => indexes)
              .find((index) => index.name === update.index.name)!.definition,
            /^CREATE UNIQUE INDEX/,
            name,
          );
      }
    });
  });

  describe("indexes and constraints", () => {
    beforeEach(async () => (db = await createTestDatabase()));
    afterEach(() => db.drop());

    it("make, from a database that has none of them, the schema as it is when Synapse has done them", async () => {
      const { tables, background_updates: known } = expectedCatalogue();
      for (const { indexes } of Object.values(tables))
        for (const index of indexes) if (index.created_by_background_update) await sql(`DROP INDEX ${index.name}`);
      await sql(`
        CREATE UNIQUE INDEX event_txn_id_device_id_txn_id ON event_txn_id_device_id (room_id, user_id, device_id, txn_id);
        CREATE INDEX sliding_sync_membership_snapshots_user_id ON sliding_sync_membership_snapshots (user_id);
        CREATE INDEX event_push_actions_thread_id_null ON event_push_actions (thread_id) WHERE thread_id IS NULL;
        ALTER TABLE event_forward_extremities DROP CONSTRAINT event_forward_extremities_event_id;
        ALTER TABLE event_forward_extremities ADD CONSTRAINT event_forward_extremities_event_id
          FOREIGN KEY (event_id) REFERENCES events (event_id) DEFERRABLE INITIALLY DEFERRED NOT VALID`);
      for (const [table, constraint, column] of [
        ["event_push_actions", "event_push_actions_thread_id", "thread_id"],
        ["event_push_actions_staging", "event_push_actions_staging_thread_id", "thread_id"],
        ["event_push_summary", "event_push_summary_thread_id", "thread_id"],
        ["profiles", "full_user_id_not_null", "full_user_id"],
        ["user_filters", "full_user_id_not_null", "full_user_id"],
      ]) {
        await sql(
          `ALTER TABLE ${table} DROP CONSTRAINT ${constraint}; ALTER TABLE ${table} ADD CONSTRAINT ${constraint} CHECK (${column} IS NOT NULL) NOT VALID`,
        );
      }
      await run(known.map(({ update_name }) => update_name));
      assert.deepEqual(lines, []);
      assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)), []);
    });

    it("an index that an earlier attempt left half made is made again; one that is whole is not touched", async () => {
      await sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'received_ts_idx'::regclass");
      const oid = async (name: string): Promise<unknown> => (await ask(`SELECT '${name}'::regclass::oid::int AS oid`))[0];
      const [half, whole] = [await oid("received_ts_idx"), await oid("events_jump_to_date_idx")];
      await run(["events_received_ts_index", "events_jump_to_date_index"]);
      assert.notDeepEqual(await oid("received_ts_idx"), half);
      assert.deepEqual(await oid("events_jump_to_date_idx"), whole);
      assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)), []);
    });

    it("mend rows that violate a constraint, then check it", async () => {
      await sql(`
        ALTER TABLE event_push_actions DROP CONSTRAINT event_push_actions_thread_id;
        ALTER TABLE profiles DROP CONSTRAINT full_user_id_not_null;
        ALTER TABLE user_filters DROP CONSTRAINT full_user_id_not_null;
        ALTER TABLE event_forward_extremities DROP CONSTRAINT event_forward_extremities_event_id;
        INSERT INTO event_push_actions (room_id, event_id, user_id, actions, notif, highlight, thread_id)
          SELECT '!r', '$' || n, '@u', '[]', 1, 0, CASE WHEN n % 2 = 0 THEN '$t' END FROM generate_series(1, 25) AS n;
        INSERT INTO profiles (user_id, full_user_id) SELECT 'u' || n, CASE WHEN n > 20 THEN '@u' || n || ':${SERVER}' END FROM generate_series(1, 25) AS n;
        INSERT INTO user_filters (user_id, full_user_id, filter_id, filter_json) SELECT 'u', NULL, n, '{}' FROM generate_series(1, 25) AS n;
        INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, stream_ordering) VALUES (1, '$12', 't', '!r', true, false, 1, 5);
        INSERT INTO event_forward_extremities (event_id, room_id) SELECT '$' || n, '!r' FROM generate_series(1, 25) AS n;
        ALTER TABLE event_push_actions ADD CONSTRAINT event_push_actions_thread_id CHECK (thread_id IS NOT NULL) NOT VALID;
        ALTER TABLE profiles ADD CONSTRAINT full_user_id_not_null CHECK (full_user_id IS NOT NULL) NOT VALID;
        ALTER TABLE user_filters ADD CONSTRAINT full_user_id_not_null CHECK (full_user_id IS NOT NULL) NOT VALID;
        ALTER TABLE event_forward_extremities ADD CONSTRAINT event_forward_extremities_event_id
          FOREIGN KEY (event_id) REFERENCES events (event_id) DEFERRABLE INITIALLY DEFERRED NOT VALID`);
      await run(
        [
          "event_push_actions_thread_id",
          "populate_full_user_id_profiles",
          "populate_full_user_id_user_filters",
          "event_forward_extremities_event_id_foreign_key_constraint_update",
        ],
        4,
      );
      assert.deepEqual(await ask("SELECT thread_id, count(*) AS n FROM event_push_actions GROUP BY 1 ORDER BY 1"), [
        { thread_id: "$t", n: 12 },
        { thread_id: "main", n: 13 },
      ]);
      assert.equal((await ask(`SELECT FROM profiles WHERE full_user_id = '@' || user_id || ':${SERVER}'`)).length, 25);
      assert.equal((await ask(`SELECT FROM user_filters WHERE full_user_id = '@u:${SERVER}'`)).length, 25);
      assert.deepEqual(await ask("SELECT event_id FROM event_forward_extremities"), [{ event_id: "$12" }]);
      assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)), []);
    });

    it("risk 80: remove double receipts, keeping the newest, before the unique index is made", async () => {
      await sql(`
        DROP INDEX receipts_linearized_unique_index, receipts_graph_unique_index;
        INSERT INTO receipts_linearized (stream_id, room_id, receipt_type, user_id, event_id, data)
          VALUES (5, '!r', 'm.read', '@u', '$new', '{}'), (3, '!r', 'm.read', '@u', '$old', '{}'), (4, '!s', 'm.read', '@u', '$other', '{}');
        INSERT INTO receipts_graph (room_id, receipt_type, user_id, event_ids, data) VALUES ('!r', 'm.read', '@u', '["$new"]', '{}'), ('!r', 'm.read', '@u', '["$old"]', '{}')`);
      await run(["receipts_linearized_unique_index", "receipts_graph_unique_index"]);
      assert.deepEqual(await ask("SELECT event_id FROM receipts_linearized ORDER BY 1"), [{ event_id: "$new" }, { event_id: "$other" }]);
      assert.deepEqual(await ask("SELECT event_ids FROM receipts_graph"), [{ event_ids: '["$new"]' }]);
      assert.deepEqual(differences(describeCatalogue(expectedCatalogue()), await describeDatabase(db.database.read)), []);
    });

    it("risk 71: are done before serving where writers rely on them, and no others", async () => {
      await sql(`
        DROP INDEX event_search_event_id_idx, events_jump_to_date_idx;
        INSERT INTO background_updates (update_name, progress_json) VALUES ('event_search_event_id_idx', '{}'), ('events_jump_to_date_index', '{}')`);
      const updates = await open();
      await updates.runBeforeServing();
      assert.deepEqual(await queued(), ["events_jump_to_date_index"]);
      assert.deepEqual(await updates.pending(["event_search_event_id_idx", "events_jump_to_date_index"]), ["events_jump_to_date_index"]);
    });
  });

  describe("rows", () => {
    before(async () => (db = await createTestDatabase()));
    after(() => db.drop());
    const event = (id: string, type: string, ordering: number, more: { room?: string; json?: object; metadata?: object; depth?: string } = {}): string => `
      INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, stream_ordering, sender)
        VALUES (${more.depth ?? ordering}, '${id}', '${type}', '${more.room ?? "!r"}', true, false, ${more.depth ?? ordering}, ${ordering}, '@u');
      INSERT INTO event_json (event_id, room_id, internal_metadata, json, format_version)
        VALUES ('${id}', '${more.room ?? "!r"}', '${JSON.stringify(more.metadata ?? {})}', '${JSON.stringify(more.json ?? {})}', 3);`;

    it("threads get their newest event, known ones are left as they are", async () => {
      await sql(
        [1, 2, 3, 4, 5].map((n) => event(`$${n}`, "m.room.message", n)).join("") +
          `INSERT INTO event_relations (event_id, relates_to_id, relation_type) VALUES ('$2', '$1', 'm.thread'), ('$3', '$1', 'm.thread'), ('$5', '$4', 'm.thread'), ('$4', '$1', 'm.reference');
           INSERT INTO threads (room_id, thread_id, latest_event_id, topological_ordering, stream_ordering) VALUES ('!r', '$4', '$9', 9, 9)`,
      );
      await run(["threads_backfill"], 1);
      assert.deepEqual(await ask("SELECT thread_id, latest_event_id, stream_ordering FROM threads ORDER BY 1"), [
        { thread_id: "$1", latest_event_id: "$3", stream_ordering: 3 },
        { thread_id: "$4", latest_event_id: "$9", stream_ordering: 9 },
      ]);
    });

    it("pushers learn their device from the token that made them", async () => {
      await sql(`
        INSERT INTO access_tokens (id, user_id, device_id, token) VALUES (1, '@u', 'PHONE', 'x'), (2, '@u', 'OTHER', 'y');
        INSERT INTO pushers (id, user_name, access_token, profile_tag, kind, app_id, app_display_name, device_display_name, pushkey, ts, device_id)
          VALUES (1, '@u', 1, '', 'http', 'a', '', '', 'k1', 0, NULL), (2, '@u', 2, '', 'http', 'a', '', '', 'k2', 0, 'KNOWN'), (3, '@u', 77, '', 'http', 'a', '', '', 'k3', 0, NULL)`);
      await run(["set_device_id_for_pushers"], 2);
      assert.deepEqual(await ask("SELECT id, device_id, access_token FROM pushers ORDER BY id"), [
        { id: 1, device_id: "PHONE", access_token: null },
        { id: 2, device_id: "KNOWN", access_token: null },
        { id: 3, device_id: null, access_token: null },
      ]);
      await run(["remove_stale_pushers"]);
      assert.equal((await ask("SELECT FROM pushers")).length, 3, "pushers that know no token any more are not stale");
    });

    it("closed accounts lose their key backups, account data and pushers", async () => {
      await sql(`
        INSERT INTO users (name, creation_ts, deactivated) VALUES ('@gone', 1, 1), ('@here', 1, 0);
        INSERT INTO e2e_room_keys_versions (user_id, version, algorithm, auth_data) VALUES ('@gone', 1, 'a', '{}'), ('@here', 1, 'a', '{}');
        INSERT INTO account_data (user_id, account_data_type, stream_id, content) VALUES ('@gone', 't', 1, '{}'), ('@here', 't', 2, '{}');
        INSERT INTO pushers (id, user_name, profile_tag, kind, app_id, app_display_name, device_display_name, pushkey, ts) VALUES (11, '@gone', '', 'http', 'a', '', '', 'k11', 0)`);
      await run(["delete_e2e_backup_keys_for_deactivated_users", "delete_account_data_for_deactivated_users", "remove_deactivated_pushers"], 1);
      assert.deepEqual(await ask("SELECT user_id FROM e2e_room_keys_versions UNION ALL SELECT user_id FROM account_data"), [
        { user_id: "@here" },
        { user_id: "@here" },
      ]);
      assert.deepEqual(await ask("SELECT FROM pushers WHERE user_name = '@gone'"), []);
    });

    it("messages to servers that cannot be, and to devices that are not, go", async () => {
      await sql(`
        INSERT INTO device_federation_outbox (destination, stream_id, queued_ts, messages_json) VALUES ('example.org', 40, 0, '{}'), ('not a server', 45, 0, '{}'), ('example.org:8448', 60, 0, '{}');
        INSERT INTO devices (user_id, device_id, hidden) VALUES ('@u', 'PHONE', false), ('@u', 'keykey', true);
        INSERT INTO device_inbox (user_id, device_id, stream_id, message_json) VALUES ('@u', 'PHONE', 7, '{}'), ('@u', 'keykey', 8, '{}'), ('@u', 'LOST', 30, '{}')`);
      await run(["cleanup_device_federation_outbox", "remove_dead_devices_from_device_inbox"], 10);
      assert.deepEqual(
        (await ask<{ destination: string }>("SELECT destination FROM device_federation_outbox ORDER BY 1")).map((row) => row.destination),
        ["example.org", "example.org:8448"],
      );
      assert.deepEqual(await ask("SELECT device_id FROM device_inbox"), [{ device_id: "PHONE" }]);
    });

    it("risk 61: redactions are to be looked at again only where their metadata say so", async () => {
      await sql(
        event("$r1", "m.room.redaction", 21, { metadata: { recheck_redaction: true } }) +
          event("$r2", "m.room.redaction", 22) +
          "INSERT INTO redactions (event_id, redacts) VALUES ('$r1', '$x'), ('$r2', '$x'), ('$r3', '$x')",
      );
      await run(["redactions_recheck"], 2);
      assert.deepEqual(await ask("SELECT event_id, recheck FROM redactions ORDER BY 1"), [
        { event_id: "$r1", recheck: true },
        { event_id: "$r2", recheck: false },
        { event_id: "$r3", recheck: false },
      ]);
    });

    it("risk 60: depths beyond the largest number are sorted together, in rooms that bound numbers", async () => {
      await sql(`
        INSERT INTO rooms (room_id, is_public, creator, room_version, has_auth_chain_index) VALUES ('!old', false, '@u', '1', true), ('!strict', false, '@u', '10', true), ('!unknown', false, '@u', 'x', true);
        ${event("$d1", "t", 31, { room: "!old", depth: "9223372036854775807" })}${event("$d2", "t", 32, { room: "!strict", depth: "9223372036854775807" })}${event("$d3", "t", 33, { room: "!strict", depth: "12" })}`);
      await run(["fixup_max_depth_cap"], 1);
      assert.deepEqual(await ask("SELECT event_id, topological_ordering::text AS t, depth::text AS d FROM events WHERE event_id LIKE '$d_' ORDER BY 1"), [
        { event_id: "$d1", t: "9223372036854775807", d: "9223372036854775807" },
        { event_id: "$d2", t: "9007199254740991", d: "9223372036854775807" },
        { event_id: "$d3", t: "12", d: "12" },
      ]);
    });

    it("media in quarantine enter the stream of quarantines, each with an id of its own", async () => {
      await sql(`
        INSERT INTO local_media_repository (media_id, media_type, media_length, created_ts, quarantined_by) SELECT 'm' || n, 't', 1, 1, CASE WHEN n % 2 = 0 THEN '@admin' END FROM generate_series(1, 6) AS n;
        INSERT INTO remote_media_cache (media_origin, media_id, media_type, media_length, created_ts, filesystem_id, quarantined_by)
          VALUES ('b.org', 'a', 't', 1, 1, 'f1', '@admin'), ('a.org', 'z', 't', 1, 1, 'f2', '@admin')`);
      await run(["flag_existing_quarantined_media"], 2);
      assert.deepEqual(await ask("SELECT stream_id, instance_name, origin, media_id, quarantined FROM quarantined_media_changes ORDER BY stream_id"), [
        { stream_id: 2, instance_name: "master", origin: null, media_id: "m2", quarantined: true },
        { stream_id: 3, instance_name: "master", origin: null, media_id: "m4", quarantined: true },
        { stream_id: 4, instance_name: "master", origin: "a.org", media_id: "z", quarantined: true },
        { stream_id: 5, instance_name: "master", origin: "b.org", media_id: "a", quarantined: true },
        { stream_id: 6, instance_name: "master", origin: null, media_id: "m6", quarantined: true },
      ]);
    });

    it("risk 68: only state groups that nothing stands on are given up", async () => {
      await sql(`
        INSERT INTO state_groups (id, room_id, event_id) SELECT n, '!r', '$x' FROM generate_series(1, 9) AS n;
        INSERT INTO state_group_edges (state_group, prev_state_group) VALUES (2, 1), (3, 2), (5, 4), (6, 5), (7, 5), (9, 8);
        INSERT INTO event_to_state_groups (event_id, state_group) VALUES ('$a', 3), ('$b', 4), ('$c', 7)`);
      // 1 <- 2 <- 3(used); 4(used) <- 5 <- 6, 7(used); 8 <- 9
      for (const size of [100, 2]) {
        await sql("TRUNCATE state_groups_pending_deletion");
        await run(["mark_unreferenced_state_groups_for_deletion_bg_update"], size);
        assert.deepEqual(
          (await ask<{ state_group: number }>("SELECT state_group FROM state_groups_pending_deletion ORDER BY 1")).map((row) => row.state_group),
          [6, 8, 9],
          `in batches of ${size}`,
        );
      }
    });

    it("message search is filled from the newest event down, without redacted ones", async () => {
      await sql(
        event("$s1", "m.room.message", 51, { json: { content: { body: "running foxes" } } }) +
          event("$s2", "m.room.name", 52, { json: { content: { name: "Fox room" } } }) +
          event("$s3", "m.room.message", 53, { json: { content: { body: "a redacted fox" } } }) +
          event("$s4", "m.room.message", 54, { json: { content: { body: ["no", "text"] } } }) +
          event("$s5", "m.room.topic", 55, { json: { content: { topic: "about foxes" } } }) +
          "INSERT INTO redactions (event_id, redacts) VALUES ('$red', '$s3')",
      );
      await run(["event_search"], 2);
      assert.deepEqual(await ask("SELECT event_id, key FROM event_search WHERE vector @@ to_tsquery('english', 'fox') ORDER BY 1"), [
        { event_id: "$s1", key: "content.body" },
        { event_id: "$s2", key: "content.name" },
        { event_id: "$s5", key: "content.topic" },
      ]);
    });
  });

  describe("on the database of a real server", () => {
    before(async function () {
      const fixture = fixtureDump();
      if (!fixture) return this.skip();
      db = await createTestDatabase({ fixture });
    });
    after(() => db?.drop());

    /** Rows of a query before and after: the update must make what Synapse had made event by event. */
    async function same(text: string, make: () => Promise<void>): Promise<void> {
      const before = await ask(text);
      assert.ok(before.length > 10, "there is something to compare");
      await make();
      assert.deepEqual(await ask(text), before);
    }

    it("risk 81, 82: the sliding sync tables become what they were", async () => {
      await same("SELECT * FROM sliding_sync_joined_rooms ORDER BY room_id", async () => {
        await sql("TRUNCATE sliding_sync_joined_rooms");
        await run(["sliding_sync_prefill_joined_rooms_to_recalculate_table_bg_update", "sliding_sync_joined_rooms_bg_update"], 7);
      });
      // While a user is in the room, what the room was called when they joined does not matter: the rebuild takes what it is called now.
      await same(
        `SELECT s.room_id, s.user_id, s.sender, s.membership_event_id, s.membership, s.forgotten, s.event_stream_ordering, s.event_instance_name, s.has_known_state,
                CASE WHEN s.membership <> 'join' THEN (s.room_type, s.room_name, s.is_encrypted, s.tombstone_successor_room_id)::text END AS state
         FROM sliding_sync_membership_snapshots AS s ORDER BY s.room_id, s.user_id`,
        async () => {
          await sql("TRUNCATE sliding_sync_membership_snapshots");
          await run(["sliding_sync_membership_snapshots_bg_update"], 13);
        },
      );
    });

    it("risk 84, 92: the statistics become what they were", async () => {
      await same("SELECT * FROM room_stats_state WHERE room_id IN (SELECT room_id FROM current_state_events) ORDER BY room_id", async () => {
        await sql(
          "UPDATE room_stats_state SET name = 'wrong', topic = 'wrong', encryption = 'wrong', room_type = 'wrong', is_federatable = false, join_rules = NULL",
        );
        await run(["populate_stats_process_rooms"], 10);
      });
      await same("SELECT user_id, joined_rooms FROM user_stats_current WHERE user_id IN (SELECT name FROM users) ORDER BY user_id", async () => {
        await sql("UPDATE user_stats_current SET joined_rooms = 77");
        await run(["populate_stats_process_users"], 10);
      });
      const counters = `SELECT room_id, joined_members, invited_members, left_members, banned_members, knocked_members, local_users_in_room FROM room_stats_current
                        WHERE room_id IN (SELECT room_id FROM current_state_events) ORDER BY room_id`;
      await same(counters, async () => {
        await sql("UPDATE room_stats_current SET joined_members = 77, local_users_in_room = 77");
        await run(["populate_stats_process_rooms"]);
      });
    });

    it("risk 84, 92: the user directory becomes what it was, and is followed from where the rebuild began", async () => {
      const everything = `SELECT user_id, NULL AS other, room_id FROM users_in_public_rooms UNION ALL SELECT user_id, other_user_id, room_id FROM users_who_share_private_rooms ORDER BY 1, 2, 3`;
      const updates = await open({ size: 40 });
      const rebuild = async (): Promise<void> => {
        await sql("TRUNCATE user_directory, user_directory_search");
        assert.equal(await updates.startJob("regenerate_directory"), "started");
        await updates.whenIdle();
        assert.deepEqual(await queued(), []);
      };
      await rebuild();
      await same(everything, rebuild);
      assert.deepEqual(await ask("SELECT d.stream_id = (SELECT max(stream_id) FROM current_state_delta_stream) AS same FROM user_directory_stream_pos AS d"), [
        { same: true },
      ]);
      assert.deepEqual(await ask("SELECT tablename FROM pg_tables WHERE tablename LIKE '_temp%'"), []);
      assert.equal((await ask(`SELECT FROM user_directory WHERE user_id LIKE '@bridge\\_%'`)).length, 0);
      const wrong = await ask(
        `SELECT d.user_id FROM user_directory AS d JOIN users AS u ON u.name = d.user_id WHERE u.deactivated = 1 OR u.user_type = 'support'`,
      );
      assert.deepEqual(wrong, []);
    });

    it("risk 59: the chain cover tells of each event what is in its auth chain, and what is not", async () => {
      await sql("TRUNCATE event_auth_chains, event_auth_chain_links; UPDATE rooms SET has_auth_chain_index = false");
      await run(["chain_cover"], 50);
      assert.deepEqual(await ask("SELECT room_id FROM rooms WHERE NOT has_auth_chain_index"), []);
      const events = await ask<{ event_id: string; chain_id: number; sequence_number: number; auth: string[] }>(
        `SELECT c.event_id, c.chain_id, c.sequence_number, ARRAY(SELECT auth_id FROM event_auth AS a WHERE a.event_id = c.event_id) AS auth
         FROM event_auth_chains AS c JOIN events AS e ON e.event_id = c.event_id`,
      );
      assert.ok(events.length > 1000);
      const links = await ask<{ oc: number; os: number; tc: number; ts: number }>(
        "SELECT origin_chain_id AS oc, origin_sequence_number AS os, target_chain_id AS tc, target_sequence_number AS ts FROM event_auth_chain_links",
      );
      const byId = new Map(events.map((event) => [event.event_id, event]));
      const linksOf = new Map<number, typeof links>();
      for (const link of links) linksOf.set(link.oc, [...(linksOf.get(link.oc) ?? []), link]);
      for (const event of events) {
        // What the edges say ...
        const walked = new Set<string>();
        for (const todo = [...event.auth]; todo.length > 0;) {
          const id = todo.pop()!;
          if (walked.has(id) || !byId.has(id)) continue;
          walked.add(id);
          todo.push(...byId.get(id)!.auth);
        }
        // ... and what the index says.
        const reach = new Map<number, number>([[event.chain_id, event.sequence_number]]);
        for (const todo = [event.chain_id]; todo.length > 0;) {
          const chain = todo.pop()!;
          for (const link of linksOf.get(chain) ?? []) {
            if (link.os > reach.get(chain)! || (reach.get(link.tc) ?? 0) >= link.ts) continue;
            reach.set(link.tc, link.ts);
            todo.push(link.tc);
          }
        }
        const told = events
          .filter((other) => other.event_id !== event.event_id && (reach.get(other.chain_id) ?? 0) >= other.sequence_number)
          .map((other) => other.event_id);
        assert.deepEqual(told.sort(), [...walked].sort(), event.event_id);
      }
    });
  });
});
