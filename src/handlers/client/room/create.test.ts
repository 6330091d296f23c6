import assert from "node:assert/strict";
import { query } from "../../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

type Event = { type: string; state_key?: string; content: Record<string, unknown>; sender: string; event_id: string };

describe("POST /createRoom", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer({ config: { room_list_publication_rules: [{ action: "allow" }] } });
    alice = await server.register("alice");
    bob = await server.register("bob");
  });
  after(() => server.close());

  const create = (body: object, user = alice): Promise<string> => server.as(user).createRoom(body);
  const stateOf = async (roomId: string): Promise<Event[]> =>
    (
      await server
        .as(alice)
        .get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state`)
        .expect(200)
    ).body;
  const content = (state: Event[], type: string, key = ""): Record<string, unknown> | undefined =>
    state.find((event) => event.type === type && event.state_key === key)?.content;

  it("makes a private room by default, of the default version", async () => {
    const roomId = await create({});
    assert.match(roomId, /^![A-Za-z]{18}:test$/);
    const state = await stateOf(roomId);
    assert.deepEqual(content(state, "m.room.create"), { room_version: "11" });
    assert.deepEqual(content(state, "m.room.join_rules"), { join_rule: "invite" });
    assert.deepEqual(content(state, "m.room.guest_access"), { guest_access: "can_join" });
    assert.deepEqual(content(state, "m.room.history_visibility"), { history_visibility: "shared" });
    assert.equal((content(state, "m.room.power_levels")!.users as Record<string, number>)[alice.userId], 100);
    assert.equal(content(state, "m.room.power_levels")!.invite, 0);
    assert.deepEqual(content(state, "m.room.member", alice.userId), { membership: "join", displayname: "alice" });
  });

  it("stores the first events in one transaction", async () => {
    const names: (string | undefined)[] = [];
    const stop = server.ctx.db.observe((record) => names.push(record.transaction));
    await create({ name: "One", topic: "two" });
    stop();
    const persists = new Set(names.filter((name) => name === "persist_events"));
    assert.equal(persists.size, 1);
  });

  it("begins the room at the depth of its first event", async () => {
    const roomId = await create({ preset: "public_chat" }, bob);
    assert.deepEqual(await query(server.ctx.read, "SELECT min_depth FROM room_depth WHERE room_id = $1", [roomId]), [{ min_depth: 1 }]);
  });

  it("keeps Synapse's order of events", async () => {
    const roomId = await create({
      name: "N",
      topic: "T",
      room_alias_name: "order",
      initial_state: [{ type: "m.room.encryption", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    const { chunk } = (
      await server
        .as(alice)
        .get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=f&limit=50`)
        .expect(200)
    ).body as { chunk: Event[] };
    assert.deepEqual(
      chunk.map((event) => event.type),
      [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "m.room.encryption",
        "m.room.name",
        "m.room.topic",
      ],
    );
    assert.deepEqual(chunk.at(-1)!.content, { topic: "T", "m.topic": { "m.text": [{ body: "T" }] } });
  });

  for (const version of ["1", "2", "3", "6", "9", "10", "11", "12"]) {
    it(`makes rooms of version ${version}`, async () => {
      const roomId = await create({ room_version: version, preset: "trusted_private_chat", invite: [bob.userId], is_direct: true });
      const state = await stateOf(roomId);
      const levels = content(state, "m.room.power_levels")!.users as Record<string, number>;
      if (version === "12") {
        assert.match(roomId, /^![A-Za-z0-9_-]{43}$/);
        assert.deepEqual(content(state, "m.room.create")!.additional_creators, [bob.userId]);
        assert.deepEqual(levels, {});
        assert.equal((content(state, "m.room.power_levels")!.events as Record<string, number>)["m.room.tombstone"], 150);
      } else {
        assert.equal(content(state, "m.room.create")!.creator, Number(version) < 11 ? alice.userId : undefined);
        assert.deepEqual(levels, { [alice.userId]: 100, [bob.userId]: 100 });
      }
      assert.deepEqual(content(state, "m.room.member", bob.userId), { membership: "invite", is_direct: true, displayname: "bob" });
    });
  }

  it("refuses what is wrong with Synapse's codes", async () => {
    const refused = async (body: object, status: number, errcode: string): Promise<void> => {
      const answer = await server.as(alice).post("/_matrix/client/v3/createRoom", body);
      assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(body));
    };
    await refused({ room_version: "99" }, 400, "M_UNSUPPORTED_ROOM_VERSION");
    await refused({ room_version: 11 }, 400, "M_BAD_JSON");
    await refused({ preset: "nonsense" }, 400, "M_BAD_JSON");
    await refused({ room_alias_name: "a b" }, 400, "M_UNKNOWN");
    await refused({ room_alias_name: "a:b" }, 400, "M_UNKNOWN");
    await refused({ room_alias_name: "order" }, 400, "M_ROOM_IN_USE");
    await refused({ invite: ["bob"] }, 400, "M_UNKNOWN");
    await refused({ invite: [-(2 ** 53) + 1] }, 400, "M_UNKNOWN");
    await refused({ invite: [-(2 ** 53)] }, 400, "M_UNKNOWN"); // a number that JSON.stringify has no word for, once it is read losslessly
    await refused({ invite_3pid: [{ medium: "email" }] }, 400, "M_MISSING_PARAM");
    await refused({ power_level_content_override: { users: {} } }, 400, "M_UNKNOWN");
    await refused({ initial_state: "x" }, 400, "M_BAD_JSON");
    await refused({ name: 1 }, 400, "M_UNKNOWN");
    await refused({ room_version: "12", power_level_content_override: { users: { [alice.userId]: 100 } } }, 400, "M_UNKNOWN");
    assert.equal((await server.anonymous.post("/_matrix/client/v3/createRoom")).status, 401);
  });

  it("leaves no event behind when one of the first events is refused", async () => {
    const before = await server.ctx.events.get([]);
    assert.equal(before.size, 0);
    const answer = await server.as(alice).post("/_matrix/client/v3/createRoom", { power_level_content_override: { users: { [alice.userId]: 0 } } });
    assert.equal(answer.status, 403);
    const joined = (await server.as(alice).get("/_matrix/client/v3/joined_rooms")).body.joined_rooms as string[];
    for (const roomId of joined) assert.ok((await stateOf(roomId)).length >= 6);
  });

  it("publishes a room only where the rules allow it", async () => {
    const roomId = await create({ visibility: "public", room_alias_name: "public", name: "Open" });
    const { body } = await server.anonymous.get(`/_matrix/client/v3/directory/list/room/${encodeURIComponent(roomId)}`).expect(200);
    assert.equal(body.visibility, "public");
    const { body: target } = await server.anonymous.get(`/_matrix/client/v3/directory/room/${encodeURIComponent("#public:test")}`).expect(200);
    assert.deepEqual(target, { room_id: roomId, servers: ["test"] });
    assert.deepEqual(content(await stateOf(roomId), "m.room.join_rules"), { join_rule: "public" });
  });

  it("answers a repeated transaction with the same room", async () => {
    const put = async (): Promise<string> => (await server.as(alice).put("/_matrix/client/v3/createRoom/txn1", { name: "once" }).expect(200)).body.room_id;
    assert.equal(await put(), await put());
  });
});
