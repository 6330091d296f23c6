import assert from "node:assert/strict";
import { query } from "../../../storage/database.ts";
import { FakeClock } from "../../../testing/fake-clock.ts";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../../testing/server.ts";

describe("admin API: rooms", () => {
  const clock = new FakeClock();
  let server: TestServer;
  let admin: TestClient;
  let alice: TestUser;
  let bob: TestUser;
  let asAlice: TestClient;

  before(async () => {
    server = await startTestServer({ clock });
    admin = server.as(await server.register("admin", { admin: true }));
    alice = await server.register("alice");
    bob = await server.register("bob");
    asAlice = server.as(alice);
  });
  after(() => server.close());

  const rows = <Row extends object>(sql: string, params: unknown[] = []): Promise<Row[]> => query<Row>(server.ctx.read, sql, params);
  const makeRoom = async (body: object = {}): Promise<string> => (await asAlice.post("/_matrix/client/v3/createRoom", body).expect(200)).body.room_id as string;
  const say = async (roomId: string, text: string, by = asAlice): Promise<string> => {
    clock.advance(1000);
    return (await by.put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/${text}`, { msgtype: "m.text", body: text }).expect(200)).body
      .event_id as string;
  };
  const leftOf = async (roomId: string): Promise<string[]> => {
    const tables = await rows<{ name: string }>(
      "SELECT table_name AS name FROM information_schema.columns WHERE column_name = 'room_id' AND table_schema = 'public' ORDER BY 1",
    );
    const left: string[] = [];
    for (const { name } of tables) if ((await rows(`SELECT 1 FROM ${name} WHERE room_id = $1 LIMIT 1`, [roomId])).length > 0) left.push(name);
    return left;
  };

  it("lists rooms, details, members, state, and what is around an event", async () => {
    const roomId = await makeRoom({ name: "Admin's eye", topic: "seen", preset: "public_chat", room_alias_name: "eye" });
    const eventId = await say(roomId, "hello");
    const details = (await admin.get(`/_synapse/admin/v1/rooms/${roomId}`).expect(200)).body;
    assert.deepEqual(
      [details.room_id, details.tombstoned, details.forgotten, details.joined_local_devices, details.creator],
      [roomId, false, false, 1, alice.userId],
    );
    assert.deepEqual((await admin.get(`/_synapse/admin/v1/rooms/${roomId}/members`).expect(200)).body, { members: [alice.userId], total: 1 });
    const state = (await admin.get(`/_synapse/admin/v1/rooms/${roomId}/state`).expect(200)).body.state as { type: string }[];
    assert.ok(state.some(({ type }) => type === "m.room.create") && state.length > 5);
    assert.equal((await admin.get(`/_synapse/admin/v1/rooms/${roomId}/state?type=m.room.name`).expect(200)).body.state.length, 1);
    const messages = (await admin.get(`/_synapse/admin/v1/rooms/${roomId}/messages?dir=b&limit=1`).expect(200)).body;
    assert.equal(messages.chunk[0].event_id, eventId);
    const context = (await admin.get(`/_synapse/admin/v1/rooms/${roomId}/context/${eventId}?limit=4`).expect(200)).body;
    assert.deepEqual([context.event.event_id, context.events_before.length, context.events_after.length], [eventId, 2, 0]);
    await admin.get(`/_synapse/admin/v1/rooms/${roomId}/context/$none`).expect(404);
    assert.equal((await admin.get(`/_synapse/admin/v1/rooms/${roomId}/timestamp_to_event?ts=${clock.now()}&dir=b`).expect(200)).body.event_id, eventId);
    await admin.get(`/_synapse/admin/v1/rooms/${roomId}/timestamp_to_event`).expect(400);
    assert.equal((await admin.get(`/_synapse/admin/v1/fetch_event/${eventId}`).expect(200)).body.event.content.body, "hello");
    await admin.get("/_synapse/admin/v1/fetch_event/$none").expect(404);
    assert.equal((await admin.get(`/_synapse/admin/v1/rooms/${roomId}/hierarchy`).expect(200)).body.rooms[0].room_id, roomId);
    const extremities = (await admin.get("/_synapse/admin/v1/rooms/%23eye%3Atest/forward_extremities").expect(200)).body;
    assert.deepEqual([extremities.count, extremities.results[0].event_id], [1, eventId]);
    for (const path of ["", "/members", "/state"]) await admin.get(`/_synapse/admin/v1/rooms/!none:test${path}`).expect(404);
  });

  it("refuses absurd lists, strangers and non-admins", async () => {
    await admin.get("/_synapse/admin/v1/rooms?order_by=size&dir=b&from=0&limit=10").expect(200);
    for (const query of ["limit=-1", "from=a", "order_by=nothing", "search_term=", "dir=x", "public_rooms=maybe"])
      await admin.get(`/_synapse/admin/v1/rooms?${query}`).expect(400);
    await asAlice.get("/_synapse/admin/v1/rooms").expect(403);
    await server.anonymous.get("/_synapse/admin/v1/rooms").expect(401);
    await asAlice.delete("/_synapse/admin/v2/rooms/!a:test", {}).expect(403);
  });

  it("blocks rooms, also unknown ones", async () => {
    const path = "/_synapse/admin/v1/rooms/!unknown:elsewhere/block";
    assert.deepEqual((await admin.get(path).expect(200)).body, { block: false });
    assert.deepEqual((await admin.put(path, { block: true }).expect(200)).body, { block: true });
    assert.deepEqual((await admin.get(path).expect(200)).body, { block: true, user_id: "@admin:test" });
    assert.deepEqual((await admin.put(path, { block: false }).expect(200)).body, { block: false });
    await admin.put(path, {}).expect(400);
    await admin.put(path, { block: "yes" }).expect(400);
    await admin.get("/_synapse/admin/v1/rooms/unknown/block").expect(400);
  });

  it("joins users to rooms and makes room admins", async () => {
    const roomId = await makeRoom({ preset: "public_chat" });
    assert.deepEqual((await admin.post(`/_synapse/admin/v1/join/${roomId}`, { user_id: bob.userId }).expect(200)).body, { room_id: roomId });
    assert.deepEqual([...(await server.ctx.members.joined(roomId))].sort(), [alice.userId, bob.userId]);
    await admin.post(`/_synapse/admin/v1/join/${roomId}`, { user_id: "@nobody:test" }).expect(404);
    await admin.post(`/_synapse/admin/v1/join/${roomId}`, {}).expect(400);
    await admin.post(`/_synapse/admin/v1/join/nothing`, { user_id: bob.userId }).expect(400);
    await admin.request("post", `/_synapse/admin/v1/rooms/${roomId}/make_room_admin`).expect(200);
    const levels = (await admin.get(`/_synapse/admin/v1/rooms/${roomId}/state?type=m.room.power_levels`).expect(200)).body.state[0].content;
    assert.equal(levels.users["@admin:test"], 100);
    const closed = await makeRoom({ preset: "private_chat" });
    await admin.post(`/_synapse/admin/v1/rooms/${closed}/make_room_admin`, { user_id: bob.userId }).expect(200);
    assert.equal((await server.ctx.state.currentEvent(closed, "m.room.member", bob.userId))?.membership, "invite");
    await admin.post("/_synapse/admin/v1/rooms/!none:test/make_room_admin").expect(400);
  });

  it("deletes a room in the background: members move, aliases too, and no table knows it", async () => {
    const roomId = await makeRoom({ preset: "public_chat", room_alias_name: "doomed" });
    await server.as(bob).post(`/_matrix/client/v3/join/${roomId}`).expect(200);
    const eventId = await say(roomId, "doom");
    await server.as(bob).post(`/_matrix/client/v3/rooms/${roomId}/receipt/m.read/${eventId}`).expect(200);
    await asAlice.put(`/_matrix/client/v3/user/${alice.userId}/rooms/${roomId}/tags/x`, {}).expect(200);
    await server.ctx.transaction("pretend", (txn) => query(txn, "INSERT INTO sliding_sync_joined_rooms_to_recalculate (room_id) VALUES ($1)", [roomId]));
    const order = { block: true, new_room_user_id: "@admin:test", room_name: "Refuge", message: "Moved." };
    const { delete_id: id } = (await admin.delete(`/_synapse/admin/v2/rooms/${roomId}`, order).expect(200)).body;
    assert.equal((await admin.delete(`/_synapse/admin/v2/rooms/${roomId}`, {}).expect(400)).body.error, `Purge already in progress for ${roomId}`);
    await server.ctx.tasks.idle();
    const status = (await admin.get(`/_synapse/admin/v2/rooms/delete_status/${id}`).expect(200)).body;
    assert.equal(status.status, "complete", status.error);
    assert.deepEqual(status.shutdown_room.kicked_users, [alice.userId, bob.userId]);
    assert.deepEqual(status.shutdown_room.local_aliases, ["#doomed:test"]);
    const refuge = status.shutdown_room.new_room_id as string;
    assert.deepEqual([...(await server.ctx.members.joined(refuge))].sort(), ["@admin:test", alice.userId, bob.userId]);
    assert.equal((await asAlice.get("/_matrix/client/v3/directory/room/%23doomed%3Atest").expect(200)).body.room_id, refuge);
    assert.deepEqual(await leftOf(roomId), ["blocked_rooms", "current_state_delta_stream", "room_tags_revisions"]);
    assert.equal((await rows("SELECT FROM event_json WHERE event_id = $1", [eventId])).length, 0);
    await admin.get(`/_synapse/admin/v1/rooms/${roomId}`).expect(404);
    await server.as(bob).post(`/_matrix/client/v3/join/${roomId}`).expect(403);
    const results = (await admin.get(`/_synapse/admin/v2/rooms/${roomId}/delete_status`).expect(200)).body.results;
    assert.equal(results.length, 1);
    await admin.get("/_synapse/admin/v2/rooms/delete_status/none").expect(404);
    await admin.get("/_synapse/admin/v2/rooms/!none:test/delete_status").expect(404);
    await admin.delete("/_synapse/admin/v2/rooms/nothing", {}).expect(400);
    await admin.delete(`/_synapse/admin/v2/rooms/${refuge}`, { block: "yes" }).expect(400);
    await admin.delete(`/_synapse/admin/v2/rooms/${refuge}`, { new_room_user_id: "@a:elsewhere" }).expect(400);
  });

  it("deletes a room while the client waits, and the room can be made again after that", async () => {
    const roomId = await makeRoom();
    const { body } = await admin.delete(`/_synapse/admin/v1/rooms/${roomId}`, {}).expect(200);
    assert.deepEqual(body, { kicked_users: [alice.userId], failed_to_kick_users: [], local_aliases: [], new_room_id: null });
    assert.equal((await asAlice.get("/_matrix/client/v3/joined_rooms").expect(200)).body.joined_rooms.includes(roomId), false);
    await asAlice.get(`/_matrix/client/v3/rooms/${roomId}/messages?dir=b`).expect(403);
    await admin.request("delete", `/_synapse/admin/v1/rooms/${roomId}`).expect(400);
  });

  it("a deletion that a stop interrupted goes on", async () => {
    const roomId = await makeRoom();
    const params = {
      requester_user_id: "@admin:test",
      new_room_user_id: null,
      new_room_name: null,
      message: null,
      block: false,
      purge: true,
      force_purge: false,
    };
    await server.ctx.transaction("pretend", (txn) =>
      query(
        txn,
        `INSERT INTO scheduled_tasks (id, action, status, "timestamp", resource_id, params, result) VALUES ('interrupted', 'shutdown_and_purge_room', 'active', 1, $1, $2, $3)`,
        [roomId, JSON.stringify(params), JSON.stringify({ kicked_users: ["@gone:test"], failed_to_kick_users: [], local_aliases: [], new_room_id: null })],
      ),
    );
    server.ctx.tasks.launch();
    await server.ctx.tasks.idle();
    const status = (await admin.get("/_synapse/admin/v2/rooms/delete_status/interrupted").expect(200)).body;
    assert.deepEqual([status.status, status.shutdown_room.kicked_users], ["complete", ["@gone:test", alice.userId]]);
    await admin.get(`/_synapse/admin/v1/rooms/${roomId}`).expect(404);
  });

  it("purges history: what is older goes, state and (unless told) own messages stay as outliers", async () => {
    const roomId = await makeRoom({ preset: "public_chat" });
    const [first, second, third] = [await say(roomId, "first"), await say(roomId, "second"), await say(roomId, "third")];
    const before = (await rows<{ count: number }>("SELECT count(*) AS count FROM state_groups WHERE room_id = $1", [roomId]))[0]!.count;
    const state = new Map((await server.ctx.state.afterEvents([third])).get(third)!);
    const { purge_id: id } = (await admin.post(`/_synapse/admin/v1/purge_history/${roomId}/${third}`, { delete_local_events: true }).expect(200)).body;
    await server.ctx.tasks.idle();
    assert.deepEqual((await admin.get(`/_synapse/admin/v1/purge_history_status/${id}`).expect(200)).body, { status: "complete" });
    const page = (await asAlice.get(`/_matrix/client/v3/rooms/${roomId}/messages?dir=b&limit=100`).expect(200)).body.chunk as { event_id: string }[];
    assert.deepEqual(
      page.map((event) => event.event_id),
      [third],
    );
    assert.equal((await rows("SELECT FROM events WHERE event_id = ANY($1)", [[first, second]])).length, 0);
    const [create] = await rows<{ outlier: boolean }>("SELECT outlier FROM events WHERE room_id = $1 AND type = 'm.room.create'", [roomId]);
    assert.equal(create!.outlier, true);
    const [depth] = await rows<{ min: number; depth: number }>(
      "SELECT d.min_depth AS min, e.depth FROM room_depth AS d JOIN events AS e ON e.event_id = $2 WHERE d.room_id = $1",
      [roomId, third],
    );
    assert.equal(depth!.min, depth!.depth);
    assert.deepEqual(
      (await rows<{ event_id: string }>("SELECT event_id FROM event_backward_extremities WHERE room_id = $1", [roomId])).map((row) => row.event_id),
      [second],
    );
    // The room goes on, and groups that nobody uses go later.
    const fourth = await say(roomId, "fourth");
    assert.ok(
      (await rows("SELECT FROM state_groups_pending_deletion AS d JOIN state_groups AS g ON g.id = d.state_group WHERE g.room_id = $1", [roomId])).length > 0,
    );
    await server.server.jobs.runOnce("_delete_state_groups_loop");
    assert.equal((await rows<{ count: number }>("SELECT count(*) AS count FROM state_groups WHERE room_id = $1", [roomId]))[0]!.count, before, "not at once");
    clock.advance(700_000);
    await server.server.jobs.runOnce("_delete_state_groups_loop");
    const groups = await rows<{ id: number }>("SELECT id FROM state_groups WHERE room_id = $1", [roomId]);
    const used = await rows<{ id: number }>(
      "SELECT DISTINCT state_group AS id FROM event_to_state_groups AS g JOIN events AS e ON e.event_id = g.event_id WHERE e.room_id = $1",
      [roomId],
    );
    assert.deepEqual(
      groups.map((row) => row.id),
      used.map((row) => row.id),
    );
    assert.deepEqual(new Map((await server.ctx.state.afterEvents([fourth])).get(fourth)!), state, "the state of what is left is whole");
    assert.ok(state.size >= 5);
    await say(roomId, "fifth");
  });

  it("purges up to a time, and keeps own messages as outliers", async () => {
    const roomId = await makeRoom();
    const first = await say(roomId, "first");
    clock.advance(60_000);
    const cut = clock.now();
    clock.advance(60_000);
    await say(roomId, "second");
    const { purge_id: id } = (await admin.post(`/_synapse/admin/v1/purge_history/${roomId}`, { purge_up_to_ts: cut }).expect(200)).body;
    await server.ctx.tasks.idle();
    assert.equal((await admin.get(`/_synapse/admin/v1/purge_history_status/${id}`).expect(200)).body.status, "complete");
    assert.equal((await rows("SELECT FROM events WHERE event_id = $1", [first])).length, 1);
    const errors: [string, object, number][] = [
      [`/${roomId}`, {}, 400],
      [`/${roomId}`, { purge_up_to_ts: "then" }, 400],
      [`/${roomId}/$none`, {}, 404],
      [`/!other:test/${first}`, {}, 400],
      ["/!other:test", { purge_up_to_ts: cut }, 404],
    ];
    for (const [path, body, expected] of errors) await admin.post(`/_synapse/admin/v1/purge_history${path}`, body).expect(expected);
    await admin.get("/_synapse/admin/v1/purge_history_status/none").expect(404);
  });

  it("prunes forward extremities", async () => {
    const roomId = await makeRoom();
    assert.deepEqual((await admin.request("delete", `/_synapse/admin/v1/rooms/${roomId}/forward_extremities`).expect(200)).body, { deleted: 0 });
    await admin.request("delete", "/_synapse/admin/v1/rooms/!none:test/forward_extremities").expect(400);
    await say(roomId, "on");
  });
});
