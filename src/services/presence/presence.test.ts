import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { bareRoom } from "../../testing/bare-room.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { Presence } from "./presence.ts";
import { presenceSince } from "./streams.ts";
import { applyTimeouts, combineDevices, type DevicePresence, mustNotify, offlinePresence, type PresenceTimers, updatePresence } from "./state-machine.ts";
import { TimerWheel } from "./timer-wheel.ts";

const timers: PresenceTimers = { lastActiveGranularityMs: 60_000, syncOnlineTimeoutMs: 30_000, idleTimeoutMs: 300_000 };
const NOW = 1_000_000_000;
const user = (over: object): ReturnType<typeof offlinePresence> => ({ ...offlinePresence("@a:test"), lastFederationUpdateTs: NOW, ...over });
const device = (over: object): DevicePresence => ({ state: "online", lastActiveTs: NOW, lastSyncTs: NOW, ...over });

describe("presence rules", () => {
  it("a user has the highest state of the devices, and of equal ones the last active", () => {
    assert.equal(combineDevices([]), "offline");
    assert.equal(combineDevices([device({ state: "unavailable" }), device({ state: "offline" })]), "unavailable");
    assert.equal(combineDevices([device({ state: "busy" }), device({})]), "busy");
  });

  it("others hear of a new state, status, of becoming inactive, and of late activity, but not of each activity", () => {
    const online = user({ state: "online", currentlyActive: true, lastActiveTs: NOW });
    const notify = (old: object, next: object): boolean => mustNotify({ ...online, ...old }, { ...online, ...next }, 60_000);
    assert.equal(notify({}, {}), false);
    assert.equal(notify({}, { lastActiveTs: NOW + 10_000 }), false);
    assert.equal(notify({}, { lastActiveTs: NOW + 70_000 }), false);
    assert.equal(notify({}, { currentlyActive: false }), true);
    assert.equal(notify({ currentlyActive: false }, { currentlyActive: false, lastActiveTs: NOW + 70_000 }), true);
    assert.equal(notify({}, { state: "unavailable" }), true);
    assert.equal(notify({}, { statusMsg: "x" }), true);
    assert.equal(notify({ state: "unavailable" }, { state: "unavailable", lastActiveTs: NOW + 70_000 }), true);
  });

  it("an online user is looked at again when the timers could change something; other servers hear each 25 minutes", () => {
    const next = user({ state: "online", lastActiveTs: NOW, lastUserSyncTs: NOW });
    const update = updatePresence(offlinePresence("@a:test"), next, true, NOW, timers);
    assert.deepEqual([update.notify, update.next.currentlyActive, update.next.lastFederationUpdateTs], [true, true, NOW]);
    assert.deepEqual([...update.checkAt].sort(), [NOW + 30_000, NOW + 300_000, NOW + 60_000].sort());
    const later = updatePresence(update.next, update.next, true, NOW + 26 * 60_000, { ...timers, lastActiveGranularityMs: 3_600_000 });
    assert.deepEqual([later.notify, later.ping], [false, true]);
  });

  it("time makes devices idle, then removes those that do not sync; busy ones stay an hour; remote users 30 minutes", () => {
    const run = (state: string, d: object, at: number, syncing = false): string | undefined =>
      applyTimeouts(user({ state, lastActiveTs: NOW, lastFederationUpdateTs: at }), true, new Map([["D", device({ state, ...d })]]), () => syncing, at, timers)
        ?.state;
    assert.equal(run("online", {}, NOW + 20_000), undefined);
    assert.equal(run("online", {}, NOW + 31_000), "offline");
    assert.equal(run("online", {}, NOW + 31_000, true), undefined);
    assert.equal(run("online", {}, NOW + 301_000, true), "unavailable");
    assert.equal(run("busy", {}, NOW + 59 * 60_000), "busy");
    assert.equal(run("busy", {}, NOW + 61 * 60_000), "offline");
    const remote = (at: number): string | undefined => applyTimeouts(user({ state: "online" }), false, new Map(), () => false, at, timers)?.state;
    assert.deepEqual([remote(NOW + 29 * 60_000), remote(NOW + 31 * 60_000)], [undefined, "offline"]);
  });

  it("the wheel gives each key once its time has come", () => {
    const wheel = new TimerWheel(5_000);
    wheel.add("a", 12_000);
    wheel.add("b", 40_000);
    wheel.add("a", 13_000);
    assert.deepEqual([...wheel.due(10_000)], []);
    assert.deepEqual([...wheel.due(15_000)], ["a"]);
    wheel.add("late", 0);
    assert.deepEqual([...wheel.due(20_000)], ["late"]);
    assert.deepEqual([...wheel.due(50_000)], ["b"]);
  });
});

