import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/json.ts";
import { buildEvent } from "../../protocol/event/build.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import { signingKeyFromSeed } from "../../protocol/event/sign.ts";
import { CREATE_KEY, memberKey, POWER_LEVELS_KEY } from "../../protocol/power-levels.ts";
import { roomVersion } from "../../protocol/room-versions.ts";
import { query } from "../../storage/database.ts";
import type { State, StateSnapshot } from "../../storage/state/snapshot.ts";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import { sendEvent, sendEvents } from "./send.ts";

const V11 = roomVersion("11")!;
const REMOTE = "@remote:other";
const REMOTE_KEY = signingKeyFromSeed("r", new Uint8Array(32).fill(9));

describe("the persister", function () {
  this.timeout(60_000);
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
  });
  after(() => server.close());

  const rows = async <R extends object = Record<string, unknown>>(sql: string, params: unknown[] = []): Promise<R[]> =>
    await query<R>(server.ctx.read, sql, params);
  const ids = async (sql: string, params: unknown[]): Promise<string[]> => (await rows<{ id: string }>(sql, params)).map(({ id }) => id).sort();
  const extremities = (room: string) => ids("SELECT event_id AS id FROM event_forward_extremities WHERE room_id = $1", [room]);
  const message = (body: string): JsonObject => ({ msgtype: "m.text", body });
  const say = async (room: string, body: string, sender = alice.userId): Promise<string> =>
    (await sendEvent(server.ctx, requesterOf(sender), { roomId: room, type: "m.room.message", content: message(body) })).eventId;

  async function stateAfter(eventId: string): Promise<StateSnapshot> {
    const group = (await server.ctx.state.groupsOfEvents([eventId])).get(eventId)!;
    return (await server.ctx.state.snapshot(group))!;
  }

  /** An event as another server would have sent it, on given events and a given state. */
  function remoteEvent(
    room: string,
    prevs: readonly MatrixEvent[],
    before: State,
    input: { type: string; content: JsonObject; stateKey?: string; sender?: string; redacts?: string },
  ): MatrixEvent {
    const sender = input.sender ?? REMOTE;
    const auth = [CREATE_KEY, POWER_LEVELS_KEY, memberKey(sender)].flatMap((key) => before.get(key) ?? []);
    const depth = Math.max(...prevs.map((prev) => Number(prev.depth))) + 1;
    return buildEvent(
      {
        roomVersion: V11,
        roomId: room,
        sender,
        originServerTs: server.ctx.clock.now(),
        depth,
        prevEventIds: prevs.map((prev) => prev.eventId),
        authEventIds: auth,
        ...input,
      },
      "other",
      [REMOTE_KEY],
    );
  }

  function item(event: MatrixEvent, before: StateSnapshot): EventToPersist {
    const after =
      event.stateKey === undefined || event.rejectedReason !== undefined ? before : before.after(stateKeyOf(event.type, event.stateKey), event.eventId);
    return { event, before, after };
  }

  async function roomWithRemote(): Promise<string> {
    const room = await makeRoom(server.ctx, alice.userId, { members: [bob.userId, REMOTE] });
    return room;
  }
  const one = async (id: string): Promise<MatrixEvent> => (await server.ctx.events.one(id, { rejected: true }))!;

  it("gives each id to a reader that follows tokens once, with 100 writers in two lanes (risk 22)", async () => {
    const rooms = await Promise.all(Array.from({ length: 10 }, () => roomWithRemote()));
    const seen: number[] = [];
    const start = server.ctx.streams.events.currentToken();
    let from = start;
    let reading: Promise<void> = Promise.resolve();
    const read = async (to: number): Promise<void> => {
      for (const row of await rows<{ stream_ordering: number }>("SELECT stream_ordering FROM events WHERE stream_ordering > $1 AND stream_ordering <= $2", [
        from,
        to,
      ]))
        seen.push(row.stream_ordering);
      from = to;
    };
    const stop = server.ctx.streams.events.onAdvance((token) => {
      reading = reading.then(() => read(token));
    });
    await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        const room = rooms[n % 10]!;
        if (n % 4 !== 0) return void (await say(room, `writer ${n}`));
        const head = await server.ctx.persister.head(room);
        const tip = [...head.storedTips.values()][0]!;
        await server.ctx.persister.persist([
          item(remoteEvent(room, [await one(tip.eventId)], tip.state.map, { type: "m.room.message", content: message(`remote ${n}`) }), tip.state),
        ]);
      }),
    );
    await server.ctx.persister.whenIdle();
    stop();
    await reading;
    const all = (await rows<{ stream_ordering: number }>("SELECT stream_ordering FROM events WHERE stream_ordering > $1", [start])).map(
      (row) => row.stream_ordering,
    );
    assert.equal(seen.length, new Set(seen).size);
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      all.sort((a, b) => a - b),
    );
    assert.ok(all.length >= 100);
  });

  it("forks where others send beside us, resolves the state, and joins the branches with the next event (risk 53)", async () => {
    const room = await roomWithRemote();
    const base = await one(await say(room, "base"));
    const before = await stateAfter(base.eventId);
    await sendEvents(server.ctx, requesterOf(alice.userId), room, [{ type: "m.room.name", stateKey: "", sender: alice.userId, content: { name: "here" } }]);
    const topic = remoteEvent(room, [base], before.map, { type: "m.room.topic", stateKey: "", content: { topic: "there" }, sender: alice.userId });
    await server.ctx.persister.persist([item(topic, before)]);
    assert.equal((await extremities(room)).length, 2);
    const current = await server.ctx.state.current(room);
    assert.equal(current.get(stateKeyOf("m.room.name", ""))?.content.name, "here");
    assert.equal(current.get(stateKeyOf("m.room.topic", ""))?.content.topic, "there");
    const joined = await say(room, "joined");
    assert.deepEqual(await extremities(room), [joined]);
    assert.equal((await one(joined)).prevEventIds.length, 2);
    // The stored state and the cached one agree, also when it is read anew.
    const cached = await server.ctx.state.currentIds(room);
    server.ctx.state.forgetRoom(room);
    assert.deepEqual((await server.ctx.state.currentIds(room)).changedKeys(cached), []);
    assert.deepEqual((await stateAfter(joined)).map.changedKeys(cached), []);
  });

  it("keeps soft-failed events out of the extremities and of the state (risks 50, 53)", async () => {
    const room = await roomWithRemote();
    const base = await one(await say(room, "base"));
    const before = await stateAfter(base.eventId);
    const failed = remoteEvent(room, [base], before.map, { type: "m.room.topic", stateKey: "", content: { topic: "no" }, sender: alice.userId });
    failed.internal.soft_failed = true;
    await server.ctx.persister.persist([item(failed, before)]);
    assert.deepEqual(await extremities(room), [base.eventId]);
    assert.equal((await server.ctx.state.currentIds(room)).has(stateKeyOf("m.room.topic", "")), false);
    // An event on top of it replaces the extremity before it.
    const next = remoteEvent(room, [failed], before.map, { type: "m.room.message", content: message("after") });
    await server.ctx.persister.persist([item(next, await stateAfter(failed.eventId))]);
    assert.deepEqual(await extremities(room), [next.eventId]);
  });

  it("stores rejected events with the state before them, and shows them to nobody (risks 51, 52)", async () => {
    const room = await roomWithRemote();
    const base = await one(await say(room, "base"));
    const before = await stateAfter(base.eventId);
    const rejected = remoteEvent(room, [base], before.map, { type: "m.room.topic", stateKey: "", content: { topic: "no" } });
    rejected.rejectedReason = "auth_error";
    await server.ctx.persister.persist([item(rejected, before)]);
    assert.equal(await server.ctx.events.one(rejected.eventId), undefined);
    const [row] = await rows(
      `SELECT e.rejection_reason, r.reason, g.state_group, (SELECT count(*) FROM event_edges WHERE event_id = e.event_id) AS edges,
         (SELECT count(*) FROM event_auth WHERE event_id = e.event_id) AS auth
       FROM events AS e JOIN rejections AS r USING (event_id) JOIN event_to_state_groups AS g USING (event_id) WHERE e.event_id = $1`,
      [rejected.eventId],
    );
    assert.deepEqual(row, { rejection_reason: "auth_error", reason: "auth_error", state_group: before.id, edges: 0, auth: rejected.authEventIds.length });
    assert.deepEqual(await extremities(room), [base.eventId]);
  });

  it("stores history under negative positions without touching the present (risk 29)", async () => {
    const room = await roomWithRemote();
    const tip = await one(await say(room, "tip"));
    const before = await stateAfter(tip.eventId);
    const token = server.ctx.streams.events.currentToken();
    const old = remoteEvent(room, [{ eventId: "$gap", depth: 1 } as MatrixEvent], before.map, { type: "m.room.message", content: message("long ago") });
    await server.ctx.persister.persist([item(old, before)], { backfilled: true });
    assert.ok(old.streamOrdering! < 0);
    assert.equal(server.ctx.streams.events.currentToken(), token);
    assert.deepEqual(await extremities(room), [tip.eventId]);
    assert.deepEqual(await ids("SELECT event_id AS id FROM event_backward_extremities WHERE room_id = $1", [room]), ["$gap"]);
    const gap = remoteEvent(room, [{ eventId: "$older", depth: 0 } as MatrixEvent], before.map, { type: "m.room.message", content: message("older") });
    Object.assign(gap, { eventId: "$gap" });
    await server.ctx.persister.persist([item(gap, before)], { backfilled: true });
    assert.deepEqual(await ids("SELECT event_id AS id FROM event_backward_extremities WHERE room_id = $1", [room]), ["$older"]);
    assert.ok(gap.streamOrdering! < old.streamOrdering!);
  });

  it("turns an outlier into a full event when its state becomes known (risk 51)", async () => {
    const room = await roomWithRemote();
    const base = await one(await say(room, "base"));
    const before = await stateAfter(base.eventId);
    const event = remoteEvent(room, [base], before.map, { type: "m.room.topic", stateKey: "", content: { topic: "late" }, sender: alice.userId });
    event.outlier = true;
    await server.ctx.persister.persist([{ event }]);
    assert.equal((await server.ctx.state.groupsOfEvents([event.eventId])).size, 0);
    assert.deepEqual(await extremities(room), [base.eventId]);
    const first = event.streamOrdering;
    const full = remoteEvent(room, [base], before.map, { type: "m.room.topic", stateKey: "", content: { topic: "late" }, sender: alice.userId });
    Object.assign(full, { eventId: event.eventId });
    await server.ctx.persister.persist([item(full, before)]);
    const [row] = await rows(
      `SELECT e.outlier, e.stream_ordering, g.state_group, x.state_group AS announced FROM events AS e JOIN event_to_state_groups AS g USING (event_id)
       JOIN ex_outlier_stream AS x USING (event_id) WHERE e.event_id = $1`,
      [event.eventId],
    );
    assert.deepEqual([row!.outlier, row!.stream_ordering, row!.state_group], [false, first, row!.announced]);
    assert.deepEqual(await extremities(room), [event.eventId]);
    assert.equal((await server.ctx.state.currentEvent(room, "m.room.topic"))?.eventId, event.eventId);
    assert.equal((await one(event.eventId)).outlier, false);
  });

  it("stores an event that is known already once", async () => {
    const room = await roomWithRemote();
    const base = await one(await say(room, "base"));
    const before = await stateAfter(base.eventId);
    const event = remoteEvent(room, [base], before.map, { type: "m.room.message", content: message("twice") });
    await server.ctx.persister.persist([item(event, before), item(event, before)]);
    const position = event.streamOrdering;
    await server.ctx.persister.persist([item(event, before)]);
    assert.equal(event.streamOrdering, position);
    assert.equal((await rows("SELECT 1 FROM events WHERE event_id = $1", [event.eventId])).length, 1);
  });

  it("deletes the current state when the last local user leaves, and keeps who was there (risk 55)", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [REMOTE], state: [{ type: "m.room.name", content: { name: "Left" } }] });
    await sendEvents(server.ctx, requesterOf(alice.userId), room, [
      { type: "m.room.member", stateKey: alice.userId, sender: alice.userId, content: { membership: "leave" } },
    ]);
    const [row] = await rows(
      `SELECT (SELECT count(*) FROM current_state_events WHERE room_id = $1) AS current, (SELECT count(*) FROM sliding_sync_joined_rooms WHERE room_id = $1) AS joined,
         (SELECT membership FROM local_current_membership WHERE room_id = $1 AND user_id = $2) AS local,
         (SELECT room_name || ' ' || membership || ' ' || has_known_state FROM sliding_sync_membership_snapshots WHERE room_id = $1 AND user_id = $2) AS snapshot,
         (SELECT count(*) FROM current_state_delta_stream WHERE room_id = $1 AND event_id IS NULL) AS deltas`,
      [room, alice.userId],
    );
    assert.deepEqual([row!.current, row!.joined, row!.local, row!.snapshot], [0, 0, "leave", "Left leave true"]);
    assert.ok((row!.deltas as number) >= 6);
    assert.equal((await server.ctx.members.joined(room)).size, 0);
    assert.equal((await server.ctx.members.roomsOf(alice.userId)).get(room)?.membership, "leave");
    assert.equal((await server.ctx.state.currentIds(room)).size, 0);
  });

  it("stores invites from rooms that the server is not in, with what they tell of the room", async () => {
    const room = "!elsewhere:other";
    await server.ctx.transaction("room", (txn) =>
      query(txn, "INSERT INTO rooms (room_id, is_public, creator, room_version, has_auth_chain_index) VALUES ($1, false, '', '11', true)", [room]),
    );
    const invite = buildEvent(
      {
        roomVersion: V11,
        roomId: room,
        type: "m.room.member",
        stateKey: bob.userId,
        sender: REMOTE,
        content: { membership: "invite" },
        originServerTs: 1,
        depth: 5,
        prevEventIds: ["$p"],
        authEventIds: ["$a"],
        unsigned: {
          invite_room_state: [
            { type: "m.room.create", state_key: "", sender: REMOTE, content: { type: "m.space" } },
            { type: "m.room.name", state_key: "", sender: REMOTE, content: { name: "Space" } },
            { type: "m.room.encryption", state_key: "", sender: REMOTE, content: { algorithm: "m.megolm.v1.aes-sha2" } },
          ],
        },
        internal: { out_of_band_membership: true },
      },
      "other",
      [REMOTE_KEY],
    );
    invite.outlier = true;
    await server.ctx.persister.persist([{ event: invite }]);
    const [row] = await rows(
      "SELECT membership, has_known_state, room_type, room_name, is_encrypted, forgotten FROM sliding_sync_membership_snapshots WHERE room_id = $1",
      [room],
    );
    assert.deepEqual(row, { membership: "invite", has_known_state: true, room_type: "m.space", room_name: "Space", is_encrypted: true, forgotten: 0 });
    assert.equal((await server.ctx.members.roomsOf(bob.userId)).get(room)?.membership, "invite");
    // Its auth events are not known: the chain cover index waits for them (risk 59).
    assert.deepEqual(await ids("SELECT event_id AS id FROM event_auth_chain_to_calculate WHERE room_id = $1", [room]), [invite.eventId]);
  });

  it("writes a full state group after a hundred deltas (risk 65)", async () => {
    const room = await makeRoom(server.ctx, alice.userId);
    await sendEvents(
      server.ctx,
      requesterOf(alice.userId),
      room,
      Array.from({ length: 230 }, (_, n) => ({ type: "m.x", stateKey: `${n % 7}`, sender: alice.userId, content: { n } })),
    );
    const [row] = await rows(
      `WITH RECURSIVE chain (id, hops) AS (
         SELECT g.id, 0 FROM state_groups AS g WHERE g.room_id = $1 AND NOT EXISTS (SELECT FROM state_group_edges AS e WHERE e.state_group = g.id)
         UNION ALL SELECT e.state_group, c.hops + 1 FROM chain AS c JOIN state_group_edges AS e ON e.prev_state_group = c.id
       ) SELECT max(hops) AS hops, count(*) AS groups, count(*) FILTER (WHERE hops = 0) AS whole FROM chain`,
      [room],
    );
    assert.equal(row!.hops, 100);
    assert.equal(row!.whole, 3);
    const tip = (await extremities(room))[0]!;
    server.ctx.state.forgetGroups();
    assert.deepEqual((await stateAfter(tip)).map.changedKeys(await server.ctx.state.currentIds(room)), []);
  });

  it("takes a state group off the list of those to be deleted when it is used (risk 68)", async () => {
    const room = await makeRoom(server.ctx, alice.userId);
    const group = (await stateAfter((await extremities(room))[0]!)).id;
    await server.ctx.transaction("pending", (txn) =>
      query(txn, "INSERT INTO state_groups_pending_deletion (state_group, insertion_ts) VALUES ($1, 0)", [group]),
    );
    await say(room, "still in use");
    assert.equal((await rows("SELECT 1 FROM state_groups_pending_deletion WHERE state_group = $1", [group])).length, 0);
  });

  it("loses one bad event, not those that are stored with it", async () => {
    const [good, bad] = [await makeRoom(server.ctx, alice.userId), await makeRoom(server.ctx, alice.userId)];
    await server.ctx.transaction("purge", async (txn) => {
      await query(txn, "DELETE FROM sliding_sync_joined_rooms WHERE room_id = $1", [bad]);
      await query(txn, "DELETE FROM sliding_sync_membership_snapshots WHERE room_id = $1", [bad]);
      await query(txn, "DELETE FROM rooms WHERE room_id = $1", [bad]);
    });
    const results = await Promise.allSettled([say(good, "one"), say(bad, "two"), say(good, "three")]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.equal((await extremities(good)).length, 1);
  });

  it("goes on after a transaction that was killed, with nothing half-written and ids in order", async () => {
    const room = await makeRoom(server.ctx, alice.userId);
    const kill = (async () => {
      for (let n = 0; n < 10; n++) {
        await rows(
          "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.state <> 'idle'",
        ).catch(() => []);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const results = await Promise.allSettled(Array.from({ length: 40 }, (_, n) => say(room, `survivor ${n}`)));
    await kill;
    const acknowledged = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const stored = await ids("SELECT event_id AS id FROM events WHERE room_id = $1 AND type = 'm.room.message'", [room]);
    for (const id of acknowledged) assert.ok(stored.includes(id), "an acknowledged event is there");
    const last = await say(room, "after");
    assert.deepEqual(await extremities(room), [last]);
    const [broken] = await rows(
      `SELECT count(*) AS n FROM events AS e LEFT JOIN event_json AS j USING (event_id) LEFT JOIN event_to_state_groups AS g USING (event_id)
       WHERE e.room_id = $1 AND (j.event_id IS NULL OR g.event_id IS NULL)`,
      [room],
    );
    assert.equal(broken!.n, 0);
    assert.equal(server.ctx.streams.events.currentToken(), (await rows<{ at: number }>("SELECT max(stream_ordering) AS at FROM events"))[0]!.at);
  });
});
