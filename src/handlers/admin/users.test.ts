import assert from "node:assert/strict";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../testing/server.ts";

describe("admin API: users", () => {
  let server: TestServer;
  let admin: TestClient;
  let adminUser: TestUser;
  let alice: TestUser;

  before(async () => {
    server = await startTestServer({ config: { enable_registration: false } });
    adminUser = await server.register("admin", { admin: true });
    admin = server.as(adminUser);
    alice = await server.register("alice");
  });
  after(() => server.close());

  it("lists users by filters, order and page", async () => {
    const { body } = await admin.get("/_synapse/admin/v2/users").expect(200);
    assert.equal(body.total, 2);
    assert.deepEqual(
      body.users.map((user: { name: string }) => user.name),
      ["@admin:test", "@alice:test"],
    );
    assert.deepEqual(Object.keys(body.users[0]).sort(), [
      "admin",
      "approved",
      "avatar_url",
      "creation_ts",
      "deactivated",
      "displayname",
      "erased",
      "is_guest",
      "last_seen_ts",
      "locked",
      "name",
      "shadow_banned",
      "user_type",
    ]);
    const first = await admin.get("/_synapse/admin/v3/users?limit=1&order_by=name&dir=b&unknown_key=1").expect(200);
    assert.deepEqual([first.body.users[0].name, first.body.next_token], ["@alice:test", "1"]);
    const found = await admin.get("/_synapse/admin/v2/users?name=ALI").expect(200);
    assert.equal(found.body.total, 1);
    assert.equal((await admin.get("/_synapse/admin/v2/users?admins=true").expect(200)).body.users[0].name, "@admin:test");
  });

  it("refuses absurd paging, strangers and non-admins", async () => {
    for (const query of ["limit=-1", "from=x", "order_by=password_hash", "dir=up", "guests=perhaps"]) {
      const { body } = await admin.get(`/_synapse/admin/v2/users?${query}`).expect(400);
      assert.equal(body.errcode, "M_INVALID_PARAM", query);
    }
    assert.equal((await server.as(alice).get("/_synapse/admin/v2/users").expect(403)).body.errcode, "M_FORBIDDEN");
    assert.equal((await server.anonymous.get("/_synapse/admin/v2/users").expect(401)).body.errcode, "M_MISSING_TOKEN");
  });

  it("makes a user and changes only what is said; null and absent differ", async () => {
    const path = "/_synapse/admin/v2/users/@bob:test";
    await admin.get(path).expect(404);
    const made = await admin
      .put(path, {
        displayname: "Bob",
        password: "secret pass",
        user_type: "bot",
        threepids: [{ medium: "email", address: "Bob@Example.org" }],
        external_ids: [{ auth_provider: "idp", external_id: "b" }],
      })
      .expect(201);
    assert.equal(made.body.displayname, "Bob");
    assert.equal(made.body.user_type, "bot");
    assert.equal(made.body.threepids[0].address, "Bob@example.org".toLowerCase());
    assert.deepEqual(made.body.external_ids, [{ auth_provider: "idp", external_id: "b" }]);
    const same = await admin.put(path, {}).expect(200);
    assert.equal(same.body.user_type, "bot");
    await admin.put(path, { displayname: "Robert", avatar_url: null }).expect(400);
    const { avatar_url: _, ...record } = same.body as Record<string, unknown>;
    const reset = await admin.put(path, { ...record, user_type: null, threepids: [], locked: true }).expect(200);
    assert.deepEqual([reset.body.user_type, reset.body.threepids, reset.body.locked, reset.body.displayname], [null, [], true, "Bob"]);
    assert.equal((await admin.get("/_synapse/admin/v2/users?name=bob").expect(200)).body.total, 0, "locked users are left out");
    await admin.put(path, { locked: false }).expect(200);
    assert.equal((await admin.get("/_synapse/admin/v1/auth_providers/idp/users/b").expect(200)).body.user_id, "@bob:test");
    await admin.get("/_synapse/admin/v1/auth_providers/idp/users/c").expect(404);
    await admin.put("/_synapse/admin/v2/users/@alice:test", { external_ids: [{ auth_provider: "idp", external_id: "b" }] }).expect(409);
    await admin.put(path, { admin: "yes" }).expect(400);
    await admin.put(path, { deactivated: true, locked: true }).expect(400);
    await admin.put("/_synapse/admin/v2/users/@bob:elsewhere", {}).expect(400);
    await admin.put("/_synapse/admin/v2/users/bob", {}).expect(400);
    await admin.put(`/_synapse/admin/v2/users/${adminUser.userId}`, { admin: false }).expect(400);
  });

  it("resets passwords, logs in as users, and sets the admin flag", async () => {
    await admin.post("/_synapse/admin/v1/reset_password/@bob:test", { new_password: "another one", logout_devices: false }).expect(200);
    await admin.post("/_synapse/admin/v1/reset_password/@nobody:test", { new_password: "x" }).expect(404);
    await admin.post("/_synapse/admin/v1/reset_password/@bob:test").expect(400);
    const login = await server.anonymous
      .post("/_matrix/client/v3/login", { type: "m.login.password", identifier: { type: "m.id.user", user: "bob" }, password: "another one" })
      .expect(200);
    assert.equal(login.body.user_id, "@bob:test");
    const token = (await admin.request("post", "/_synapse/admin/v1/users/@bob:test/login").expect(200)).body.access_token as string;
    assert.equal((await server.as({ accessToken: token }).get("/_matrix/client/v3/account/whoami").expect(200)).body.user_id, "@bob:test");
    await admin.post("/_synapse/admin/v1/users/@admin:test/login").expect(400);
    await admin.post("/_synapse/admin/v1/users/@nobody:test/login").expect(404);
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@bob:test/admin").expect(200)).body, { admin: false });
    await admin.put("/_synapse/admin/v1/users/@bob:test/admin", { admin: true }).expect(200);
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@bob:test/admin").expect(200)).body, { admin: true });
    await admin.put("/_synapse/admin/v1/users/@admin:test/admin", { admin: false }).expect(400);
    await admin.put("/_synapse/admin/v1/users/@bob:test/admin", { admin: false }).expect(200);
  });

  it("suspends, shadow-bans, limits and renews", async () => {
    assert.deepEqual((await admin.put("/_synapse/admin/v1/suspend/@bob:test", { suspend: true }).expect(200)).body, { "user_@bob:test_suspended": true });
    await admin.put("/_synapse/admin/v1/suspend/@bob:test", { suspend: "yes" }).expect(400);
    assert.equal((await admin.get("/_synapse/admin/v2/users/@bob:test").expect(200)).body.suspended, true);
    assert.equal((await admin.get("/_synapse/admin/v3/users?suspended=true").expect(200)).body.total, 1);
    await admin.request("post", "/_synapse/admin/v1/users/@bob:test/shadow_ban").expect(200);
    assert.equal((await admin.get("/_synapse/admin/v2/users/@bob:test").expect(200)).body.shadow_banned, true);
    await admin.request("delete", "/_synapse/admin/v1/users/@bob:test/shadow_ban").expect(200);
    await admin.request("post", "/_synapse/admin/v1/users/@nobody:test/shadow_ban").expect(404);

    const limit = "/_synapse/admin/v1/users/@bob:test/override_ratelimit";
    assert.deepEqual((await admin.get(limit).expect(200)).body, {});
    assert.deepEqual((await admin.post(limit, { messages_per_second: 3 }).expect(200)).body, { messages_per_second: 3, burst_count: 0 });
    assert.equal((await admin.post(limit, { burst_count: -1 }).expect(400)).body.errcode, "M_INVALID_PARAM");
    assert.deepEqual((await admin.get(limit).expect(200)).body, { messages_per_second: 3, burst_count: 0 });
    await admin.delete(limit).expect(200);
    assert.deepEqual((await admin.get(limit).expect(200)).body, {});
    await admin.get("/_synapse/admin/v1/users/@nobody:test/override_ratelimit").expect(404);
    assert.deepEqual(
      (await admin.post("/_synapse/admin/v1/account_validity/validity", { user_id: "@bob:test", expiration_ts: 4_000_000_000_000 }).expect(200)).body,
      { expiration_ts: 4_000_000_000_000 },
    );
    await admin.post("/_synapse/admin/v1/account_validity/validity", {}).expect(400);
  });

  it("shows where somebody was, and to everybody only where they were themselves", async () => {
    const { body } = await admin.get("/_synapse/admin/v1/whois/@alice:test").expect(200);
    assert.equal(body.user_id, "@alice:test");
    assert.ok(Array.isArray(body.devices[""].sessions[0].connections));
    await server.as(alice).get("/_matrix/client/v3/admin/whois/@alice:test").expect(200);
    await server.as(alice).get("/_matrix/client/r0/admin/whois/@admin:test").expect(403);
    await admin.get("/_synapse/admin/v1/whois/@alice:elsewhere").expect(400);
  });

  it("tells rooms, memberships, invites, pushers, account data and experimental features", async () => {
    const { room_id: roomId } = (
      await server
        .as(alice)
        .post("/_matrix/client/v3/createRoom", { invite: ["@bob:test"] })
        .expect(200)
    ).body;
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@alice:test/joined_rooms").expect(200)).body, { joined_rooms: [roomId], total: 1 });
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@bob:test/memberships").expect(200)).body, { memberships: { [roomId]: "invite" } });
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@alice:test/sent_invite_count?from_ts=0").expect(200)).body, { invite_count: 1 });
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@alice:test/cumulative_joined_room_count?from_ts=0").expect(200)).body, {
      cumulative_joined_room_count: 1,
    });
    assert.equal((await admin.get("/_synapse/admin/v1/users/@alice:test/sent_invite_count").expect(400)).body.errcode, "M_MISSING_PARAM");
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@alice:test/pushers").expect(200)).body, { pushers: [], total: 0 });
    await admin.get("/_synapse/admin/v1/users/@nobody:test/pushers").expect(404);
    await server.as(alice).put("/_matrix/client/v3/user/@alice:test/account_data/a.b", { x: 1 }).expect(200);
    await server.as(alice).put(`/_matrix/client/v3/user/@alice:test/rooms/${roomId}/account_data/c.d`, { y: 2 }).expect(200);
    assert.deepEqual((await admin.get("/_synapse/admin/v1/users/@alice:test/accountdata").expect(200)).body, {
      account_data: { global: { "a.b": { x: 1 } }, rooms: { [roomId]: { "c.d": { y: 2 } } } },
    });
    const features = "/_synapse/admin/v1/experimental_features/@alice:test";
    await admin.put(features, { features: { msc3881: true } }).expect(200);
    assert.deepEqual((await admin.get(features).expect(200)).body, { features: { msc3575: false, msc3881: true, msc4222: false } });
    await admin.put(features, { features: { msc1: true } }).expect(400);
    await admin.put(features, {}).expect(400);
  });

  it("makes, shows, renames and deletes devices", async () => {
    const devices = "/_synapse/admin/v2/users/@alice:test/devices";
    await admin.post(devices, { device_id: "EXTRA" }).expect(201);
    await admin.put(`${devices}/EXTRA`, { display_name: "named" }).expect(200);
    assert.equal((await admin.get(`${devices}/EXTRA`).expect(200)).body.display_name, "named");
    const { body } = await admin.get(devices).expect(200);
    assert.equal(body.total, 2);
    assert.ok("last_seen_user_agent" in body.devices[0]);
    await admin.request("delete", `${devices}/EXTRA`).expect(200);
    await admin.get(`${devices}/EXTRA`).expect(404);
    await admin.post("/_synapse/admin/v2/users/@alice:test/delete_devices", { devices: ["NONE"] }).expect(200);
    await admin.post("/_synapse/admin/v2/users/@alice:test/delete_devices", {}).expect(400);
    await admin.get("/_synapse/admin/v2/users/@nobody:test/devices").expect(404);
  });

  it("redacts all that somebody wrote, also after they were banned", async () => {
    const carol = await server.register("carol");
    const asCarol = server.as(carol);
    const { room_id: roomId } = (await server.as(alice).post("/_matrix/client/v3/createRoom", { preset: "public_chat" }).expect(200)).body;
    await asCarol.post(`/_matrix/client/v3/join/${roomId}`).expect(200);
    const ids: string[] = [];
    for (const body of ["one", "two"])
      ids.push((await asCarol.put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/${body}`, { msgtype: "m.text", body }).expect(200)).body.event_id);
    await server.as(alice).post(`/_matrix/client/v3/rooms/${roomId}/ban`, { user_id: carol.userId }).expect(200);
    const { redact_id: id } = (await admin.post(`/_synapse/admin/v1/user/${carol.userId}/redact`, { rooms: [], reason: "spam" }).expect(200)).body;
    await server.ctx.tasks.idle();
    assert.deepEqual((await admin.get(`/_synapse/admin/v1/user/redact_status/${id}`).expect(200)).body, { status: "complete", failed_redactions: {} });
    for (const eventId of ids) {
      const { body } = await server.as(alice).get(`/_matrix/client/v3/rooms/${roomId}/event/${eventId}`).expect(200);
      assert.deepEqual(body.content, {});
      assert.equal(body.unsigned.redacted_because.content.reason, "spam");
    }
    await admin.get("/_synapse/admin/v1/user/redact_status/none").expect(404);
    await admin.post(`/_synapse/admin/v1/user/${carol.userId}/redact`, {}).expect(400);
    await admin.post(`/_synapse/admin/v1/user/${carol.userId}/redact`, { rooms: [], limit: -1 }).expect(400);
  });

  it("deactivates and erases, and opens again", async () => {
    const dave = await server.register("dave");
    assert.deepEqual((await admin.post(`/_synapse/admin/v1/deactivate/${dave.userId}`, { erase: true }).expect(200)).body, {
      id_server_unbind_result: "success",
    });
    await server.as(dave).get("/_matrix/client/v3/account/whoami").expect(401);
    const { body } = await admin.get(`/_synapse/admin/v2/users/${dave.userId}`).expect(200);
    assert.deepEqual([body.deactivated, body.erased, body.displayname], [true, true, null]);
    assert.equal((await admin.get("/_synapse/admin/v3/users?deactivated=true").expect(200)).body.total, 1);
    await admin.put(`/_synapse/admin/v2/users/${dave.userId}`, { deactivated: false, password: "new password" }).expect(200);
    await admin.post("/_synapse/admin/v1/deactivate/@nobody:test").expect(404);
    await admin.post(`/_synapse/admin/v1/deactivate/${dave.userId}`, { erase: 1 }).expect(400);
  });

  it("tells whether a name is free", async () => {
    assert.deepEqual((await admin.get("/_synapse/admin/v1/username_available?username=zoe").expect(200)).body, { available: true });
    assert.equal((await admin.get("/_synapse/admin/v1/username_available?username=alice").expect(400)).body.errcode, "M_USER_IN_USE");
    await admin.get("/_synapse/admin/v1/username_available").expect(400);
  });
});
