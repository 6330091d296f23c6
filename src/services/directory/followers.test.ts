import assert from "node:assert/strict";
import { execute, query, type ReadHandle } from "../../storage/database.ts";
import { fixtureDump } from "../../testing/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;

/** Rooms that were purged are left out: the changes of their state are still on record. */
const TABLES: Record<string, string> = {
  room_stats_current:
    "SELECT room_id, current_state_events, joined_members, invited_members, left_members, banned_members, local_users_in_room, knocked_members FROM room_stats_current WHERE room_id IN (SELECT room_id FROM rooms)",
  room_stats_state: "SELECT * FROM room_stats_state WHERE room_id IN (SELECT room_id FROM rooms)",
  user_stats_current: "SELECT user_id, joined_rooms FROM user_stats_current WHERE joined_rooms <> 0",
  users_in_public_rooms: "SELECT user_id, room_id FROM users_in_public_rooms",
  users_who_share_private_rooms: "SELECT user_id, other_user_id, room_id FROM users_who_share_private_rooms WHERE room_id IN (SELECT room_id FROM rooms)",
};

async function contents(h: ReadHandle): Promise<Record<string, string[]>> {
  const all: Record<string, string[]> = {};
  for (const [table, sql] of Object.entries(TABLES)) all[table] = (await query<object>(h, sql)).map((row) => JSON.stringify(row)).sort();
  return all;
}

describe("tables that follow the rooms' state", () => {
  const fixture = fixtureDump();

  it("become what Synapse made them when they are made anew from a Synapse database", async function () {
    if (fixture === undefined) return this.skip();
    const server = await startTestServer({ database: { fixture }, config: { server_name: "localhost:18448" } });
    try {
      const { db } = server.ctx;
      await server.server.followers.runOnce();
      const before = await contents(db.read);
      await db.transaction("test", async (txn) => {
        await execute(txn, "TRUNCATE room_stats_current, room_stats_state, users_in_public_rooms, users_who_share_private_rooms");
        await execute(txn, "UPDATE user_stats_current SET joined_rooms = 0");
        await execute(txn, "UPDATE stats_incremental_position SET stream_id = 0");
        await execute(txn, "UPDATE user_directory_stream_pos SET stream_id = 0");
      });
      await server.server.followers.runOnce();
      const after = await contents(db.read);
      for (const table of Object.keys(TABLES)) {
        const [was, is] = [new Set(before[table]), new Set(after[table])];
        assert.deepEqual([[...was].filter((row) => !is.has(row)), [...is].filter((row) => !was.has(row))], [[], []], table);
      }
    } finally {
      await server.close();
    }
  });

  describe("of a new server", () => {
    let server: TestServer;
    let alice: TestUser;
    let bob: TestUser;
    let carol: TestUser;

    before(async () => {
      server = await startTestServer({ config: { forget_rooms_on_leave: true } });
      [alice, bob, carol] = (await Promise.all(["alice", "bob", "carol"].map((name) => server.register(name)))) as [TestUser, TestUser, TestUser];
    });
    after(() => server.close());

    const create = (body: object): Promise<string> => server.as(alice).createRoom(body);
    const act = (user: TestUser, roomId: string, action: string, body: object = {}) =>
      server
        .as(user)
        .post(`${V3}/rooms/${id(roomId)}/${action}`, body)
        .expect(200);
    const find = async (user: TestUser, term: string): Promise<string[]> => {
      await server.server.followers.runOnce();
      const { body } = await server.as(user).post(`${V3}/user_directory/search`, { search_term: term }).expect(200);
      return (body.results as { user_id: string }[]).map((result) => result.user_id);
    };

    it("count the members of rooms", async () => {
      const roomId = await create({ name: "Counted", preset: "public_chat" });
      await act(bob, roomId, "join");
      await act(alice, roomId, "invite", { user_id: carol.userId });
      await server.server.followers.runOnce();
      const row = async (): Promise<unknown> =>
        (
          await query(server.ctx.read, "SELECT joined_members, invited_members, left_members, local_users_in_room FROM room_stats_current WHERE room_id = $1", [
            roomId,
          ])
        )[0];
      assert.deepEqual(await row(), { joined_members: 2, invited_members: 1, left_members: 0, local_users_in_room: 2 });
      await act(bob, roomId, "leave");
      await act(bob, roomId, "join");
      await act(bob, roomId, "leave");
      await server.server.followers.runOnce();
      assert.deepEqual(await row(), { joined_members: 1, invited_members: 1, left_members: 1, local_users_in_room: 1 });
      const again = await query<{ joined_rooms: number }>(server.ctx.read, "SELECT joined_rooms FROM user_stats_current WHERE user_id = $1", [bob.userId]);
      assert.equal(again[0]?.joined_rooms ?? 0, 0);
    });

    it("let people be found who are in a public room, or share a private one, and nobody else", async () => {
      const dave = await server.register("davina");
      assert.deepEqual(await find(bob, "davina"), []);
      const secret = (await server.as(dave).post(`${V3}/createRoom`, {}).expect(200)).body.room_id as string;
      await act(dave, secret, "invite", { user_id: bob.userId });
      assert.deepEqual(await find(bob, "davina"), []);
      await act(bob, secret, "join");
      assert.deepEqual(await find(bob, "davina"), [dave.userId]);
      assert.deepEqual(await find(carol, "davina"), []);
      // The room opens: everybody finds them; it closes: only its members again.
      await server
        .as(dave)
        .put(`${V3}/rooms/${id(secret)}/state/m.room.join_rules`, { join_rule: "public" })
        .expect(200);
      assert.deepEqual(await find(carol, "davina"), [dave.userId]);
      await server
        .as(dave)
        .put(`${V3}/rooms/${id(secret)}/state/m.room.join_rules`, { join_rule: "invite" })
        .expect(200);
      assert.deepEqual(await find(carol, "davina"), []);
      assert.deepEqual(await find(bob, "davina"), [dave.userId]);
      await act(bob, secret, "leave");
      assert.deepEqual(await find(bob, "davina"), []);
    });

    it("follow display names", async () => {
      const roomId = await create({ preset: "public_chat" });
      await server
        .as(alice)
        .put(`${V3}/profile/${id(alice.userId)}/displayname`, { displayname: "Ælfgifu O'Neil" })
        .expect(200);
      for (const term of ["ælfgifu", "ÆLF", "o'neil", "alice"]) assert.deepEqual(await find(bob, term), [alice.userId], term);
      for (const term of ["'", ":*", "& | !", "\\", ""]) assert.deepEqual(await find(bob, term), [], term);
      await act(alice, roomId, "leave");
    });

    it("forget rooms that were left, where the config says so", async () => {
      const roomId = await create({ preset: "public_chat" });
      await act(bob, roomId, "join");
      await act(bob, roomId, "leave");
      await server.server.followers.runOnce();
      assert.equal((await server.ctx.members.roomsOf(bob.userId)).get(roomId)?.forgotten, true);
      assert.equal((await server.ctx.members.roomsOf(alice.userId)).get(roomId)?.forgotten, false);
      const rows = await query<{ forgotten: number }>(server.ctx.read, "SELECT DISTINCT forgotten FROM room_memberships WHERE user_id = $1 AND room_id = $2", [
        bob.userId,
        roomId,
      ]);
      assert.deepEqual(rows, [{ forgotten: 1 }]);
    });

    it("do nothing twice", async () => {
      await server.server.followers.runOnce();
      const before = await contents(server.ctx.read);
      await server.server.followers.runOnce();
      assert.deepEqual(await contents(server.ctx.read), before);
    });
  });
});
