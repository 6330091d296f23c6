import assert from "node:assert/strict";
import { markUserErased } from "../../../storage/accounts/deactivations.ts";
import { execute, type Txn } from "../../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Event = { event_id: string; content: Record<string, unknown>; unsigned?: Record<string, unknown> };

/** What of a room's history who sees, on each route that returns events. */
describe("history visibility", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let carol: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob, carol] = (await Promise.all(["alice", "bob", "carol"].map((name) => server.register(name)))) as [TestUser, TestUser, TestUser];
  });
  after(() => server.close());

  const send = async (roomId: string, body: string, user = alice, more: object = {}): Promise<string> =>
    (
      await server
        .as(user)
        .post(`${V3}/rooms/${id(roomId)}/send/m.room.message`, { msgtype: "m.text", body, ...more })
        .expect(200)
    ).body.event_id;
  const act = (user: TestUser, roomId: string, action: string, body: object = {}) =>
    server
      .as(user)
      .post(`${V3}/rooms/${id(roomId)}/${action}`, body)
      .expect(200);

  const routes: Record<string, (user: TestUser, roomId: string, eventId: string) => Promise<boolean>> = {
    event: async (user, roomId, eventId) => {
      const { status } = await server.as(user).get(`${V3}/rooms/${id(roomId)}/event/${id(eventId)}`);
      assert.ok(status === 200 || status === 404);
      return status === 200;
    },
    "event without room": async (user, _roomId, eventId) => (await server.as(user).get(`${V3}/events/${id(eventId)}`)).status === 200,
    context: async (user, roomId, eventId) => (await server.as(user).get(`${V3}/rooms/${id(roomId)}/context/${id(eventId)}`)).status === 200,
    relations: async (user, roomId, eventId) => (await server.as(user).get(`/_matrix/client/v1/rooms/${id(roomId)}/relations/${id(eventId)}`)).status === 200,
    messages: async (user, roomId, eventId) => {
      const { body } = await server.as(user).get(`${V3}/rooms/${id(roomId)}/messages?dir=b&limit=100`);
      return ((body.chunk ?? []) as Event[]).some((event) => event.event_id === eventId);
    },
    "messages forwards": async (user, roomId, eventId) => {
      const { body } = await server.as(user).get(`${V3}/rooms/${id(roomId)}/messages?dir=f&limit=100`);
      return ((body.chunk ?? []) as Event[]).some((event) => event.event_id === eventId);
    },
    search: async (user, roomId, eventId) => {
      const { body } = await server
        .as(user)
        .post(`${V3}/search`, { search_categories: { room_events: { search_term: "findable", filter: { rooms: [roomId], limit: 100 } } } });
      return (body.search_categories.room_events.results as { result: Event }[]).some(({ result }) => result.event_id === eventId);
    },
    initialSync: async (user, roomId, eventId) => {
      const { body } = await server.as(user).get(`${V3}/rooms/${id(roomId)}/initialSync?limit=100`);
      return ((body.messages?.chunk ?? []) as Event[]).some((event) => event.event_id === eventId);
    },
  };

  const MEMBER = Object.keys(routes);
  const expected = {
    world_readable: { before: true, invited: true, stranger: true },
    shared: { before: true, invited: true, stranger: false },
    invited: { before: false, invited: true, stranger: false },
    joined: { before: false, invited: false, stranger: false },
  } as const;

  for (const [visibility, sees] of Object.entries(expected)) {
    it(`${visibility}: members see what they may, strangers nothing more (Synapse 0.33.1, #3642)`, async () => {
      const initial = [{ type: "m.room.history_visibility", content: { history_visibility: visibility } }];
      const roomId: string = (await server.as(alice).post(`${V3}/createRoom`, { initial_state: initial }).expect(200)).body.room_id;
      const before = await send(roomId, "findable before");
      await act(alice, roomId, "invite", { user_id: bob.userId });
      const invited = await send(roomId, "findable invited");
      await act(bob, roomId, "join");
      const joined = await send(roomId, "findable joined");
      for (const route of MEMBER) {
        const look = routes[route]!;
        assert.equal(await look(bob, roomId, before), sees.before, `${route}: before the invite`);
        assert.equal(await look(bob, roomId, invited), sees.invited, `${route}: while invited`);
        assert.equal(await look(bob, roomId, joined), true, `${route}: while joined`);
        assert.equal(await look(alice, roomId, before), true, `${route}: the sender`);
        const stranger = sees.stranger && route !== "search";
        assert.equal(await look(carol, roomId, joined), stranger, `${route}: a stranger`);
      }
      await act(bob, roomId, "leave");
      const after = await send(roomId, "findable after");
      for (const route of MEMBER) {
        const readable = visibility === "world_readable" && ["event", "event without room", "context", "relations", "messages forwards"].includes(route);
        assert.equal(await routes[route]!(bob, roomId, after), readable, `${route}: after leaving`);
      }
      assert.equal(await routes["messages"]!(bob, roomId, joined), true, "those who left page back from where they left");
    });
  }

  it("shows redacted events in their redacted form everywhere", async () => {
    const roomId: string = (await server.as(alice).post(`${V3}/createRoom`, {}).expect(200)).body.room_id;
    const secret = await send(roomId, "findable secret");
    const reply = await send(roomId, "reply", alice, { "m.relates_to": { rel_type: "m.thread", event_id: secret } });
    const edit = await send(roomId, "* edited secret", alice, {
      "m.new_content": { msgtype: "m.text", body: "edited secret" },
      "m.relates_to": { rel_type: "m.replace", event_id: secret },
    });
    for (const target of [secret, edit])
      await server
        .as(alice)
        .put(`${V3}/rooms/${id(roomId)}/redact/${id(target)}/${id(target)}`, {})
        .expect(200);
    const paths = [
      `${V3}/rooms/${id(roomId)}/event/${id(secret)}`,
      `${V3}/events/${id(secret)}`,
      `${V3}/rooms/${id(roomId)}/messages?dir=b&limit=50`,
      `${V3}/rooms/${id(roomId)}/messages?dir=f&limit=50&raw=1`,
      `${V3}/rooms/${id(roomId)}/context/${id(secret)}?limit=20`,
      `${V3}/rooms/${id(roomId)}/context/${id(reply)}?limit=20`,
      `${V3}/rooms/${id(roomId)}/initialSync?limit=50`,
      `${V3}/initialSync?limit=50`,
      `/_matrix/client/v1/rooms/${id(roomId)}/threads`,
      `/_matrix/client/v1/rooms/${id(roomId)}/relations/${id(secret)}`,
      `/_matrix/client/unstable/rooms/${id(roomId)}/relations/${id(secret)}`,
    ];
    for (const path of paths) {
      const { body } = await server.as(alice).get(path).expect(200);
      assert.ok(!JSON.stringify(body).includes("secret"), path);
    }
    const { body } = await server
      .as(alice)
      .post(`${V3}/search`, { search_categories: { room_events: { search_term: "secret" } } })
      .expect(200);
    assert.equal(body.search_categories.room_events.results.length, 0);
  });

  it("hides messages of ignored users, keeps their state", async () => {
    const roomId: string = (await server.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id;
    await act(bob, roomId, "join");
    const noise = await send(roomId, "noise", bob);
    await server
      .as(alice)
      .put(`${V3}/user/${id(alice.userId)}/account_data/m.ignored_user_list`, { ignored_users: { [bob.userId]: {} } })
      .expect(200);
    for (const route of ["event", "messages", "context", "relations"]) assert.equal(await routes[route]!(alice, roomId, noise), false, route);
    const { chunk } = (await server.as(alice).get(`${V3}/rooms/${id(roomId)}/messages?dir=b&limit=50`)).body as {
      chunk: { type: string; state_key?: string }[];
    };
    assert.ok(chunk.some((event) => event.type === "m.room.member" && event.state_key === bob.userId));
    await server
      .as(alice)
      .put(`${V3}/user/${id(alice.userId)}/account_data/m.ignored_user_list`, { ignored_users: {} })
      .expect(200);
    assert.equal(await routes["messages"]!(alice, roomId, noise), true);
  });

  it("shows newcomers the redacted form of what erased users wrote", async () => {
    const dave = await server.register("dave");
    const roomId: string = (await server.as(dave).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id;
    await act(alice, roomId, "join");
    const eventId = await send(roomId, "written by dave", dave);
    await server.ctx.transaction("test", async (txn) => {
      await markUserErased(txn, dave.userId);
      txn.afterCommit(() => server.ctx.erasedUsers.forget(dave.userId));
    });
    await act(bob, roomId, "join");
    const seen = async (user: TestUser): Promise<Event> =>
      (
        await server
          .as(user)
          .get(`${V3}/rooms/${id(roomId)}/event/${id(eventId)}`)
          .expect(200)
      ).body;
    assert.equal((await seen(alice)).content["body"], "written by dave");
    assert.deepEqual((await seen(bob)).content, {});
  });

  it("does not let a token show members of a room to strangers (CVE-2021-39164)", async () => {
    const roomId: string = (await server.as(alice).post(`${V3}/createRoom`, {}).expect(200)).body.room_id;
    const { body: sync } = await server
      .as(alice)
      .get(`${V3}/sync?filter=${id(JSON.stringify({ room: { timeline: { limit: 1 } } }))}`)
      .expect(200);
    const members = (user: TestUser) => server.as(user).get(`${V3}/rooms/${id(roomId)}/members?at=${id(sync.next_batch)}`);
    assert.equal((await members(alice).expect(200)).body.chunk.length, 1);
    assert.equal((await members(bob).expect(403)).body.errcode, "M_FORBIDDEN");
  });

  it("goes on through pages of rejected events (CVE-2026-45076)", async () => {
    const roomId: string = (await server.as(alice).post(`${V3}/createRoom`, {}).expect(200)).body.room_id;
    const first = await send(roomId, "first");
    const rejected = await Promise.all(Array.from({ length: 15 }, (_, n) => send(roomId, `rejected ${n}`)));
    const last = await send(roomId, "last");
    await server.ctx.transaction("test", (txn) => rejectStored(txn, rejected));
    server.ctx.events.clear();
    for (const direction of ["b", "f"]) {
      const found = new Set<string>();
      let from = "";
      for (let page = 0; page < 40; page++) {
        const { body } = await server
          .as(alice)
          .get(`${V3}/rooms/${id(roomId)}/messages?dir=${direction}&limit=3${from === "" ? "" : `&from=${from}`}`)
          .expect(200);
        for (const event of body.chunk as Event[]) found.add(event.event_id);
        if (body.end === undefined) break;
        from = body.end;
      }
      assert.ok(found.has(first) && found.has(last), direction);
      assert.ok(!rejected.some((eventId) => found.has(eventId)));
    }
  });
});

async function rejectStored(txn: Txn, eventIds: readonly string[]): Promise<void> {
  // As Synapse of old left them: in `rejections` alone.
  await execute(txn, "INSERT INTO rejections (event_id, reason, last_check) SELECT event_id, 'auth_error', '' FROM unnest($1::text[]) AS event_id", [eventIds]);
}
