import assert from "node:assert/strict";
import { execute, query } from "../../storage/database.ts";
import { bareEvent, bareRoom } from "../../testing/bare-room.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

describe("pushers", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let next = 0;
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc3881_enabled: true } } });
  });
  beforeEach(async () => {
    [alice, bob] = [await server.register(`alice${next}`), await server.register(`bob${next++}`)];
  });
  after(() => server.close());

  const pusher = (over: object = {}): object => ({
    kind: "http",
    app_id: "org.example",
    app_display_name: "Example",
    device_display_name: "phone",
    pushkey: `key${next}`,
    lang: "en",
    data: { url: "https://push.example.org/_matrix/push/v1/notify", format: "event_id_only" },
    profile_tag: "tag",
    ...over,
  });
  const set = (user: TestUser, body: object): ReturnType<ReturnType<TestServer["as"]>["post"]> => server.as(user).post(`${V3}/pushers/set`, body);
  const list = async (user: TestUser): Promise<any[]> => (await server.as(user).get(`${V3}/pushers`).expect(200)).body.pushers;
  const rows = (user: TestUser, table = "pushers"): Promise<Record<string, unknown>[]> =>
    query(server.ctx.read, `SELECT * FROM ${table} WHERE ${table === "pushers" ? "user_name" : "user_id"} = $1`, [user.userId]);

  it("are set, shown, replaced under a new id, and removed with a tombstone", async () => {
    await set(alice, pusher()).expect(200, {});
    const { append: _append, ...shown } = pusher() as Record<string, unknown>;
    assert.deepEqual(await list(alice), [{ ...shown, "org.matrix.msc3881.enabled": true, "org.matrix.msc3881.device_id": alice.deviceId }]);
    const [row] = await rows(alice);
    assert.deepEqual(
      [row!.id, row!.instance_name, row!.device_id, row!.last_stream_ordering, row!.data],
      [
        server.ctx.streams.pushers.currentToken(),
        "master",
        alice.deviceId,
        server.ctx.streams.events.currentToken(),
        '{"url":"https://push.example.org/_matrix/push/v1/notify","format":"event_id_only"}',
      ],
    );
    await set(alice, pusher({ lang: "de", "org.matrix.msc3881.enabled": false })).expect(200);
    const [again, ...more] = await rows(alice);
    assert.equal(more.length, 0);
    assert.ok((again!.id as number) > (row!.id as number));
    assert.deepEqual([again!.lang, again!.enabled], ["de", false]);
    await set(alice, { app_id: "org.example", pushkey: `key${next}`, kind: null }).expect(200);
    assert.deepEqual(await list(alice), []);
    assert.deepEqual(
      (await rows(alice, "deleted_pushers")).map(({ app_id, pushkey }) => [app_id, pushkey]),
      [["org.example", `key${next}`]],
    );
    await set(alice, { app_id: "org.example", pushkey: `key${next}`, kind: null }).expect(200);
  });

  it("of other users for the same key go, unless the new one is appended", async () => {
    await set(alice, pusher()).expect(200);
    await set(bob, pusher({ append: true })).expect(200);
    assert.deepEqual([(await list(alice)).length, (await list(bob)).length], [1, 1]);
    await set(bob, pusher()).expect(200);
    assert.deepEqual([(await list(alice)).length, (await list(bob)).length], [0, 1]);
  });

  it("malformed are refused", async () => {
    assert.equal((await set(alice, { kind: "http" }).expect(400)).body.errcode, "M_MISSING_PARAM");
    for (const data of [null, {}, { url: 1 }, { url: "https://x/other" }, { url: "nonsense" }])
      assert.equal((await set(alice, pusher({ data })).expect(400)).body.errcode, "M_MISSING_PARAM");
    for (const over of [{ app_id: 1 }, { pushkey: "a\0b" }, { pushkey: "k".repeat(600) }, { append: "yes" }, { kind: 5 }])
      await set(alice, pusher(over)).expect(400);
    assert.equal((await set(alice, pusher({ kind: "email", pushkey: "a@example.org", data: {} })).expect(400)).body.errcode, "M_THREEPID_NOT_FOUND");
  });

  it("are removed by the link of a mail, whose token is good for nothing else", async () => {
    await set(alice, pusher()).expect(200);
    const link = (token: string, key = `key${next}`): string =>
      `/_matrix/client/unstable/pushers/remove?access_token=${encodeURIComponent(token)}&app_id=org.example&pushkey=${key}`;
    const token = server.ctx.macaroons.deletePusherToken(alice.userId, "org.example", `key${next}`);
    await server.anonymous.get(link(token, "other")).expect(401);
    await server.anonymous.get(link(alice.accessToken)).expect(401);
    assert.equal((await list(alice)).length, 1);
    await server.anonymous.get(link(token)).expect(200);
    assert.deepEqual(await list(alice), []);
    await set(alice, pusher()).expect(200);
    const page = link(token).replace("/_matrix/client/unstable/pushers/remove", "/_synapse/client/unsubscribe");
    await server.anonymous.get(page.replace(encodeURIComponent(token), "forged")).expect(401);
    assert.match((await server.anonymous.post(page).expect(200)).text, /unsubscribed/);
    assert.deepEqual(await list(alice), []);
    await server.anonymous.get(link(token)).expect(200);
  });

  it("go with their device", async () => {
    await set(alice, pusher()).expect(200);
    await server.as(alice).post(`${V3}/logout`).expect(200);
    assert.deepEqual(await rows(alice), []);
  });

  describe("notifications", () => {
    it("without any give an empty list; bad tokens are refused", async () => {
      await server.as(alice).get(`${V3}/notifications`).expect(200, { notifications: [], next_token: null });
      await server.as(alice).get(`${V3}/notifications?from=x`).expect(400);
    });

    it("of events that are gone are left out, and paging goes on", async () => {
      const room = `!n${next}:test`;
      await bareRoom(server.ctx, room, [alice.userId]);
      const eventId = await bareEvent(server.ctx, room, bob.userId);
      await server.ctx.transaction("notify", (txn) =>
        execute(
          txn,
          `INSERT INTO event_push_actions (room_id, event_id, user_id, actions, stream_ordering, topological_ordering, notif, highlight, unread, thread_id)
           SELECT room_id, event_id, $2, '', stream_ordering, topological_ordering, 1, 0, 0, 'main' FROM events WHERE event_id = $1`,
          [eventId, alice.userId],
        ),
      );
      const { body } = await server.as(alice).get(`${V3}/notifications`).expect(200);
      assert.deepEqual([body.notifications, typeof body.next_token], [[], "string"]);
    });
  });
});
