import assert from "node:assert/strict";
import { silentLogger } from "../../lib/log.ts";
import { systemClock } from "../../lib/clock.ts";
import { PersistentMap } from "../../lib/persistent-map.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import { type Database, execute, query } from "../../storage/database.ts";
import { AuthGraph } from "../../storage/events/auth-graph.ts";
import { EventStore } from "../../storage/events/event-store.ts";
import { Memberships } from "../../storage/rooms/memberships.ts";
import { RoomVersions } from "../../storage/rooms/room-versions.ts";
import { emptyState, type State, StateSnapshot } from "../../storage/state/snapshot.ts";
import { StateStore } from "../../storage/state/state-store.ts";
import { openStreams } from "../../storage/stream-ids.ts";
import { testConfig } from "../../testing/config.ts";
import { createTestDatabase, fixtureDump, type TestDatabase } from "../../testing/database.ts";
import { Crowds } from "../push/crowds.ts";
import { openStreamChanges } from "../streams/changes.ts";
import { Notifier } from "../streams/notifier.ts";
import { openPersister } from "./open-persister.ts";

const SERVER = "localhost:18448";

/** The rooms of a real server that lived on this server alone, stored anew event by event: all tables must come out the same. */
describe("storing events leaves the rows that Synapse leaves", function () {
  this.timeout(120_000);
  let source: TestDatabase;
  let target: TestDatabase;
  let rooms: string[];
  const orderings = new Map<number, string>();

  before(async function () {
    const fixture = fixtureDump();
    if (fixture === undefined) return this.skip();
    [source, target] = await Promise.all([createTestDatabase({ fixture }), createTestDatabase()]);
    rooms = await localRooms(source.database);
    const events = await inStreamOrder(source.database, rooms);
    await copyRooms(source.database, target.database, rooms);
    await replay(source.database, target.database, events);
    for (const db of [source.database, target.database]) {
      for (const row of await query<{ event_id: string; stream_ordering: number }>(db.read, "SELECT event_id, stream_ordering FROM events")) {
        orderings.set((db === source.database ? 1 : -1) * row.stream_ordering, row.event_id);
      }
    }
  });

  after(async () => {
    await Promise.all([source?.drop(), target?.drop()]);
  });

  /** Rows of a statement over `$1`, the rooms; columns that hold a position are replaced by the event there. */
  async function same(sql: string, positions: readonly string[] = []): Promise<void> {
    const [expected, actual] = await Promise.all(
      [source, target].map(async ({ database }, index) => {
        const rows = await query<Record<string, unknown>>(database.read, sql, [rooms]);
        for (const row of rows)
          for (const column of positions) if (typeof row[column] === "number") row[column] = orderings.get(row[column] * (index === 0 ? 1 : -1)) ?? row[column];
        return rows.map((row) => JSON.stringify(row)).sort();
      }),
    );
    assert.ok(expected!.length > 0, `the fixture has no rows for ${sql}`);
    assert.deepEqual(difference(expected!, actual!), { missing: [], unexpected: [] });
  }

  it("events, event_json and state_events", async () => {
    await same(
      `SELECT e.event_id, e.room_id, e.type, e.state_key, e.sender, e.topological_ordering, e.depth, e.processed, e.outlier, e.origin_server_ts, e.contains_url,
         e.instance_name, e.rejection_reason, e.content, e.unrecognized_keys, j.internal_metadata::jsonb AS meta, j.json::jsonb AS json, j.format_version,
         s.type AS state_type, s.state_key AS state_state_key, s.prev_state
       FROM events AS e JOIN event_json AS j USING (event_id) LEFT JOIN state_events AS s USING (event_id) WHERE e.room_id = ANY($1)`,
    );
  });

  it("event_edges, event_auth, extremities and depth (risks 53, 54)", async () => {
    await same(`SELECT g.event_id, g.prev_event_id, g.room_id, g.is_state FROM event_edges AS g JOIN events AS e USING (event_id) WHERE e.room_id = ANY($1)`);
    await same(`SELECT DISTINCT a.event_id, a.auth_id, a.room_id FROM event_auth AS a WHERE a.room_id = ANY($1)`);
    await same(`SELECT x.event_id, x.room_id FROM event_forward_extremities AS x WHERE x.room_id = ANY($1)`);
    await same(`SELECT d.room_id, d.min_depth FROM room_depth AS d WHERE d.room_id = ANY($1)`);
    const [none] = await query<{ n: number }>(target.database.read, "SELECT count(*) AS n FROM event_backward_extremities");
    assert.equal(none!.n, 0);
  });

  it("stream_ordering_to_exterm has each event (risk 58)", async () => {
    // Synapse stores the events of a new room in one batch, with the last of them as extremity: what it has, we have.
    const sql =
      "SELECT s.room_id, s.event_id, e.event_id AS at FROM stream_ordering_to_exterm AS s JOIN events AS e USING (stream_ordering) WHERE s.room_id = ANY($1)";
    const [expected, actual] = await Promise.all(
      [source, target].map(async ({ database }) => (await query(database.read, sql, [rooms])).map((row) => JSON.stringify(row))),
    );
    assert.deepEqual(difference(expected!, actual!).missing, []);
  });

  it("current state and memberships (risks 55, 56)", async () => {
    await same(
      `SELECT c.room_id, c.type, c.state_key, c.event_id, c.membership, c.event_stream_ordering FROM current_state_events AS c WHERE c.room_id = ANY($1)`,
      ["event_stream_ordering"],
    );
    // Without those whose event was censored since.
    await same(
      `SELECT m.event_id, m.user_id, m.sender, m.room_id, m.membership, m.display_name, m.avatar_url, m.event_stream_ordering FROM room_memberships AS m JOIN event_json AS j USING (event_id)
       WHERE m.room_id = ANY($1) AND (j.json::jsonb -> 'content' ? 'displayname' OR m.membership <> 'join')`,
      ["event_stream_ordering"],
    );
    await same(`SELECT l.room_id, l.user_id, l.event_id, l.membership, l.event_stream_ordering FROM local_current_membership AS l WHERE l.room_id = ANY($1)`, [
      "event_stream_ordering",
    ]);
  });

  it("the last delta of each state key (risk 57)", async () => {
    // Synapse stores the events of a new room in other batches, which shows in the deltas between.
    await same(
      `SELECT DISTINCT ON (d.room_id, d.type, d.state_key) d.room_id, d.type, d.state_key, d.event_id, d.prev_event_id, d.instance_name
       FROM current_state_delta_stream AS d WHERE d.room_id = ANY($1) ORDER BY d.room_id, d.type, d.state_key, d.stream_id DESC`,
    );
  });

  it("sliding sync tables (risk 81)", async () => {
    await same(`SELECT s.* FROM sliding_sync_joined_rooms AS s WHERE s.room_id = ANY($1)`, ["event_stream_ordering", "bump_stamp"]);
    // `forgotten` is set when a user forgets the room, not by events.
    await same(
      `SELECT s.room_id, s.user_id, s.sender, s.membership_event_id, s.membership, s.event_stream_ordering, s.event_instance_name, s.has_known_state, s.room_type, s.room_name,
         s.is_encrypted, s.tombstone_successor_room_id
       FROM sliding_sync_membership_snapshots AS s WHERE s.room_id = ANY($1)`,
      ["event_stream_ordering"],
    );
  });

  it("relations, threads, redactions and search", async () => {
    await same(
      `SELECT r.event_id, r.relates_to_id, r.relation_type, r.aggregation_key FROM event_relations AS r JOIN events AS e USING (event_id) WHERE e.room_id = ANY($1)`,
    );
    await same(`SELECT t.room_id, t.thread_id, t.latest_event_id, t.topological_ordering, t.stream_ordering FROM threads AS t WHERE t.room_id = ANY($1)`, [
      "stream_ordering",
    ]);
    await same(`SELECT d.event_id, d.redacts, d.recheck FROM redactions AS d JOIN events AS e ON e.event_id = d.event_id WHERE e.room_id = ANY($1)`);
    await same(
      `SELECT s.event_id, s.room_id, s.sender, s.key, s.vector::text, s.origin_server_ts, s.stream_ordering FROM event_search AS s WHERE s.room_id = ANY($1)`,
      ["stream_ordering"],
    );
  });

  it("the state at each event (risks 51, 65, 66, 67)", async () => {
    const states = `WITH RECURSIVE chain (event_id, root, id, hop) AS (
        SELECT g.event_id, g.state_group, g.state_group, 0 FROM event_to_state_groups AS g JOIN events AS e USING (event_id) WHERE e.room_id = ANY($1)
        UNION ALL
        SELECT c.event_id, c.root, e.prev_state_group, c.hop + 1 FROM chain AS c JOIN state_group_edges AS e ON e.state_group = c.id
      ), entries AS (
        SELECT DISTINCT ON (c.event_id, s.type, s.state_key) c.event_id, s.type, s.state_key, s.event_id AS id
        FROM chain AS c JOIN state_groups_state AS s ON s.state_group = c.id ORDER BY c.event_id, s.type, s.state_key, c.hop
      ) SELECT event_id, count(*), md5(string_agg(type || ' ' || state_key || ' ' || id, ',' ORDER BY type, state_key)) AS digest FROM entries GROUP BY event_id`;
    await same(states);
    const broken = await query(
      target.database.read,
      `SELECT g.state_group FROM state_group_edges AS g LEFT JOIN state_groups AS p ON p.id = g.prev_state_group
       WHERE g.prev_state_group >= g.state_group OR p.id IS NULL
       UNION ALL SELECT g.state_group FROM state_group_edges AS g GROUP BY g.state_group HAVING count(*) > 1`,
    );
    assert.deepEqual(broken, []);
  });

  it("the chain cover index answers as Synapse's does (risk 59)", async () => {
    // Chain numbers are arbitrary: compared is what the index says, whether an event is in another's auth chain, and that links are direct ones only.
    await same(`SELECT c.event_id, c.sequence_number FROM event_auth_chains AS c JOIN events AS e USING (event_id) WHERE e.room_id = ANY($1)`);
    await same(
      `SELECT a.event_id AS from_event, b.event_id AS to_event FROM event_auth_chain_links AS l
       JOIN event_auth_chains AS a ON a.chain_id = l.origin_chain_id AND a.sequence_number = l.origin_sequence_number
       JOIN event_auth_chains AS b ON b.chain_id = l.target_chain_id AND b.sequence_number = l.target_sequence_number
       JOIN events AS e ON e.event_id = a.event_id WHERE e.room_id = ANY($1)`,
    );
    await same(
      `SELECT min(c.event_id) AS first, count(*) FROM event_auth_chains AS c JOIN events AS e USING (event_id) WHERE e.room_id = ANY($1) GROUP BY c.chain_id`,
    );
  });
});

