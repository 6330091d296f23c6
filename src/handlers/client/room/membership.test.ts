import assert from "node:assert/strict";
import { MatrixEvent } from "../../../protocol/event/event.ts";
import { roomVersion } from "../../../protocol/room-versions.ts";
import { blockRoom, insertRoom } from "../../../storage/rooms/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

type Event = { type: string; state_key?: string; content: Record<string, unknown>; sender: string; event_id: string };
const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;

describe("membership of rooms", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let carol: TestUser;

  before(async () => {
    server = await startTestServer({ config: { allow_guest_access: true } });
    [alice, bob, carol] = (await Promise.all(["alice", "bob", "carol"].map((name) => server.register(name)))) as [TestUser, TestUser, TestUser];
  });
  after(() => server.close());

  const create = (body: object = {}): Promise<string> => server.as(alice).createRoom(body);
  const act = async (user: TestUser, roomId: string, action: string, body: object = {}): Promise<[number, string | undefined]> => {
    const { status, body: answer } = await server.as(user).post(`${V3}/rooms/${id(roomId)}/${action}`, body);
    return [status, answer.errcode];
  };
  const member = async (roomId: string, user: TestUser): Promise<Event | undefined> => {
    const { chunk } = (
      await server
        .as(alice)
        .get(`${V3}/rooms/${id(roomId)}/members`)
        .expect(200)
    ).body as { chunk: Event[] };
    return chunk.find((event) => event.state_key === user.userId);
  };

  it("goes from invite to join to leave and back, with reason and profile", async () => {
    const roomId = await create();
    assert.deepEqual(await act(bob, roomId, "join"), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await act(alice, roomId, "invite", { user_id: bob.userId, reason: "come" }), [200, undefined]);
    assert.deepEqual((await member(roomId, bob))!.content, { membership: "invite", displayname: "bob", reason: "come" });
    assert.deepEqual(await act(bob, roomId, "join", { reason: "here" }), [200, undefined]);
    assert.deepEqual((await member(roomId, bob))!.content, { membership: "join", displayname: "bob", reason: "here" });
    assert.deepEqual(await act(bob, roomId, "leave"), [200, undefined]);
    assert.deepEqual((await member(roomId, bob))!.content, { membership: "leave" });
    assert.deepEqual(await act(bob, roomId, "join"), [403, "M_FORBIDDEN"]);
  });

  it("makes no event when nothing would change", async () => {
    const roomId = await create({ preset: "public_chat" });
    await act(bob, roomId, "join");
    const first = (await member(roomId, bob))!.event_id;
    assert.deepEqual(await act(bob, roomId, "join"), [200, undefined]);
    assert.equal((await member(roomId, bob))!.event_id, first);
    assert.deepEqual(await act(bob, roomId, "join", { reason: "other content" }), [200, undefined]);
    assert.notEqual((await member(roomId, bob))!.event_id, first);
  });

  it("answers impossible changes as Synapse does", async () => {
    const roomId = await create();
    const target = { user_id: bob.userId };
    assert.deepEqual(await act(alice, roomId, "kick", target), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await act(alice, roomId, "ban", target), [200, undefined]);
    assert.deepEqual(await act(alice, roomId, "invite", target), [403, "M_BAD_STATE"]);
    assert.deepEqual(await act(bob, roomId, "join"), [403, "M_BAD_STATE"]);
    assert.deepEqual(await act(alice, roomId, "kick", target), [403, "M_BAD_STATE"]);
    assert.deepEqual(await act(alice, roomId, "unban", target), [200, undefined]);
    assert.deepEqual(await act(alice, roomId, "unban", target), [403, "M_BAD_STATE"]);
    assert.deepEqual(await act(carol, roomId, "kick", { user_id: alice.userId }), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await act(alice, roomId, "invite", {}), [400, "M_MISSING_PARAM"]);
    assert.deepEqual(await act(alice, roomId, "invite", { user_id: "bob" }), [400, "M_INVALID_PARAM"]);
    assert.deepEqual(await act(alice, "!unknown:test", "join"), [404, "M_UNKNOWN"]);
    assert.deepEqual(await act(alice, "!unknown:test", "leave"), [404, "M_UNKNOWN"]);
    assert.equal((await server.as(alice).post(`${V3}/join/nonsense`)).status, 400);
    assert.deepEqual((await server.as(alice).post(`${V3}/join/${id("#none:test")}`)).body.errcode, "M_NOT_FOUND");
  });

  it("lets members of the allowed room into a restricted one, vouched for by a member", async () => {
    const gate = await create();
    const rules = { type: "m.room.join_rules", content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: gate }] } };
    const roomId = await create({ initial_state: [rules] });
    assert.deepEqual(await act(bob, roomId, "join"), [403, "M_FORBIDDEN"]);
    await act(alice, gate, "invite", { user_id: bob.userId });
    assert.deepEqual(await act(bob, roomId, "join"), [403, "M_FORBIDDEN"]);
    await act(bob, gate, "join");
    assert.deepEqual(await act(bob, roomId, "join"), [200, undefined]);
    assert.equal((await member(roomId, bob))!.content["join_authorised_via_users_server"], alice.userId);
    // Clients may not name a voucher themselves.
    await server
      .as(carol)
      .put(`${V3}/rooms/${id(roomId)}/state/m.room.member/${id(carol.userId)}`, { membership: "join", join_authorised_via_users_server: alice.userId })
      .expect(403);
  });

  it("takes knocks where the rule says so", async () => {
    const roomId = await create({ initial_state: [{ type: "m.room.join_rules", content: { join_rule: "knock" } }] });
    await server
      .as(bob)
      .post(`${V3}/knock/${id(roomId)}`, { reason: "please" })
      .expect(200);
    assert.deepEqual((await member(roomId, bob))!.content, { membership: "knock", displayname: "bob", reason: "please" });
    assert.deepEqual(await act(alice, roomId, "invite", { user_id: bob.userId }), [200, undefined]);
    assert.deepEqual(await act(bob, roomId, "join"), [200, undefined]);
    await server
      .as(carol)
      .post(`${V3}/knock/${id(await create())}`)
      .expect(403);
  });

  it("admits nobody to a blocked room", async () => {
    const roomId = await create({ preset: "public_chat" });
    await server.database.database.transaction("test", async (txn) => {
      await blockRoom(txn, roomId, alice.userId);
    });
    assert.deepEqual(await act(bob, roomId, "join"), [403, "M_UNKNOWN"]);
    assert.deepEqual(await act(alice, roomId, "leave"), [200, undefined]);
  });

  it("forgets rooms that were left, and only those", async () => {
    const roomId = await create({ preset: "public_chat" });
    await act(bob, roomId, "join");
    assert.deepEqual(await act(bob, roomId, "forget"), [400, "M_UNKNOWN"]);
    await act(bob, roomId, "leave");
    await server
      .as(bob)
      .get(`${V3}/rooms/${id(roomId)}/messages?dir=b`)
      .expect(200);
    assert.deepEqual(await act(bob, roomId, "forget"), [200, undefined]);
    await server
      .as(bob)
      .get(`${V3}/rooms/${id(roomId)}/messages?dir=b`)
      .expect(403);
    assert.deepEqual(await act(bob, roomId, "join"), [200, undefined]);
  });

  it("ends an invite of another server's user without that server", async () => {
    // As an invite over federation leaves it behind: an outlier, and no room.
    const json = {
      type: "m.room.member",
      room_id: "!far:elsewhere",
      sender: "@eve:elsewhere",
      state_key: bob.userId,
      content: { membership: "invite" },
      depth: 7,
      origin_server_ts: 1,
      auth_events: [],
      prev_events: [],
      hashes: { sha256: "x" },
      signatures: {},
      unsigned: { invite_room_state: [] },
    };
    const invite = new MatrixEvent(json, roomVersion("10")!, "$invite-from-far-0000000000000000000000000000", { out_of_band_membership: true });
    invite.outlier = true;
    await server.ctx.transaction("test", (txn) => insertRoom(txn, { roomId: "!far:elsewhere", creator: "", isPublic: false, version: "10" }));
    await server.ctx.persister.persist([{ event: invite }]);
    assert.equal((await server.ctx.members.roomsOf(bob.userId)).get("!far:elsewhere")?.membership, "invite");
    assert.deepEqual(await act(bob, "!far:elsewhere", "leave"), [200, undefined]);
    const own = (await server.ctx.members.roomsOf(bob.userId)).get("!far:elsewhere");
    assert.equal(own?.membership, "leave");
    const leave = await server.ctx.events.one(own.eventId);
    assert.deepEqual([leave?.outlier, leave?.internal.out_of_band_membership, leave?.prevEventIds], [true, true, [invite.eventId]]);
  });

  it("joins cost the same, however many members there are", async () => {
    const roomId = await create({ preset: "public_chat" });
    const users = await Promise.all(Array.from({ length: 12 }, (_, n) => server.register(`many${n}`)));
    const join = async (user: TestUser): Promise<number> => {
      await server.as(user).get(`${V3}/account/whoami`).expect(200); // the token is known
      let statements = 0;
      const stop = server.ctx.db.observe(() => statements++);
      assert.deepEqual(await act(user, roomId, "join"), [200, undefined]);
      stop();
      return statements;
    };
    const costs: number[] = [];
    for (const user of users) costs.push(await join(user));
    assert.ok(Math.max(...costs.slice(2)) <= costs[1]! + 2, `statements of each join: ${costs.join(", ")}`);
    assert.ok(Math.max(...costs.slice(2)) <= 40, `statements of each join: ${costs.join(", ")}`);
  });

  it("lets guests into rooms that take them, and do nothing else there", async () => {
    const { body } = await server.anonymous.post(`${V3}/register?kind=guest`).expect(200);
    const guest: TestUser = { userId: body.user_id, accessToken: body.access_token, deviceId: body.device_id ?? "" };
    const open = await create({ preset: "public_chat", initial_state: [{ type: "m.room.guest_access", content: { guest_access: "can_join" } }] });
    const closed = await create({ preset: "public_chat" });
    assert.deepEqual(await act(guest, closed, "join"), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await act(guest, open, "join"), [200, undefined]);
    assert.equal((await member(open, guest))!.content["kind"], "guest");
    assert.deepEqual(await act(guest, open, "invite", { user_id: bob.userId }), [403, "M_FORBIDDEN"]);
    assert.equal((await server.as(guest).post(`${V3}/createRoom`)).body.errcode, "M_GUEST_ACCESS_FORBIDDEN");
  });

  it("keeps to the limits of joins and invites", async () => {
    const limited = await startTestServer({
      config: { rc_joins: { local: { per_second: 0.001, burst_count: 1 } }, rc_invites: { per_issuer: { per_second: 0.001, burst_count: 1 } } },
    });
    try {
      const [one, two] = await Promise.all([limited.register("one"), limited.register("two")]);
      const rooms = await Promise.all(
        [1, 2].map(async () => (await limited.as(one).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id as string),
      );
      const join = (roomId: string) => limited.as(two).post(`${V3}/rooms/${id(roomId)}/join`);
      await join(rooms[0]!).expect(200);
      const refused = await join(rooms[1]!).expect(429);
      assert.equal(refused.body.errcode, "M_LIMIT_EXCEEDED");
      await join(rooms[0]!).expect(200); // no new membership
      await limited
        .as(one)
        .post(`${V3}/rooms/${id(rooms[0]!)}/invite`, { user_id: "@x:test" })
        .expect(200);
      await limited
        .as(one)
        .post(`${V3}/rooms/${id(rooms[0]!)}/invite`, { user_id: "@y:test" })
        .expect(429);
    } finally {
      await limited.close();
    }
  });
});
