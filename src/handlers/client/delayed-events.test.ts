import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { DelayedEvents } from "../../services/delayed-events/delayed-events.ts";
import { execute, query } from "../../storage/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const EVENTS = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";

interface Waiting {
  readonly delay_id: string;
  readonly [key: string]: unknown;
}

describe("delayed events (MSC4140)", () => {
  const clock = new FakeClock();
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let room: string;
  let count = 0;

  before(async () => {
    server = await startTestServer({ clock, config: { max_event_delay_duration: "1h", experimental_features: { msc4140_max_delayed_events_per_user: 3 } } });
    alice = await server.register("alice");
    bob = await server.register("bob");
    await server.ctx.delayedEvents.start(server.ctx.publisher);
  });
  after(() => server.close());
  beforeEach(async () => {
    await server.ctx.delayedEvents.settled();
    await server.ctx.transaction("test", (txn) => execute(txn, "DELETE FROM delayed_events", []));
    const created = await server
      .as(alice)
      .post("/_matrix/client/v3/createRoom", { preset: "public_chat", power_level_content_override: { state_default: 0 } })
      .expect(200);
    room = (created.body as { room_id: string }).room_id;
    await server.as(bob).post(`/_matrix/client/v3/join/${room}`).expect(200);
  });

  const message = (user: TestUser, delay: number | string, content: object = { msgtype: "m.text", body: "later" }) =>
    server.as(user).put(`/_matrix/client/v3/rooms/${room}/send/m.room.message/t${count++}?org.matrix.msc4140.delay=${delay}`, content);
  const state = (user: TestUser, content: object, delay?: number) =>
    server
      .as(user)
      .put(`/_matrix/client/v3/rooms/${room}/state/org.example.call/key${delay === undefined ? "" : `?org.matrix.msc4140.delay=${delay}`}`, content);
  const idOf = (response: { body: unknown }): string => (response.body as Waiting).delay_id;
  const waiting = async (user: TestUser): Promise<Waiting[]> =>
    ((await server.as(user).get(EVENTS).expect(200)).body as { delayed_events: Waiting[] }).delayed_events;
  const lastEvent = async (): Promise<Record<string, unknown>> =>
    ((await server.as(alice).get(`/_matrix/client/v3/rooms/${room}/messages?dir=b&limit=1`).expect(200)).body as { chunk: Record<string, unknown>[] })
      .chunk[0]!;
  const callState = async (): Promise<unknown> => (await server.as(alice).get(`/_matrix/client/v3/rooms/${room}/state/org.example.call/key`)).body;
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await server.ctx.delayedEvents.settled();
  };

  it("sends a message when its time has come, not before, as of when it was due", async () => {
    const due = clock.now() + 5_000;
    const delayId = idOf(await message(alice, 5_000).expect(200));
    assert.match(delayId, /^syd_[A-Za-z]{20}$/);
    assert.deepEqual(await waiting(alice), [
      { delay_id: delayId, room_id: room, type: "m.room.message", delay: 5_000, running_since: due - 5_000, content: { msgtype: "m.text", body: "later" } },
    ]);
    assert.deepEqual(await waiting(bob), []);
    await pass(4_999);
    assert.equal((await lastEvent())["type"], "m.room.member");
    await pass(10);
    const event = await lastEvent();
    assert.deepEqual([event["type"], event["sender"], event["origin_server_ts"]], ["m.room.message", alice.userId, due]);
    assert.deepEqual(await waiting(alice), []);
  });

  it("cancels, restarts and sends for whoever knows the id, with a token or without", async () => {
    const cancelled = idOf(await message(alice, 5_000).expect(200));
    await server.anonymous.post(`${EVENTS}/${cancelled}`, { action: "cancel" }).expect(200, {});
    await server.anonymous.post(`${EVENTS}/${cancelled}/cancel`).expect(404);
    const restarted = idOf(await message(alice, 5_000, { msgtype: "m.text", body: "restarted" }).expect(200));
    await pass(4_000);
    await server.as(bob).post(`${EVENTS}/${restarted}/restart`).expect(200, {});
    await pass(4_000);
    assert.equal((await waiting(alice)).length, 1);
    await pass(1_000);
    assert.deepEqual((await lastEvent())["content"], { msgtype: "m.text", body: "restarted" });
    const sent = idOf(await message(alice, 5_000, { msgtype: "m.text", body: "sent now" }).expect(200));
    await server.anonymous.post(`${EVENTS}/${sent}/send`).expect(200, {});
    const event = await lastEvent();
    assert.deepEqual([event["content"], event["origin_server_ts"]], [{ msgtype: "m.text", body: "sent now" }, clock.now()]);
    for (const action of ["cancel", "restart", "send"]) await server.anonymous.post(`${EVENTS}/${sent}`, { action }).expect(404);
  });

  it("refuses unknown actions, ids and tokens", async () => {
    const code = async (body: object): Promise<string> => ((await server.anonymous.post(`${EVENTS}/x`, body).expect(400)).body as { errcode: string }).errcode;
    assert.equal(await code({}), "M_MISSING_PARAM");
    assert.equal(await code({ action: "explode" }), "M_INVALID_PARAM");
    assert.equal(await code({ action: 1 }), "M_INVALID_PARAM");
    await server.anonymous.post(`${EVENTS}/a%00b`, { action: "send" }).expect(404);
    await server.as({ accessToken: "nonsense" }).post(`${EVENTS}/x/cancel`).expect(401);
    await server.anonymous.get(EVENTS).expect(401);
  });

  it("cancels a state event when another user sets that state, not when its owner does", async () => {
    await state(alice, { who: "alice leaves" }, 5_000).expect(200);
    await state(alice, { who: "alice" }).expect(200);
    await server.ctx.delayedEvents.settled();
    assert.equal((await waiting(alice)).length, 1);
    await state(bob, { who: "bob" }).expect(200);
    await server.ctx.delayedEvents.settled();
    assert.deepEqual(await waiting(alice), []);
    await pass(6_000);
    assert.deepEqual(await callState(), { who: "bob" });
  });

  it("sends state events, of several for the same state the first one, and memberships", async () => {
    await state(alice, { n: 1 }, 1_000).expect(200);
    await state(bob, { n: 2 }, 2_000).expect(200);
    await pass(3_000);
    assert.deepEqual(await callState(), { n: 1 });
    assert.deepEqual(await waiting(bob), []);
    await server
      .as(bob)
      .put(`/_matrix/client/v3/rooms/${room}/state/m.room.member/${bob.userId}?org.matrix.msc4140.delay=1000`, { membership: "leave" })
      .expect(200);
    await pass(1_001);
    assert.equal((await server.ctx.members.joined(room)).has(bob.userId), false);
  });

  it("refuses too long and negative delays, unknown rooms and what cannot be sent", async () => {
    await message(alice, 3_600_001).expect(403);
    await message(alice, -1).expect(400);
    await message(alice, "soon").expect(400);
    await message(alice, 1_000, { msgtype: "m.text" }).expect(400);
    await message(alice, 1_000, { msgtype: "m.text", body: "x".repeat(70_000) }).expect(413);
    await server
      .as(alice)
      .put("/_matrix/client/v3/rooms/!none:test/send/m.room.message/x?org.matrix.msc4140.delay=1", { msgtype: "m.text", body: "x" })
      .expect(404);
  });

  it("lets only so many wait for a user", async () => {
    for (const delay of [3_000, 1_000, 2_000]) await message(alice, delay).expect(200);
    const { body } = await message(alice, 4_000).expect(429);
    assert.deepEqual([(body as Waiting)["errcode"], (body as Waiting)["retry_after_ms"]], ["M_LIMIT_EXCEEDED", 1_000]);
    await message(bob, 1_000).expect(200);
    await pass(1_001);
    await message(alice, 4_000).expect(200);
  });

  it("forgets an event that may not be sent any more", async () => {
    await message(bob, 1_000).expect(200);
    await server.as(bob).post(`/_matrix/client/v3/rooms/${room}/leave`).expect(200);
    await pass(1_001);
    assert.equal((await query(server.ctx.read, "SELECT 1 FROM delayed_events", [])).length, 0);
    assert.equal((await lastEvent())["type"], "m.room.member");
  });

  it("sends after a restart what was due or being sent, and nothing twice", async () => {
    const sent = idOf(await message(alice, 60_000, { msgtype: "m.text", body: "before the crash" }).expect(200));
    const row = (await query<Record<string, unknown>>(server.ctx.read, "SELECT * FROM delayed_events", []))[0]!;
    await server.anonymous.post(`${EVENTS}/${sent}/send`).expect(200);
    const taken = idOf(await message(alice, 60_000, { msgtype: "m.text", body: "taken" }).expect(200));
    await server.ctx.transaction("test", async (txn) => {
      await execute(txn, "UPDATE delayed_events SET is_processed = true WHERE delay_id = $1", [taken]);
      const columns = Object.keys(row);
      await execute(
        txn,
        `INSERT INTO delayed_events (${columns.join(", ")}) VALUES (${columns.map((_, i) => `$${i + 1}`).join(", ")})`,
        Object.values({ ...row, is_processed: true }),
      );
    });
    const next = new DelayedEvents(() => server.ctx);
    await next.start(server.ctx.publisher);
    await next.settled();
    await next.close();
    const { chunk } = (await server.as(alice).get(`/_matrix/client/v3/rooms/${room}/messages?dir=b&limit=20`).expect(200)).body as {
      chunk: { type: string; content: { body: string } }[];
    };
    assert.deepEqual(
      chunk.filter((event) => event.type === "m.room.message").map((event) => event.content.body),
      ["taken", "before the crash"],
    );
    assert.equal((await query(server.ctx.read, "SELECT 1 FROM delayed_events", [])).length, 0);
  });

  it("are off where max_event_delay_duration is not set", async () => {
    const off = await startTestServer();
    try {
      const user = await off.register("user");
      const created = await off.as(user).post("/_matrix/client/v3/createRoom", {}).expect(200);
      const path = `/_matrix/client/v3/rooms/${(created.body as { room_id: string }).room_id}/send/m.room.message/1?org.matrix.msc4140.delay=1`;
      const { body } = await off.as(user).put(path, { msgtype: "m.text", body: "x" }).expect(403);
      assert.equal((body as { errcode: string }).errcode, "M_FORBIDDEN");
    } finally {
      await off.close();
    }
  });
});
