import assert from "node:assert/strict";
import { carryOver, truePredecessor } from "../../services/rooms/upgrade.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Event = { type: string; state_key?: string; content: Record<string, any>; event_id: string };

describe("POST /rooms/{roomId}/upgrade", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let carol: TestUser;

  before(async () => {
    server = await startTestServer({ config: { room_list_publication_rules: [{ action: "allow" }] } });
    [alice, bob, carol] = (await Promise.all(["alice", "bob", "carol"].map((name) => server.register(name)))) as [TestUser, TestUser, TestUser];
  });
  after(() => server.close());

  const create = (body: object, user = alice): Promise<string> => server.as(user).createRoom(body);
  const upgrade = (user: TestUser, roomId: string, body: object) => server.as(user).post(`${V3}/rooms/${id(roomId)}/upgrade`, body);
  const state = async (roomId: string): Promise<(type: string, key?: string) => Event | undefined> => {
    const events = (
      await server
        .as(alice)
        .get(`${V3}/rooms/${id(roomId)}/state`)
        .expect(200)
    ).body as Event[];
    return (type, key = "") => events.find((event) => event.type === type && event.state_key === key);
  };

  it("points to the new room also where the old one moved on meanwhile", async () => {
    const old = await create({ room_version: "11" });
    const { spamChecker } = server.ctx.modules;
    const { requireMayCreateRoom } = spamChecker;
    spamChecker.requireMayCreateRoom = (...args) => {
      server.ctx.persister.forgetRoom(old);
      return requireMayCreateRoom.apply(spamChecker, args);
    };
    try {
      const fresh = (await upgrade(alice, old, { new_version: "11" }).expect(200)).body.replacement_room as string;
      const tombstone = (await state(old))("m.room.tombstone")!;
      assert.equal(tombstone.content.replacement_room, fresh);
      assert.deepEqual((await state(fresh))("m.room.create")!.content.predecessor, { room_id: old, event_id: tombstone.event_id });
    } finally {
      spamChecker.requireMayCreateRoom = requireMayCreateRoom;
    }
  });

  for (const [from, to] of [
    ["1", "11"],
    ["11", "12"],
    ["12", "12"],
  ] as const) {
    it(`moves everything from version ${from} to ${to}`, async () => {
      const alias = `up-${from}-${to}`;
      const old = await create({
        room_version: from,
        preset: "public_chat",
        visibility: "public",
        room_alias_name: alias,
        name: "Name",
        topic: "Topic",
        initial_state: [
          { type: "org.example.own", content: { a: 1 } },
          { type: "m.room.server_acl", content: { allow: ["*"], deny: ["bad"] } },
        ],
      });
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(old)}/join`)
        .expect(200);
      await server
        .as(alice)
        .post(`${V3}/rooms/${id(old)}/ban`, { user_id: carol.userId, reason: "no" })
        .expect(200);
      await server
        .as(bob)
        .put(`${V3}/user/${id(bob.userId)}/rooms/${id(old)}/tags/m.favourite`, { order: 0.1 })
        .expect(200);
      await server
        .as(bob)
        .put(`${V3}/pushrules/global/room/${id(old)}`, { actions: [] })
        .expect(200);

      const answer = await upgrade(alice, old, { new_version: to }).expect(200);
      const fresh: string = answer.body.replacement_room;
      const [before, after] = [await state(old), await state(fresh)];
      const create12 = to === "12";
      assert.equal(before("m.room.tombstone")!.content.replacement_room, fresh);
      assert.deepEqual(after("m.room.create")!.content.predecessor, { room_id: old, ...(create12 ? {} : { event_id: before("m.room.tombstone")!.event_id }) });
      assert.equal(after("m.room.create")!.content.room_version, to);
      for (const type of ["m.room.name", "m.room.topic", "m.room.join_rules", "m.room.server_acl", "m.room.history_visibility"])
        assert.deepEqual(after(type)!.content, before(type)!.content, type);
      assert.equal(after("org.example.own"), undefined);
      assert.equal(after("m.room.member", carol.userId)!.content.membership, "ban");
      assert.equal(after("m.room.power_levels")!.content.users[alice.userId], create12 ? undefined : 100);
      assert.ok(before("m.room.power_levels")!.content.events_default >= 50);
      assert.equal(before("m.room.canonical_alias")!.content.alias, undefined);
      assert.equal(after("m.room.canonical_alias")!.content.alias, `#${alias}:test`);
      assert.equal((await server.anonymous.get(`${V3}/directory/room/${id(`#${alias}:test`)}`).expect(200)).body.room_id, fresh);
      assert.equal((await server.anonymous.get(`${V3}/directory/list/room/${id(old)}`)).body.visibility, "private");
      assert.equal((await server.anonymous.get(`${V3}/directory/list/room/${id(fresh)}`)).body.visibility, "public");
      assert.deepEqual((await server.as(bob).get(`${V3}/user/${id(bob.userId)}/rooms/${id(fresh)}/tags`)).body.tags, { "m.favourite": { order: 0.1 } });
      await server
        .as(bob)
        .get(`${V3}/pushrules/global/room/${id(fresh)}`)
        .expect(200);

      // Asked again, the same answer; another user is refused meanwhile.
      assert.equal((await upgrade(alice, old, { new_version: to }).expect(200)).body.replacement_room, fresh);
      assert.equal((await upgrade(bob, old, { new_version: to })).status, 400);
    });
  }

  it("copies the children of spaces", async () => {
    const space = await create({ creation_content: { type: "m.space" } });
    await server
      .as(alice)
      .put(`${V3}/rooms/${id(space)}/state/m.space.child/!kept:test`, { via: ["test"] })
      .expect(200);
    await server
      .as(alice)
      .put(`${V3}/rooms/${id(space)}/state/m.space.child/!removed:test`, {})
      .expect(200);
    const { body } = await upgrade(alice, space, { new_version: "11" }).expect(200);
    const after = await state(body.replacement_room);
    assert.equal(after("m.room.create")!.content.type, "m.space");
    assert.deepEqual(after("m.space.child", "!kept:test")!.content, { via: ["test"] });
    assert.equal(after("m.space.child", "!removed:test"), undefined);
  });

  it("changes nothing for those who may not", async () => {
    const roomId = await create({ preset: "public_chat" });
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(roomId)}/join`)
      .expect(200);
    const rooms = async (): Promise<number> => (await server.ctx.members.roomsOf(bob.userId)).size;
    const before = await rooms();
    assert.equal((await upgrade(bob, roomId, { new_version: "11" })).body.errcode, "M_FORBIDDEN");
    assert.equal((await upgrade(carol, roomId, { new_version: "11" })).body.errcode, "M_FORBIDDEN");
    assert.equal(await rooms(), before);
    assert.equal((await state(roomId))("m.room.tombstone"), undefined);
    assert.equal((await upgrade(alice, roomId, { new_version: "x" })).body.errcode, "M_UNSUPPORTED_ROOM_VERSION");
    assert.equal((await upgrade(alice, roomId, {})).body.errcode, "M_MISSING_PARAM");
    assert.equal((await upgrade(alice, "!none:test", { new_version: "11" })).status, 404);
  });

  it("takes nobody's word for what a room replaces", async () => {
    const victim = await create({});
    await server
      .as(alice)
      .post(`${V3}/rooms/${id(victim)}/invite`, { user_id: bob.userId })
      .expect(200);
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(victim)}/join`)
      .expect(200);
    const trap = await create({ preset: "public_chat", creation_content: { predecessor: { room_id: victim, event_id: "$x" } } }, carol);
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(trap)}/join`)
      .expect(200);
    assert.equal(await truePredecessor(server.ctx, bob.userId, trap), undefined);
    const { body } = await upgrade(alice, victim, { new_version: "11" }).expect(200);
    assert.equal(await truePredecessor(server.ctx, bob.userId, body.replacement_room), victim);
    assert.equal(await truePredecessor(server.ctx, carol.userId, body.replacement_room), undefined);
    await carryOver(server.ctx, victim, body.replacement_room, ["@nobody:test"]); // one user's trouble stops nobody
  });
});
