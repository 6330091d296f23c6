import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { type TestAppservice, startTestAppservice } from "../../testing/appservice.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { sendEvent } from "../events/send.ts";
import { createAlias } from "../directory/aliases.ts";
import { AppserviceSender } from "./sender.ts";

const V3 = "/_matrix/client/v3";

describe("Application services", function () {
  this.timeout(60_000);
  let server: TestServer;
  let bridge: TestAppservice;
  let clock: FakeClock;
  let alice: TestUser;
  let ghost: string;
  let sender: AppserviceSender;
  let crashed = { value: false };

  before(async () => {
    bridge = await startTestAppservice();
    clock = new FakeClock();
    const file = bridge.registration({
      namespaces: {
        users: [{ exclusive: true, regex: "@bridge_.*" }],
        aliases: [{ exclusive: true, regex: "#bridge_.*" }],
        rooms: [{ exclusive: false, regex: "!wanted.*" }],
      },
      protocols: ["irc"],
      receive_ephemeral: true,
      "org.matrix.msc3202": true,
    });
    server = await startTestServer({
      clock,
      config: { app_service_config_files: [file], experimental_features: { msc2409_to_device_messages_enabled: true, msc3202_transaction_extensions: true } },
    });
    alice = await server.register("alice");
    const bot = server.as({ accessToken: bridge.asToken });
    const { body } = await bot.post(`${V3}/register`, { type: "m.login.application_service", username: "bridge_ghost" }).expect(200);
    ghost = body.user_id as string;
    await startSender();
  });

  after(async () => {
    await sender?.close();
    await server.close();
    await bridge.close();
  });

  beforeEach(async () => {
    bridge.mood = "ok";
    await quiet();
    bridge.requests.length = 0;
    bridge.attempts.length = 0;
  });

  /** A sender of its own, which can be stopped and killed apart from the server. */
  async function startSender(): Promise<void> {
    const dead = (crashed = { value: false });
    const transaction: typeof server.ctx.transaction = (name, fn, options) =>
      dead.value ? Promise.reject(new Error("killed")) : server.ctx.transaction(name, fn, options);
    sender = new AppserviceSender(() => ({ ...server.ctx, transaction }), server.ctx, undefined);
    await sender.start(server.ctx.publisher);
    Object.assign(server.ctx, { appserviceSender: sender });
  }

  /** Until nothing more happens, with all pauses over. */
  async function quiet(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      await sender.settled();
      clock.advance(600_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // What the clock set off (presence) is written, and told.
    for (let round = 0; round < 6; round++) {
      await query(server.ctx.read, "SELECT 1");
      await sender.settled();
    }
  }

  const send = async (roomId: string, userId: string, body: string): Promise<string> =>
    (await sendEvent(server.ctx, requesterOf(userId), { roomId, type: "m.room.message", content: { msgtype: "m.text", body } })).eventId;

  const pending = async (): Promise<number> => (await query(server.ctx.read, "SELECT txn_id FROM application_services_txns")).length;

  it("hear of the rooms that their users are in, with the token in the header, and of no others", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    const other = await makeRoom(server.ctx, alice.userId);
    await quiet();
    bridge.attempts.length = 0;
    bridge.requests.length = 0;
    await send(other, alice.userId, "unheard");
    const eventId = await send(room, alice.userId, "hello");
    await quiet();
    assert.deepEqual(
      bridge.attempts.flatMap(({ body }) => body.events.map((event) => event.event_id)),
      [eventId],
    );
    const request = bridge.requests.at(-1);
    assert.equal(request!.authorization, `Bearer ${bridge.hsToken}`);
    assert.ok(!request!.url.includes("access_token"));
    const event = bridge.attempts.flatMap(({ body }) => body.events)[0]!;
    assert.deepEqual([event.sender, event.room_id, event.user_id, typeof event.age], [alice.userId, room, alice.userId, "number"]);
    assert.equal(await pending(), 0);
  });

  it("hear of rooms from the moment that an alias of theirs points there, and of events by their users elsewhere", async () => {
    const room = await makeRoom(server.ctx, alice.userId);
    await send(room, alice.userId, "before");
    await quiet();
    assert.deepEqual(
      bridge.attempts.flatMap(({ body }) => [...body.events]),
      [],
    );
    await createAlias(server.ctx, { ...requesterOf("@bridge:test"), appserviceId: "bridge" }, "#bridge_x:test", room, { checkMembership: false });
    const eventId = await send(room, alice.userId, "after");
    await quiet();
    assert.deepEqual(
      bridge.attempts.flatMap(({ body }) => body.events.map((event) => event.event_id)),
      [eventId],
    );
  });

  it("take no query while nobody is interested", async () => {
    const bob = await server.register("bob");
    const room = await makeRoom(server.ctx, bob.userId);
    await quiet();
    await send(room, bob.userId, "warm");
    await sender.settled();
    const statements: string[] = [];
    const stop = server.ctx.db.observe(({ sql, transaction }) => {
      if (transaction === "set_appservice_stream_type_pos") return; // once a second at most
      if (/application_services|appservice_stream|room_aliases/.test(sql) || transaction?.includes("appservice") === true) statements.push(sql);
    });
    for (let n = 0; n < 5; n++) await send(room, bob.userId, `${n}`);
    await sender.settled();
    stop();
    assert.deepEqual(statements, []);
  });

  it("that fail get the same transaction again after 2, 4, 8 seconds; later events wait and go together", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await quiet();
    bridge.attempts.length = 0;
    bridge.mood = "refuse";
    const first = await send(room, alice.userId, "1");
    await sender.settled();
    assert.equal(bridge.attempts.length, 1);
    assert.deepEqual(await query(server.ctx.read, "SELECT state FROM application_services_state WHERE as_id = 'bridge'"), [{ state: "down" }]);
    const later: string[] = [];
    for (let n = 0; n < 5; n++) later.push(await send(room, alice.userId, `later ${n}`));
    await sender.settled();
    assert.equal(bridge.attempts.length, 1);
    for (const pause of [2_000, 4_000, 8_000]) {
      const count: number = bridge.attempts.length;
      clock.advance(pause - 1);
      await sender.settled();
      assert.equal(bridge.attempts.length, count);
      clock.advance(1);
      await sender.settled();
      assert.equal(bridge.attempts.length, count + 1);
    }
    bridge.mood = "ok";
    clock.advance(16_000);
    await sender.settled();
    assert.equal(new Set(bridge.attempts.slice(0, 5).map(({ id }) => id)).size, 1);
    assert.deepEqual(
      bridge.attempts.slice(4).map(({ body }) => body.events.map((event) => event.event_id)),
      [[first], later],
    );
    assert.deepEqual(await query(server.ctx.read, "SELECT state FROM application_services_state WHERE as_id = 'bridge'"), [{ state: "up" }]);
  });

  it("hear of every event once, in order, whatever stops in between", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await quiet();
    const known = bridge.eventIds().length;
    const sent: string[] = [];
    let seed = 7;
    const random = (bound: number): number => (seed = (seed * 48271) % 2147483647) % bound;
    for (let step = 0; step < 60; step++) {
      const dice = random(10);
      if (dice < 6) sent.push(...(await Promise.all(Array.from({ length: 1 + random(4) }, (_, n) => send(room, alice.userId, `${step} ${n}`)))));
      else if (dice === 6) bridge.mood = (["ok", "refuse", "lose answer"] as const)[random(3)]!;
      else if (dice === 7) clock.advance(random(20_000));
      else {
        // Killed in the middle, or stopped in order.
        crashed.value = dice === 8;
        await sender.close().catch(() => {});
        await startSender();
      }
    }
    bridge.mood = "ok";
    await quiet();
    const order = await query<{ event_id: string }>(server.ctx.read, "SELECT event_id FROM events WHERE event_id = ANY($1) ORDER BY stream_ordering", [sent]);
    assert.deepEqual(
      bridge.eventIds().slice(known),
      order.map((row) => row.event_id),
    );
    const ids = bridge
      .taken()
      .filter(({ body }) => body.events.length > 0)
      .map(({ id }) => Number(id));
    assert.deepEqual(
      ids,
      [...ids].sort((a, b) => a - b),
    );
    assert.equal(await pending(), 0);
  });

  it("go on where Synapse stopped: what it left goes first, under its ids", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await quiet();
    await sender.close();
    const events = [await send(room, alice.userId, "one"), await send(room, alice.userId, "two"), await send(room, alice.userId, "three")];
    await server.ctx.transaction("as Synapse", async (txn) => {
      await query(txn, "INSERT INTO application_services_txns (as_id, txn_id, event_ids) VALUES ('bridge', nextval('application_services_txn_id_seq'), $1)", [
        JSON.stringify(events.slice(0, 2)),
      ]);
      await query(txn, "UPDATE appservice_stream_position SET stream_ordering = (SELECT stream_ordering FROM events WHERE event_id = $1)", [events[1]]);
      await query(txn, "UPDATE application_services_state SET state = 'down' WHERE as_id = 'bridge'");
    });
    const [{ id } = { id: 0 }] = await query<{ id: number }>(server.ctx.read, "SELECT last_value AS id FROM application_services_txn_id_seq");
    bridge.attempts.length = 0;
    await startSender();
    await quiet();
    assert.deepEqual(
      bridge.attempts.filter(({ body }) => body.events.length > 0).map(({ body }) => body.events.map((event) => event.event_id)),
      [events.slice(0, 2), events.slice(2)],
    );
    assert.equal(bridge.attempts[0]!.id, String(id));
  });

  it("get a long backlog in the order of its ids, and what comes meanwhile after it", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await quiet();
    await sender.close();
    const known = bridge.eventIds().length;
    const events: string[] = [];
    for (let n = 0; n < 35; n++) events.push(await send(room, alice.userId, `${n}`));
    await server.ctx.transaction("as Synapse", async (txn) => {
      await query(
        txn,
        `INSERT INTO application_services_txns (as_id, txn_id, event_ids)
         SELECT 'bridge', nextval('application_services_txn_id_seq'), json_build_array(event_id)::text FROM events WHERE event_id = ANY($1) ORDER BY stream_ordering`,
        [events],
      );
      await query(txn, "UPDATE appservice_stream_position SET stream_ordering = (SELECT max(stream_ordering) FROM events)");
    });
    await startSender();
    for (let n = 0; n < 30; n++) events.push(await send(room, alice.userId, `later ${n}`));
    await quiet();
    assert.deepEqual(bridge.eventIds().slice(known), events);
    assert.equal(await pending(), 0);
  });

  it("give one-time keys and devices of users that are theirs alone", async () => {
    bridge.answers.set("/_matrix/app/unstable/org.matrix.msc3983/keys/claim", {
      [ghost]: { D: { "signed_curve25519:A": { key: "k" } } },
      "@alice:test": { D: { "signed_curve25519:B": {} } },
    });
    bridge.answers.set("/_matrix/app/unstable/org.matrix.msc3984/keys/query", {
      device_keys: { [ghost]: { D: { user_id: ghost } }, "@alice:test": { D: {} } },
    });
    const claim = (userId: string, count = 1) => ({ userId, deviceId: "D", algorithm: "signed_curve25519", count });
    const claimed = await server.ctx.remote.claimAppserviceKeys([claim(ghost, 2), claim("@alice:test")]);
    assert.deepEqual(claimed, {
      keys: [{ userId: ghost, deviceId: "D", keyName: "signed_curve25519:A", key: { key: "k" } }],
      missing: [claim(ghost), claim("@alice:test")],
    });
    assert.deepEqual(await server.ctx.remote.queryAppserviceKeys({ [ghost]: [], "@alice:test": [] }), { device_keys: { [ghost]: { D: { user_id: ghost } } } });
    assert.deepEqual(bridge.requests.find(({ url }) => url.includes("msc3983"))!.body, { [ghost]: { D: ["signed_curve25519", "signed_curve25519"] } });
  });

  it("hear of typing, receipts and presence in their rooms, of to-device messages, and of key counts", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    const elsewhere = await makeRoom(server.ctx, alice.userId);
    const bot = server.as({ accessToken: bridge.asToken });
    await bot.post(`${V3}/login`, { type: "m.login.application_service", identifier: { type: "m.id.user", user: ghost }, device_id: "GHOST" }).expect(200);
    const eventId = await send(room, alice.userId, "read me");
    const unheard = await send(elsewhere, alice.userId, "read me too");
    await quiet();
    bridge.attempts.length = 0;
    const as = server.as(alice);
    await as.put(`${V3}/rooms/${room}/typing/${alice.userId}`, { typing: true, timeout: 30_000 }).expect(200);
    await as.put(`${V3}/rooms/${elsewhere}/typing/${alice.userId}`, { typing: true, timeout: 30_000 }).expect(200);
    await as.post(`${V3}/rooms/${room}/receipt/m.read/${encodeURIComponent(eventId)}`).expect(200);
    await as.post(`${V3}/rooms/${elsewhere}/receipt/m.read/${encodeURIComponent(unheard)}`).expect(200);
    await as.put(`${V3}/presence/${alice.userId}/status`, { presence: "online", status_msg: "here" }).expect(200);
    await as.put(`${V3}/sendToDevice/m.test/1`, { messages: { [ghost]: { GHOST: { secret: 1 } }, [alice.userId]: { "*": { no: 1 } } } }).expect(200);
    await quiet();
    const ephemeral = bridge.attempts.flatMap(({ body }) => body.ephemeral as { type: string; room_id?: string; sender?: string }[]);
    assert.deepEqual([...new Set(ephemeral.map(({ type, room_id, sender: from }) => `${type} ${room_id ?? from}`))].sort(), [
      `m.presence ${alice.userId}`,
      `m.receipt ${room}`,
      `m.typing ${room}`,
    ]);
    const messages = bridge.attempts.flatMap(({ body }) => body["de.sorunome.msc2409.to_device"] as object[]);
    assert.deepEqual(messages, [{ to_user_id: ghost, to_device_id: "GHOST", content: { secret: 1 }, type: "m.test", sender: alice.userId }]);
    const counts = bridge.attempts.map(({ body }) => body["org.matrix.msc3202.device_one_time_keys_count"] as Record<string, Record<string, unknown>>);
    assert.ok(counts.some((users) => users?.[ghost]?.GHOST !== undefined));
  });

  it("that are away miss typing, but no to-device message", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await quiet();
    bridge.mood = "refuse";
    await send(room, alice.userId, "down");
    await sender.settled();
    const as = server.as(alice);
    await as.put(`${V3}/rooms/${room}/typing/${alice.userId}`, { typing: true, timeout: 1_000_000_000 }).expect(200);
    await as.put(`${V3}/sendToDevice/m.test/2`, { messages: { [ghost]: { GHOST: { secret: 2 } } } }).expect(200);
    await sender.close();
    await startSender();
    await sender.settled();
    bridge.mood = "ok";
    bridge.attempts.length = 0;
    await quiet();
    const messages = bridge.attempts.flatMap(({ body }) => body["de.sorunome.msc2409.to_device"] as { content: { secret: number } }[]);
    assert.deepEqual(
      messages.map(({ content }) => content.secret),
      [2],
    );
  });

  it("are asked for users and aliases of theirs that do not exist", async () => {
    bridge.answers.set("/_matrix/app/v1/users/@bridge_new:test", {});
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await server.as(alice).post(`${V3}/rooms/${room}/invite`, { user_id: "@bridge_new:test" }).expect(200);
    await quiet();
    const asked = bridge.requests.map(({ url }) => decodeURIComponent(url));
    assert.ok(asked.indexOf("/_matrix/app/v1/users/@bridge_new:test") >= 0);
    assert.equal(asked.filter((url) => url.includes("/users/")).length, 1);
    await server.anonymous.get(`${V3}/directory/room/${encodeURIComponent("#bridge_none:test")}`).expect(404);
    assert.ok(bridge.requests.some(({ url }) => decodeURIComponent(url) === "/_matrix/app/v1/rooms/#bridge_none:test"));
  });

  it("that have not answered when the server stops count as down only where an event waits for them: others are not told of what is fleeting", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    const stateAfterStop = async (tell: () => Promise<unknown>): Promise<unknown> => {
      await quiet();
      bridge.attempts.length = 0;
      bridge.mood = "hang";
      await tell();
      while (bridge.attempts.length === 0) await new Promise((resolve) => setImmediate(resolve));
      await sender.close();
      bridge.mood = "ok";
      const rows = await query<{ state: string | null }>(server.ctx.read, "SELECT state FROM application_services_state WHERE as_id = 'bridge'");
      await startSender();
      return rows[0]?.state;
    };
    const typing = `${V3}/rooms/${room}/typing/${alice.userId}`;
    assert.notEqual(await stateAfterStop(() => server.as(alice).put(typing, { typing: true, timeout: 1_000_000_000 }).expect(200)), "down");
    assert.equal(await stateAfterStop(() => send(room, alice.userId, "under way")), "down");
    await quiet();
    assert.equal(await pending(), 0);
  });

  it("that do not answer a question do not keep the server from stopping; the event comes after the answer", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: [ghost] });
    await quiet();
    bridge.attempts.length = 0;
    bridge.answers.set("/_matrix/app/v1/users/@bridge_slow:test", "hang");
    await server.as(alice).post(`${V3}/rooms/${room}/invite`, { user_id: "@bridge_slow:test" }).expect(200);
    while (!bridge.requests.some(({ url }) => url.includes("bridge_slow"))) await new Promise((resolve) => setImmediate(resolve));
    await sender.close();
    const invites = (): unknown[] => bridge.attempts.flatMap(({ body }) => body.events.filter((event) => event.state_key === "@bridge_slow:test"));
    assert.equal(invites().length, 0);
    bridge.answers.set("/_matrix/app/v1/users/@bridge_slow:test", {});
    await startSender();
    await quiet();
    assert.equal(invites().length, 1);
  });

  it("answer for their third-party networks; nonsense is left out", async () => {
    bridge.answers.set("/_matrix/app/v1/thirdparty/protocol/irc", { user_fields: [], instances: [{ network_id: "net", desc: "Net" }] });
    bridge.answers.set("/_matrix/app/v1/thirdparty/user/irc", [{ userid: "@bridge_a:test", protocol: "irc", fields: {} }, { userid: 3 }, "x"]);
    const as = server.as(alice);
    const { body } = await as.get(`${V3}/thirdparty/protocols`).expect(200);
    assert.deepEqual(body, { irc: { user_fields: [], instances: [{ network_id: "net", desc: "Net", instance_id: "bridge|net" }] } });
    await as.get(`${V3}/thirdparty/protocol/irc`).expect(200, body.irc);
    await as.get(`${V3}/thirdparty/protocol/xmpp`).expect(404);
    await as.get(`${V3}/thirdparty/user/irc?nick=a`).expect(200, [{ userid: "@bridge_a:test", protocol: "irc", fields: {} }]);
    assert.ok(bridge.requests.some(({ url }) => url === "/_matrix/app/v1/thirdparty/user/irc?nick=a"));
    await as.get(`${V3}/thirdparty/location/irc`).expect(200, []);
    await as.get(`${V3}/thirdparty/user`).expect(200, []);
  });

  it("can be pinged, by themselves alone", async () => {
    const path = "/_matrix/client/v1/appservice/bridge/ping";
    const bot = server.as({ accessToken: bridge.asToken });
    assert.equal((await server.as(alice).post(path).expect(403)).body.errcode, "M_FORBIDDEN");
    await bot.post("/_matrix/client/v1/appservice/other/ping").expect(403);
    const failed = (await bot.post(path, { transaction_id: "t" }).expect(502)).body;
    assert.deepEqual([failed.errcode, failed.status], ["M_BAD_STATUS", 404]);
    bridge.answers.set("/_matrix/app/v1/ping", {});
    assert.equal(typeof (await bot.post(path, { transaction_id: "t" }).expect(200)).body.duration_ms, "number");
    assert.deepEqual(bridge.requests.at(-1)!.body, { transaction_id: "t" });
  });
});
