import assert from "node:assert/strict";
import { execute, type Txn } from "../../../storage/database.ts";
import { FakeClock } from "../../../testing/fake-clock.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

const V1 = "/_matrix/client/v1";
const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Room = { room_id: string; name?: string; children_state: { state_key: string; content: object }[] } & Record<string, unknown>;

describe("the hierarchy of a space", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
    // The limit has a test of its own.
    for (const user of [alice, bob]) {
      await server.ctx.transaction("test", (txn: Txn) =>
        execute(txn, "INSERT INTO ratelimit_override (user_id, messages_per_second, burst_count) VALUES ($1, 0, 0)", [user.userId]),
      );
    }
  });
  after(() => server.close());

  const create = (name: string, body: object = {}, user = alice): Promise<string> => server.as(user).createRoom({ preset: "public_chat", name, ...body });
  const space = (name: string, body: object = {}): Promise<string> => create(name, { creation_content: { type: "m.space" }, ...body });
  const attach = (parent: string, child: string, content: object = { via: ["test"] }) =>
    server
      .as(alice)
      .put(`${V3}/rooms/${id(parent)}/state/m.space.child/${id(child)}`, content)
      .expect(200);
  const look = async (user: TestUser, roomId: string, rest = ""): Promise<{ rooms: Room[]; next_batch?: string }> => {
    await server.server.followers.runOnce();
    return (
      await server
        .as(user)
        .get(`${V1}/rooms/${id(roomId)}/hierarchy${rest}`)
        .expect(200)
    ).body;
  };
  const names = (rooms: readonly Room[]): (string | undefined)[] => rooms.map((room) => room.name);

  it("goes down into each child before the next, by `order`, then by age", async () => {
    const root = await space("root");
    const [a, inner, deep, last] = [await create("a"), await space("inner"), await create("deep"), await create("last")];
    await attach(root, last);
    await attach(root, a);
    await attach(root, inner, { via: ["test"], order: "a" });
    await attach(inner, deep);
    const { rooms } = await look(bob, root);
    assert.deepEqual(names(rooms), ["root", "inner", "deep", "last", "a"]);
    assert.deepEqual(
      rooms[0]!.children_state.map((child) => child.state_key),
      [inner, last, a],
    );
    assert.deepEqual(rooms[2]!.children_state, []);
    const { children_state: _, ...summary } = rooms[0]!;
    assert.deepEqual(summary, {
      room_id: root,
      name: "root",
      room_type: "m.space",
      join_rule: "public",
      num_joined_members: 1,
      guest_can_join: false,
      world_readable: false,
      room_version: server.ctx.config.server.defaultRoomVersion,
    });
  });

  it("leaves out what the user may not see, children without via and those taken out", async () => {
    const root = await space("root");
    const [secret, noVia, gone, fine] = [
      await create("secret", { preset: "private_chat" }),
      await create("no via"),
      await create("gone"),
      await create("fine"),
    ];
    await attach(root, secret);
    await attach(root, noVia, {});
    await attach(root, gone);
    await attach(root, gone, {});
    await attach(root, fine);
    assert.deepEqual(names((await look(bob, root)).rooms), ["root", "fine"]);
    assert.deepEqual(names((await look(alice, root)).rooms), ["root", "secret", "fine"]);
    await server
      .as(alice)
      .post(`${V3}/rooms/${id(secret)}/invite`, { user_id: bob.userId })
      .expect(200);
    assert.deepEqual(names((await look(bob, root)).rooms), ["root", "secret", "fine"]);
  });

  it("shows a restricted room to members of a room that gives access to it", async () => {
    const root = await space("root");
    const club = await create("club", { preset: "private_chat" });
    const rule = { type: "m.room.join_rules", state_key: "", content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: club }] } };
    const inside = await create("inside", { preset: "private_chat", initial_state: [rule] });
    await attach(root, inside);
    assert.deepEqual(names((await look(bob, root)).rooms), ["root"]);
    await server
      .as(alice)
      .post(`${V3}/rooms/${id(club)}/invite`, { user_id: bob.userId })
      .expect(200);
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(club)}/join`)
      .expect(200);
    const { rooms } = await look(bob, root);
    assert.deepEqual(names(rooms), ["root", "inside"]);
    assert.equal(rooms[1]!.allowed_room_ids, undefined, "for servers only");
  });

  it("comes in pages; a token is only good for the same question", async () => {
    const root = await space("root");
    const children: string[] = [];
    for (let n = 0; n < 7; n++) {
      children.push(await create(`child ${n}`));
      await attach(root, children.at(-1)!);
    }
    const first = await look(bob, root, "?limit=3");
    assert.equal(first.rooms.length, 3);
    const second = await look(bob, root, `?limit=3&from=${first.next_batch!}`);
    const third = await look(bob, root, `?limit=3&from=${second.next_batch!}`);
    assert.equal(third.next_batch, undefined);
    assert.deepEqual(
      [...first.rooms, ...second.rooms, ...third.rooms].map((room) => room.room_id),
      [root, ...children],
    );
    assert.deepEqual(names((await look(bob, root, `?limit=3&from=${first.next_batch!}`)).rooms), names(second.rooms), "again");

    for (const [user, path] of [
      [alice, `?from=${first.next_batch!}`],
      [bob, `?from=${first.next_batch!}&suggested_only=true`],
      [bob, `?from=${first.next_batch!}&max_depth=4`],
      [bob, "?from=nonsense"],
    ] as const) {
      const { status, body } = await server.as(user).get(`${V1}/rooms/${id(root)}/hierarchy${path}`);
      assert.deepEqual([status, body.errcode], [400, "M_INVALID_PARAM"], path);
    }
  });

  it("obeys max_depth and suggested_only, and does not run in circles", async () => {
    const root = await space("root");
    const inner = await space("inner");
    const deep = await create("deep");
    await attach(root, inner, { via: ["test"], suggested: true });
    await attach(inner, root);
    await attach(inner, deep);
    assert.deepEqual(names((await look(bob, root)).rooms), ["root", "inner", "deep"]);
    assert.deepEqual(names((await look(bob, root, "?max_depth=1")).rooms), ["root", "inner"]);
    assert.deepEqual(names((await look(bob, root, "?suggested_only=true")).rooms), ["root", "inner"]);
    assert.equal((await server.as(bob).get(`${V1}/rooms/${id(root)}/hierarchy?max_depth=-1`)).status, 400);
  });

  it("is refused for a room that the user may not see, or that nobody knows", async () => {
    const secret = await space("secret", { preset: "private_chat" });
    for (const roomId of [secret, "!nowhere:test"]) {
      const { status, body } = await server.as(bob).get(`${V1}/rooms/${id(roomId)}/hierarchy`);
      assert.deepEqual([status, body.errcode], [403, "M_FORBIDDEN"]);
    }
  });

  it("of a wide space takes few statements", async () => {
    const root = await space("wide");
    for (let n = 0; n < 25; n++) await attach(root, await create(`child ${n}`));
    await look(bob, root);
    let statements = 0;
    const stop = server.ctx.db.observe(() => statements++);
    const { body } = await server
      .as(bob)
      .get(`${V1}/rooms/${id(root)}/hierarchy`)
      .expect(200);
    stop();
    assert.equal(body.rooms.length, 26);
    assert.ok(statements <= 12, `${statements} statements`);
  });
});

describe("pages of hierarchies", () => {
  it("are limited to ten at once and five a second, a session lasts five minutes", async () => {
    const clock = new FakeClock();
    const server = await startTestServer({ clock });
    try {
      const alice = await server.register("alice");
      const root: string = (
        await server
          .as(alice)
          .post(`${V3}/createRoom`, { preset: "public_chat", creation_content: { type: "m.space" } })
          .expect(200)
      ).body.room_id;
      const path = `${V1}/rooms/${id(root)}/hierarchy`;
      const statuses: number[] = [];
      for (let n = 0; n < 11; n++) statuses.push((await server.as(alice).get(path)).status);
      assert.deepEqual(statuses, [...Array<number>(10).fill(200), 429]);
      clock.advance(1000);
      const child: string = (await server.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id;
      await server
        .as(alice)
        .put(`${V3}/rooms/${id(root)}/state/m.space.child/${id(child)}`, { via: ["test"] })
        .expect(200);
      await server.server.followers.runOnce();
      const { next_batch: token } = (await server.as(alice).get(`${path}?limit=1`).expect(200)).body;
      clock.advance(4 * 60_000);
      await server.as(alice).get(`${path}?limit=1&from=${token}`).expect(200);
      clock.advance(61_000);
      await server.as(alice).get(`${path}?limit=1&from=${token}`).expect(400);
    } finally {
      await server.close();
    }
  });
});

describe("the summary of a room", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
  });
  after(() => server.close());

  const create = async (body: object): Promise<string> => {
    const roomId = await server.as(alice).createRoom(body);
    await server.server.followers.runOnce();
    return roomId;
  };

  it("tells what the room is and how one stands to it, by id or alias", async () => {
    const roomId = await create({ preset: "public_chat", name: "Hall", topic: "All", room_alias_name: "hall" });
    const { body } = await server
      .as(bob)
      .get(`${V1}/room_summary/${id("#hall:test")}`)
      .expect(200);
    assert.deepEqual(body, {
      room_id: roomId,
      name: "Hall",
      topic: "All",
      canonical_alias: "#hall:test",
      join_rule: "public",
      num_joined_members: 1,
      guest_can_join: false,
      world_readable: false,
      room_version: server.ctx.config.server.defaultRoomVersion,
      membership: "leave",
    });
    assert.equal(
      (
        await server
          .as(alice)
          .get(`${V1}/room_summary/${id(roomId)}`)
          .expect(200)
      ).body.membership,
      "join",
    );
    assert.equal(
      (
        await server
          .as(bob)
          .get(`/_matrix/client/unstable/im.nheko.summary/rooms/${id(roomId)}/summary`)
          .expect(200)
      ).body.name,
      "Hall",
    );
  });

  it("is for strangers too, without a membership", async () => {
    const roomId = await create({ preset: "public_chat", name: "Hall" });
    const { body } = await server.anonymous.get(`${V1}/room_summary/${id(roomId)}`).expect(200);
    assert.equal(body.name, "Hall");
    assert.ok(!("membership" in body));
  });

  it("of a private room is not found for those outside; an invite opens it", async () => {
    const roomId = await create({ preset: "private_chat", name: "Den" });
    assert.equal((await server.as(bob).get(`${V1}/room_summary/${id(roomId)}`)).body.errcode, "M_NOT_FOUND");
    assert.equal((await server.anonymous.get(`${V1}/room_summary/${id(roomId)}`)).status, 404);
    await server
      .as(alice)
      .post(`${V3}/rooms/${id(roomId)}/invite`, { user_id: bob.userId })
      .expect(200);
    assert.equal(
      (
        await server
          .as(bob)
          .get(`${V1}/room_summary/${id(roomId)}`)
          .expect(200)
      ).body.membership,
      "invite",
    );
  });
});
