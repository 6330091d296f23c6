import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { noticeOfLimits } from "./limit-notice.ts";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../testing/server.ts";

const NOTICES = { system_mxid_localpart: "notices", system_mxid_display_name: "The server", room_name: "Words of the server" };

describe("server notices", () => {
  let server: TestServer;
  let admin: TestClient;
  let alice: TestUser;
  const start = async (config: Readonly<Record<string, unknown>>): Promise<void> => {
    server = await startTestServer({ config });
    admin = server.as(await server.register("admin", { admin: true }));
    alice = await server.register("alice");
  };
  const path1 = "/_synapse/admin/v1/send_server_notice";
  const notice = (body: string): object => ({ user_id: alice.userId, content: { msgtype: "m.text", body } });
  afterEach(() => server.close());

  it("reach the user by an invite to a tagged room, which goes on being used", async () => {
    await start({ server_notices: NOTICES });
    const { event_id: first } = (await admin.post(path1, notice("hear")).expect(200)).body;
    const roomId = (await server.ctx.serverNotices.roomOf(alice.userId))!;
    const sync = (await server.as(alice).get("/_matrix/client/v3/sync").expect(200)).body;
    const invite = sync.rooms.invite[roomId].invite_state.events as { type: string; sender: string }[];
    assert.ok(invite.some((event) => event.type === "m.room.member" && event.sender === "@notices:test"));
    await server.as(alice).post(`/_matrix/client/v3/rooms/${roomId}/leave`).expect(403);
    await server.as(alice).post(`/_matrix/client/v3/join/${roomId}`).expect(200);
    assert.deepEqual(Object.keys((await server.as(alice).get(`/_matrix/client/v3/user/${alice.userId}/rooms/${roomId}/tags`).expect(200)).body.tags), [
      "m.server_notice",
    ]);
    const event = (await server.as(alice).get(`/_matrix/client/v3/rooms/${roomId}/event/${first}`).expect(200)).body;
    assert.deepEqual([event.sender, event.content.body], ["@notices:test", "hear"]);
    assert.equal((await server.ctx.state.currentEvent(roomId, "m.room.name"))?.content.name, NOTICES.room_name);
    assert.equal((await server.ctx.state.currentEvent(roomId, "m.room.member", "@notices:test"))?.content.displayname, "The server");
    await server.as(alice).put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/1`, { msgtype: "m.text", body: "no" }).expect(403);

    const [one, two] = await Promise.all([admin.put(`${path1}/t1`, notice("again")), admin.put(`${path1}/t1`, notice("again"))]);
    assert.equal(one.body.event_id, two.body.event_id);
    assert.equal(await server.ctx.serverNotices.roomOf(alice.userId), roomId);
    await server.as(alice).post(`/_matrix/client/v3/rooms/${roomId}/leave`).expect(200);
    await admin.post(path1, { ...notice("come back"), type: "m.room.topic", state_key: "", content: { topic: "x" } }).expect(200);
    assert.notEqual(await server.ctx.serverNotices.roomOf(alice.userId), roomId);

    await server.as(alice).post(path1, notice("x")).expect(403);
    await server.anonymous.post(path1, notice("x")).expect(401);
    await admin.post(path1, { user_id: "@nobody:test", content: {} }).expect(404);
    await admin.post(path1, { user_id: "@a:elsewhere", content: {} }).expect(400);
    await admin.post(path1, { user_id: alice.userId }).expect(400);
  });

  it("are refused where the config has none", async () => {
    await start({});
    assert.equal((await admin.post(path1, notice("x")).expect(400)).body.error, "Server notices are not enabled on this server");
  });

  it("ask for agreement to the terms, once for each version", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "myelin-terms-"));
    writeFileSync(path.join(folder, "1.html"), "terms");
    await start({
      server_notices: { ...NOTICES, auto_join: true },
      form_secret: "s",
      user_consent: { version: "1", template_dir: folder, server_notice_content: { msgtype: "m.text", body: "Please agree: %(consent_uri)s" } },
    });
    for (let i = 0; i < 2; i++) {
      await server.as(alice).get("/_matrix/client/v3/sync").expect(200);
      await server.ctx.serverNotices.settled();
    }
    const roomId = (await server.ctx.serverNotices.roomOf(alice.userId))!;
    const messages = (
      await server
        .as(alice)
        .get(`/_matrix/client/v3/rooms/${roomId}/messages?dir=b&filter=${encodeURIComponent('{"types":["m.room.message"]}')}`)
        .expect(200)
    ).body.chunk;
    assert.equal(messages.length, 1);
    assert.match(messages[0].content.body, /^Please agree: .*_matrix\/consent\?u=alice&h=/);
    rmSync(folder, { recursive: true, force: true });
  });

  it("tell active users that the server is full, and pin it until it is not", async () => {
    await start({ server_notices: { ...NOTICES, auto_join: true }, limit_usage_by_mau: true, max_mau_value: 1, admin_contact: "mailto:a@b" });
    for (let i = 0; i < 2; i++) {
      await server.as(alice).get("/_matrix/client/v3/sync").expect(200);
      await server.ctx.serverNotices.settled();
    }
    const roomId = (await server.ctx.serverNotices.roomOf(alice.userId))!;
    const pinned = (await server.ctx.state.currentEvent(roomId, "m.room.pinned_events"))!.content.pinned as string[];
    const event = (await server.ctx.events.one(pinned[0]!))!;
    assert.equal(event.content.admin_contact, "mailto:a@b");
    assert.deepEqual(
      [pinned.length, event.content.server_notice_type, event.content.limit_type],
      [1, "m.server_notice.usage_limit_reached", "monthly_active_user"],
    );
    // Nobody counts any more but Alice, for whom there is room.
    const { ctx } = server;
    const roomy = { ...ctx, config: { ...ctx.config, server: { ...ctx.config.server, maxMauValue: 1000 } } };
    await noticeOfLimits(roomy, alice.userId);
    assert.deepEqual((await ctx.state.currentEvent(roomId, "m.room.pinned_events"))!.content.pinned, []);
    await noticeOfLimits(roomy, alice.userId);
    assert.equal((await ctx.state.currentEvent(roomId, "m.room.pinned_events"))!.content.pinned?.toString(), "");
  });
});