/** Rows that only one side has. */
function difference(expected: readonly string[], actual: readonly string[]): { missing: string[]; unexpected: string[] } {
  const [have, want] = [new Set(actual), new Set(expected)];
  return { missing: expected.filter((row) => !have.has(row)).slice(0, 5), unexpected: actual.filter((row) => !want.has(row)).slice(0, 5) };
}

/** Rooms all of whose events were sent through this server. */
async function localRooms(db: Database): Promise<string[]> {
  const rows = await query<{ room_id: string }>(
    db.read,
    `SELECT r.room_id FROM rooms AS r
     WHERE NOT EXISTS (SELECT FROM events AS e WHERE e.room_id = r.room_id AND (e.outlier OR e.stream_ordering < 0 OR e.sender NOT LIKE '%:' || $1))
       AND EXISTS (SELECT FROM current_state_events AS c WHERE c.room_id = r.room_id)`,
    [SERVER],
  );
  return rows.map((row) => row.room_id);
}

async function inStreamOrder(db: Database, rooms: readonly string[]): Promise<MatrixEvent[]> {
  const rows = await query<{ event_id: string }>(db.read, "SELECT event_id FROM events WHERE room_id = ANY($1) ORDER BY stream_ordering", [rooms]);
  const ids = rows.map((row) => row.event_id);
  return [...(await new EventStore(db.read, silentLogger, 10_000).get(ids, { raw: true, rejected: true })).values()];
}