describe("presence", () => {
  let server: TestServer;
  const clock = new FakeClock();
  let [alice, bob, carol]: TestUser[] = [];
  before(async () => {
    server = await startTestServer({ clock, config: { experimental_features: { msc3026_enabled: true } } });
    [alice, bob, carol] = [await server.register("alice"), await server.register("bob"), await server.register("carol")];
    await bareRoom(server.ctx, "!shared:test", [alice.userId, bob.userId]);
  });
  after(() => server.close());

  const status = (of: TestUser, by: TestUser = of): ReturnType<ReturnType<TestServer["as"]>["get"]> =>
    server.as(by).get(`/_matrix/client/v3/presence/${of.userId}/status`);
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 30));
  };

  it("is offline at first, and shown to those who share a room alone", async () => {
    await status(alice!).expect(200, { presence: "offline" });
    await status(alice!, bob).expect(200);
    assert.equal((await status(alice!, carol).expect(403)).body.errcode, "M_FORBIDDEN");
  });

  it("set by a user is stored in one row, wakes who shares a room, and comes with their sync", async () => {
    const since = server.ctx.streams.presence.currentToken();
    const listeners = [bob!, carol!].map((user) => server.ctx.notifier.listen(user.userId));
    await server.as(alice!).put(`/_matrix/client/v3/presence/${alice!.userId}/status`, { presence: "unavailable", status_msg: "out" }).expect(200, {});
    assert.deepEqual(await Promise.all(listeners.map((listener) => listener.wait(0, new AbortController().signal))), [true, false]);
    listeners.forEach((listener) => listener.close());
    await server.as(alice!).put(`/_matrix/client/v3/presence/${alice!.userId}/status`, { presence: "online", status_msg: "in" }).expect(200);
    const rows = await query<Record<string, unknown>>(server.ctx.read, "SELECT * FROM presence_stream WHERE user_id = $1", [alice!.userId]);
    assert.equal(rows.length, 1);
    assert.deepEqual([rows[0]!.state, rows[0]!.status_msg, rows[0]!.currently_active, rows[0]!.instance_name], ["online", "in", true, "master"]);
    const upTo = server.ctx.streams.presence.currentToken();
    const seen = await presenceSince(server.ctx, bob!.userId, ["!shared:test"], since, upTo);
    assert.deepEqual(
      seen.map(({ userId, state }) => [userId, state]),
      [[alice!.userId, "online"]],
    );
    assert.deepEqual(await presenceSince(server.ctx, carol!.userId, [], since, upTo), []);
    assert.deepEqual(
      (await presenceSince(server.ctx, bob!.userId, ["!shared:test"], undefined, upTo)).map(({ userId }) => userId),
      [alice!.userId],
    );
  });

  it("says how long ago the user was active", async () => {
    clock.advance(7_000);
    await status(alice!).expect(200, { presence: "online", last_active_ago: 7_000, status_msg: "in", currently_active: true });
  });

  it("follows syncs: online while one is under way, offline half a minute after the last", async () => {
    const end = await server.ctx.presence.beginSync(bob!.userId, bob!.deviceId, "online");
    assert.equal((await server.ctx.presence.get([bob!.userId])).get(bob!.userId)!.state, "online");
    clock.advance(40_000);
    await settled();
    assert.equal((await server.ctx.presence.get([bob!.userId])).get(bob!.userId)!.state, "online");
    end();
    await settled();
    for (let i = 0; i < 9; i++) {
      clock.advance(5_000);
      await settled();
    }
    assert.equal((await server.ctx.presence.get([bob!.userId])).get(bob!.userId)!.state, "offline");
    const [row] = await query<{ state: string }>(server.ctx.read, "SELECT state FROM presence_stream WHERE user_id = $1", [bob!.userId]);
    assert.equal(row!.state, "offline");
  });

  it("goes anew to whom a module names, once to each client, also after a restart with either server", async () => {
    const { ctx } = server;
    const position = ctx.streams.presence.currentToken();
    await ctx.presence.sendOnlineTo([carol!.userId, "@nobody:test"]);
    const rows = "SELECT user_id, presence_stream_id FROM users_to_send_full_presence_to";
    assert.deepEqual(await query(ctx.read, rows), [{ user_id: carol!.userId, presence_stream_id: position }]);
    const next = ctx.streams.presence.currentToken();
    for (const presence of [ctx.presence, new Presence(ctx, { ...ctx.config.server.presence, serverName: "test" })]) {
      if (presence !== ctx.presence) await presence.open();
      assert.deepEqual(
        [presence.wantsAll(carol!.userId, position), presence.wantsAll(carol!.userId, next), presence.wantsAll(bob!.userId, 0)],
        [true, false, false],
      );
      if (presence !== ctx.presence) await presence.close();
    }
  });

  it("busy is not taken back by a sync (MSC3026)", async () => {
    await server.as(carol!).put(`/_matrix/client/v3/presence/${carol!.userId}/status`, { presence: "busy" }).expect(200);
    const end = await server.ctx.presence.beginSync(carol!.userId, carol!.deviceId, "online");
    assert.equal((await server.ctx.presence.get([carol!.userId])).get(carol!.userId)!.state, "busy");
    end();
    await settled();
  });

  it("refuses what is no state, others' presence, and malformed bodies", async () => {
    const put = (user: TestUser, body: object): ReturnType<ReturnType<TestServer["as"]>["put"]> =>
      server.as(alice!).put(`/_matrix/client/v3/presence/${user.userId}/status`, body);
    await put(bob!, { presence: "online" }).expect(403);
    for (const body of [{}, { presence: "dancing" }, { presence: 1 }, { presence: "online", status_msg: 1 }, { presence: "online", extra: 1 }])
      await put(alice!, body).expect(400);
  });

  it("of another server's users is taken from that server alone", async () => {
    const entry = { user_id: "@r:remote", presence: "online", last_active_ago: 5, status_msg: "hi", currently_active: true };
    await server.ctx.presence.receiveRemote("evil", [entry]);
    assert.equal((await server.ctx.presence.get(["@r:remote"])).get("@r:remote")!.state, "offline");
    await server.ctx.presence.receiveRemote("remote", [
      null,
      5,
      { user_id: 1 },
      { user_id: "@r:remote" },
      { ...entry, last_active_ago: "x" },
      entry,
    ] as unknown[]);
    const state = (await server.ctx.presence.get(["@r:remote"])).get("@r:remote")!;
    assert.deepEqual([state.state, state.statusMsg, state.lastActiveTs], ["online", "hi", clock.now() - 5]);
  });

  it("disabled shows everybody as offline", async () => {
    const quiet = await startTestServer({ config: { presence: { enabled: false } } });
    try {
      const dora = await quiet.register("dora");
      await quiet.as(dora).put(`/_matrix/client/v3/presence/${dora.userId}/status`, { presence: "online" }).expect(200);
      await quiet.as(dora).get(`/_matrix/client/v3/presence/${dora.userId}/status`).expect(200, { presence: "offline" });
      assert.deepEqual(await query(quiet.ctx.read, "SELECT * FROM presence_stream"), []);
    } finally {
      await quiet.close();
    }
  });
});
