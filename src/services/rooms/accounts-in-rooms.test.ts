import assert from "node:assert/strict";
import { query, queryOne } from "../../storage/database.ts";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";
import { createRoom } from "./create.ts";
import { updateMembership } from "./membership.ts";
import { requesterFor } from "../requester.ts";

const V3 = "/_matrix/client/v3";

describe("accounts in rooms", () => {
  let server: TestServer;
  let alice: TestUser;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
  });
  after(() => server.close());

  const as = (user: TestUser) => requesterFor(user.userId, { authenticatedEntity: user.userId });
  const room = async (owner = alice): Promise<string> => (await createRoom(server.ctx, as(owner), { preset: "public_chat" })).roomId;
  const memberContent = async (roomId: string, userId: string): Promise<Record<string, unknown> | undefined> =>
    (await server.ctx.state.currentEvent(roomId, "m.room.member", userId))?.content;

  it("show a new name and avatar in every room, once each, by a task of Synapse's name", async () => {
    const rooms = await Promise.all(Array.from({ length: 7 }, () => room()));
    await server.as(alice).put(`${V3}/profile/@alice:test/displayname`, { displayname: "Al" }).expect(200);
    await server.as(alice).put(`${V3}/profile/@alice:test/avatar_url`, { avatar_url: "mxc://test/a" }).expect(200);
    await server.ctx.tasks.idle();
    for (const roomId of rooms)
      assert.deepEqual(await memberContent(roomId, "@alice:test"), { membership: "join", displayname: "Al", avatar_url: "mxc://test/a" });
    const tasks = await query<{ action: string; status: string; resource_id: string; params: string; result: string | null }>(
      server.ctx.read,
      `SELECT action, status, resource_id, params, result FROM scheduled_tasks WHERE action = 'update_join_states' ORDER BY "timestamp"`,
    );
    assert.equal(tasks.length, 2);
    assert.deepEqual(tasks.at(-1), {
      action: "update_join_states",
      status: "complete",
      resource_id: "@alice:test",
      params: '{"requester_authenticated_entity":"@alice:test"}',
      result: JSON.stringify({ last_room_id: [...rooms].sort().at(-1) }),
    });
  });

  it("go on spreading a name after a restart, from the room where it stopped", async () => {
    const bob = await server.register("bob");
    const rooms = (await Promise.all(Array.from({ length: 3 }, () => room(bob)))).sort();
    const { ctx } = server;
    await ctx.transaction("test", async (txn) => {
      await query(txn, "UPDATE profiles SET displayname = 'Bobby' WHERE user_id = 'bob'");
      await query(
        txn,
        `INSERT INTO scheduled_tasks (id, action, status, "timestamp", resource_id, params, result) VALUES ('left', 'update_join_states', 'active', 1, '@bob:test', '{"requester_authenticated_entity":"@bob:test"}', $1)`,
        [JSON.stringify({ last_room_id: rooms[0] })],
      );
    });
    await server.server.jobs.runOnce("launch_scheduled_tasks");
    await ctx.tasks.idle();
    const names = await Promise.all(rooms.map(async (roomId) => (await memberContent(roomId, "@bob:test"))?.["displayname"]));
    assert.deepEqual(names, ["bob", "Bobby", "Bobby"]);
    assert.equal((await ctx.tasks.get("left"))?.status, "complete");
  });

  it("do not show the new name of a shadow-banned user", async () => {
    const eve = await server.register("eve");
    const roomId = await room(eve);
    const { ctx } = server;
    await ctx.transaction("test", (txn) => setUserFlags(txn, ctx.accounts, eve.userId, { shadowBanned: true }));
    await server.as(eve).put(`${V3}/profile/@eve:test/displayname`, { displayname: "Evil" }).expect(200);
    await ctx.tasks.idle();
    assert.equal((await memberContent(roomId, eve.userId))?.["displayname"], "eve");
  });

  it("leave no trace of an erased user: rooms left and forgotten, invites rejected, names pruned", async () => {
    const carol = await server.register("carol");
    const { ctx } = server;
    const [joined, invited] = [await room(), await room()];
    await updateMembership(ctx, as(carol), { roomId: joined, target: carol.userId, action: "join" });
    await updateMembership(ctx, as(alice), { roomId: invited, target: carol.userId, action: "invite" });
    await server
      .as(carol)
      .post(`${V3}/account/deactivate`, { erase: true, auth: { type: "m.login.password", user: "carol", password: TEST_PASSWORD } })
      .expect(200);
    await server.server.jobs.runOnce("user_parter_loop");
    assert.equal((await memberContent(joined, carol.userId))?.["membership"], "leave");
    assert.equal((await memberContent(invited, carol.userId))?.["membership"], "leave");
    assert.deepEqual(await query(ctx.read, "SELECT FROM users_pending_deactivation"), []);
    assert.deepEqual(
      await query(ctx.read, "SELECT room_id FROM room_memberships WHERE user_id = '@carol:test' AND forgotten = 0 AND room_id = $1", [joined]),
      [],
    );
    const stored = await query<{ json: string }>(
      ctx.read,
      "SELECT json FROM event_json JOIN room_memberships USING (event_id) WHERE user_id = '@carol:test' AND event_json.room_id = $1",
      [joined],
    );
    assert.equal(stored.length, 2);
    for (const { json } of stored) assert.deepEqual(Object.keys(JSON.parse(json).content), ["membership"]);
    assert.equal(await queryOne(ctx.read, "SELECT FROM user_directory WHERE user_id = '@carol:test'"), undefined);
  });
});

describe("auto_join_rooms", () => {
  it("are made by the first user and joined by those who follow", async () => {
    const server = await startTestServer({ config: { auto_join_rooms: ["#lobby:test", "#elsewhere:other"], autocreate_auto_join_rooms_federated: false } });
    try {
      const { ctx } = server;
      const first = await server.register("first");
      const second = await server.register("second");
      const row = await queryOne<{ room_id: string; creator: string }>(ctx.read, "SELECT room_id, creator FROM room_aliases WHERE room_alias = '#lobby:test'");
      assert.equal(row!.creator, first.userId);
      assert.deepEqual([...(await ctx.members.joined(row!.room_id))].sort(), [first.userId, second.userId]);
      assert.equal((await ctx.state.currentEvent(row!.room_id, "m.room.create", ""))?.content["m.federate"], false);
    } finally {
      await server.close();
    }
  });

  it("invite newcomers to rooms that are not public", async () => {
    const server = await startTestServer({
      config: { auto_join_rooms: ["#lobby:test"], autocreate_auto_join_room_preset: "private_chat", auto_join_mxid_localpart: "host" },
    });
    try {
      const { ctx } = server;
      const host = await server.register("host");
      const guest = await server.register("visitor");
      const row = await queryOne<{ room_id: string }>(ctx.read, "SELECT room_id FROM room_aliases WHERE room_alias = '#lobby:test'");
      assert.deepEqual([...(await ctx.members.joined(row!.room_id))].sort(), [host.userId, guest.userId]);
      assert.equal((await ctx.state.currentEvent(row!.room_id, "m.room.join_rules", ""))?.content["join_rule"], "invite");
    } finally {
      await server.close();
    }
  });
});