async function copyRooms(from: Database, to: Database, rooms: readonly string[]): Promise<void> {
  const rows = await query<{ room_id: string; creator: string; room_version: string }>(
    from.read,
    "SELECT room_id, creator, room_version FROM rooms WHERE room_id = ANY($1)",
    [rooms],
  );
  await to.transaction("rooms", (txn) =>
    execute(
      txn,
      "INSERT INTO rooms (room_id, is_public, creator, room_version, has_auth_chain_index) SELECT a, false, b, c, true FROM unnest($1::text[], $2::text[], $3::text[]) AS r (a, b, c)",
      [rows.map((row) => row.room_id), rows.map((row) => row.creator), rows.map((row) => row.room_version)],
    ),
  );
}

async function replay(from: Database, database: Database, events: readonly MatrixEvent[]): Promise<void> {
  const config = testConfig({ server_name: SERVER });
  const streams = await openStreams(database, "master");
  const store = new EventStore(database.read, silentLogger, 10_000);
  const basis = {
    config,
    clock: systemClock,
    log: silentLogger,
    db: database,
    read: database.read,
    streams,
    events: store,
    state: new StateStore(database.read, store),
    members: new Memberships(database.read, SERVER),
    roomVersions: new RoomVersions(database.read),
    authGraph: new AuthGraph(database.read),
    notifier: new Notifier(systemClock),
    changes: openStreamChanges(streams),
    crowds: new Crowds(() => 0),
  };
  const { persister } = openPersister(basis);
  const sourceStates = await new StateStore(from.read, new EventStore(from.read, silentLogger)).afterEvents(events.map(({ eventId }) => eventId));
  const after = new Map<string, StateSnapshot>();
  for (const event of events) {
    const head = await persister.head(event.roomId);
    const first = after.get(event.prevEventIds[0] ?? "") ?? StateSnapshot.full(event.roomId, emptyState);
    // Where branches meet, the state is what Synapse resolved it to.
    const there = PersistentMap.from(sourceStates.get(event.eventId)!);
    const before = event.prevEventIds.length > 1 ? first.become(event.stateKey === undefined ? there : withoutOwn(event, there, first.map)) : first;
    const state = event.stateKey === undefined ? before : before.after(stateKeyOf(event.type, event.stateKey), event.eventId);
    after.set(event.eventId, state);
    event.streamOrdering = undefined;
    await persister.persist([{ event, before: before.map.size === 0 ? undefined : before, after: state, builtOn: head }]);
    assert.notEqual(event.streamOrdering, undefined);
  }
}

function withoutOwn(event: MatrixEvent, state: State, before: State): State {
  const key = stateKeyOf(event.type, event.stateKey!);
  const old = before.get(key);
  return old === undefined ? state.without([key]) : state.set(key, old);
}
