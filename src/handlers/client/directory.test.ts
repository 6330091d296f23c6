import assert from "node:assert/strict";
import { startTestAppservice } from "../../testing/appservice.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;

describe("aliases and the room directory", () => {
  let server: TestServer;
  let admin: TestUser;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer({
      config: {
        room_list_publication_rules: [{ user_id: "@bob:*", action: "deny" }, { action: "allow" }],
        alias_creation_rules: [{ alias: "#forbidden*", action: "deny" }, { action: "allow" }],
      },
    });
    admin = await server.register("root", { admin: true });
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
  });
  after(() => server.close());

  const create = (body: object, user = alice): Promise<string> => server.as(user).createRoom(body);
  const aliasPath = (alias: string): string => `${V3}/directory/room/${id(alias)}`;
  const put = async (user: TestUser, alias: string, roomId: string): Promise<[number, string | undefined]> => {
    const { status, body } = await server.as(user).put(aliasPath(alias), { room_id: roomId });
    return [status, body.errcode];
  };
  const remove = async (user: TestUser, alias: string): Promise<[number, string | undefined]> => {
    const { status, body } = await server.as(user).delete(aliasPath(alias));
    return [status, body.errcode];
  };

  it("makes aliases for members only, once, on this server, where the rules allow it", async () => {
    const roomId = await create({ preset: "public_chat" });
    assert.deepEqual(await put(bob, "#one:test", roomId), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await put(alice, "#one:test", roomId), [200, undefined]);
    assert.deepEqual(await put(alice, "#one:test", roomId), [409, "M_UNKNOWN"]);
    assert.deepEqual(await put(admin, "#byadmin:test", roomId), [200, undefined]);
    assert.deepEqual(await put(alice, "#forbidden1:test", roomId), [403, "M_UNKNOWN"]);
    assert.deepEqual(await put(alice, "#one:elsewhere", roomId), [400, "M_UNKNOWN"]);
    assert.deepEqual(await put(alice, "#sp ace:test", roomId), [400, "M_UNKNOWN"]);
    assert.deepEqual(await put(alice, "one", roomId), [400, "M_INVALID_PARAM"]);
    assert.deepEqual(await put(alice, "#two:test", "!none:test"), [400, "M_UNKNOWN"]);
    const { body } = await server
      .as(alice)
      .get(`${V3}/rooms/${id(roomId)}/aliases`)
      .expect(200);
    assert.deepEqual(body.aliases.toSorted(), ["#byadmin:test", "#one:test"]);
    await server
      .as(bob)
      .get(`${V3}/rooms/${id(roomId)}/aliases`)
      .expect(403);
    assert.equal((await server.anonymous.get(aliasPath("#none:test"))).body.errcode, "M_NOT_FOUND");
  });

  it("lets only its maker, those with power in the room, and admins remove an alias (CVE-2024-6303)", async () => {
    const roomId = await create({
      preset: "public_chat",
      power_level_content_override: { users: { [alice.userId]: 100 }, events: { "m.room.canonical_alias": 50 } },
    });
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(roomId)}/join`)
      .expect(200);
    await put(alice, "#hers:test", roomId);
    await put(bob, "#his:test", roomId);
    assert.deepEqual(await remove(bob, "#hers:test"), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await put(bob, "#hers:test", await create({}, bob)), [409, "M_UNKNOWN"]);
    assert.deepEqual(await remove(bob, "#his:test"), [200, undefined]);
    await put(bob, "#his:test", roomId);
    assert.deepEqual(await remove(alice, "#his:test"), [200, undefined]);
    assert.deepEqual(await remove(admin, "#hers:test"), [200, undefined]);
    assert.deepEqual(await remove(alice, "#hers:test"), [404, "M_NOT_FOUND"]);
  });

  it("takes a removed alias out of the canonical alias", async () => {
    const roomId = await create({ room_alias_name: "main" });
    await put(alice, "#other:test", roomId);
    const path = `${V3}/rooms/${id(roomId)}/state/m.room.canonical_alias`;
    await server
      .as(alice)
      .put(path, { alias: "#main:test", alt_aliases: ["#other:test"], "org.example": 1 })
      .expect(200);
    await remove(alice, "#other:test");
    assert.deepEqual((await server.as(alice).get(path)).body, { alias: "#main:test", "org.example": 1 });
    await remove(alice, "#main:test");
    assert.deepEqual((await server.as(alice).get(path)).body, { "org.example": 1 });
  });

  it("refuses canonical aliases that lead elsewhere", async () => {
    const [roomId, other] = [await create({}), await create({ room_alias_name: "elsewhere" })];
    const path = `${V3}/rooms/${id(roomId)}/state/m.room.canonical_alias`;
    for (const content of [{ alias: "#none:test" }, { alias: "#elsewhere:test" }, { alt_aliases: ["#elsewhere:test"] }]) {
      assert.equal((await server.as(alice).put(path, content)).body.errcode, "M_BAD_ALIAS", JSON.stringify(content));
    }
    for (const content of [{ alias: 5 }, { alias: "none" }, { alt_aliases: "x" }])
      assert.equal((await server.as(alice).put(path, content)).body.errcode, "M_INVALID_PARAM");
    void other;
  });

  it("lists rooms, largest first, page by page in both directions", async () => {
    const rooms: string[] = [];
    for (const [n, members] of [1, 3, 2].entries()) {
      const roomId = await create({ visibility: "public", preset: "public_chat", name: `Listed ${n}`, topic: n === 2 ? "Wombats" : "Other" });
      for (const user of [bob, admin].slice(0, members - 1))
        await server
          .as(user)
          .post(`${V3}/rooms/${id(roomId)}/join`)
          .expect(200);
      rooms.push(roomId);
    }
    const hidden = await create({ visibility: "public", preset: "private_chat", name: "Listed but closed" });
    const space = await create({ visibility: "public", preset: "public_chat", name: "Listed space", creation_content: { type: "m.space" } });
    await server.server.followers.runOnce();
    const list = async (body: object): Promise<{ chunk: { room_id: string }[]; next_batch?: string; prev_batch?: string; total_room_count_estimate: number }> =>
      (await server.as(alice).post(`${V3}/publicRooms`, body).expect(200)).body;

    const all = await list({});
    assert.deepEqual(
      all.chunk.map((room) => room.room_id).filter((roomId) => rooms.includes(roomId)),
      [rooms[1], rooms[2], rooms[0]],
    );
    assert.ok(!all.chunk.some((room) => room.room_id === hidden));
    const order = all.chunk.map((room) => room.room_id);
    const forwards: string[] = [];
    let page = await list({ limit: 1 });
    for (;;) {
      forwards.push(...page.chunk.map((room) => room.room_id));
      if (page.next_batch === undefined) break;
      page = await list({ limit: 1, since: page.next_batch });
    }
    assert.deepEqual(forwards, order);
    const backwards: string[] = [];
    while (page.prev_batch !== undefined) {
      page = await list({ limit: 1, since: page.prev_batch });
      backwards.unshift(...page.chunk.map((room) => room.room_id));
    }
    assert.deepEqual(backwards, order.slice(0, -1));

    const found = async (filter: object): Promise<string[]> => (await list({ filter })).chunk.map((room) => room.room_id);
    assert.deepEqual(await found({ generic_search_term: "WOMBAT" }), [rooms[2]]);
    assert.deepEqual(await found({ room_types: ["m.space"] }), [space]);
    assert.ok(!(await found({ room_types: [null] })).includes(space));
    assert.deepEqual(await found({ generic_search_term: "100%_" }), []);
    assert.equal((await server.anonymous.get(`${V3}/publicRooms`)).body.errcode, "M_MISSING_TOKEN");
    assert.equal((await server.as(alice).get(`${V3}/publicRooms?since=nonsense`)).status, 400);
  });

  it("publishes for those with power, within the rules", async () => {
    const publish = async (user: TestUser, roomId: string): Promise<[number, string | undefined]> => {
      const { status, body } = await server.as(user).put(`${V3}/directory/list/room/${id(roomId)}`, { visibility: "public" });
      return [status, body.errcode];
    };
    const roomId = await create({ preset: "public_chat" });
    assert.deepEqual(await publish(bob, roomId), [403, "M_FORBIDDEN"]);
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(roomId)}/join`)
      .expect(200);
    assert.deepEqual(await publish(bob, roomId), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await publish(alice, roomId), [200, undefined]);
    assert.deepEqual(await publish(bob, await create({}, bob)), [403, "M_UNKNOWN"]);
    assert.deepEqual(await publish(alice, "!none:test"), [400, "M_UNKNOWN"]);
    assert.equal((await server.as(alice).put(`${V3}/directory/list/appservice/net/${id(roomId)}`, {})).body.errcode, "M_FORBIDDEN");
    assert.equal((await server.anonymous.get(`${V3}/directory/list/room/${id("!none:test")}`)).status, 404);
  });
});

describe("the room directory of a third-party network", () => {
  it("is edited by its application service", async function () {
    this.timeout(60_000);
    const bridge = await startTestAppservice();
    const server = await startTestServer({ config: { app_service_config_files: [bridge.registration({ protocols: ["irc"] })] } });
    try {
      const roomId = await server.as(await server.register("alice")).createRoom({ preset: "public_chat", name: "Bridged" });
      await server.server.followers.runOnce();
      const as = server.as({ accessToken: bridge.asToken });
      const path = `${V3}/directory/list/appservice/freenode/${id(roomId)}`;
      const listed = async (network: object): Promise<string[]> =>
        ((await as.post(`${V3}/publicRooms`, network)).body.chunk as { room_id: string }[]).map(({ room_id }) => room_id);
      await as.put(path, { visibility: "public" }).expect(200, {});
      assert.deepEqual(await listed({ third_party_instance_id: "bridge|freenode" }), [roomId]);
      assert.deepEqual(await listed({}), []);
      await as.put(path, { visibility: "private" }).expect(200, {});
      assert.deepEqual(await listed({ third_party_instance_id: "bridge|freenode" }), []);
    } finally {
      await server.close();
      await bridge.close();
    }
  });
});
