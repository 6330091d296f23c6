import assert from "node:assert/strict";
import { query, queryOne } from "../../storage/database.ts";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const PROFILE = "/_matrix/client/v3/profile";

describe("profiles", () => {
  let server: TestServer;
  let alice: TestUser;
  let root: TestUser;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
    root = await server.register("root", { admin: true });
  });
  after(() => server.close());

  const get = (path: string) => server.anonymous.get(`${PROFILE}/${path}`);
  const put = (field: string, value: unknown, user = alice) => server.as(user).put(`${PROFILE}/@alice:test/${field}`, { [field]: value });

  it("begin with the name, and answer under every version", async () => {
    for (const version of ["api/v1", "r0", "v3", "unstable"]) {
      assert.deepEqual((await server.anonymous.get(`/_matrix/client/${version}/profile/@alice:test`).expect(200)).body, { displayname: "alice" });
      assert.deepEqual((await server.anonymous.get(`/_matrix/client/${version}/profile/@alice:test/avatar_url`).expect(200)).body, { avatar_url: null });
    }
  });

  it("take a name and an avatar, and lose them by the empty string or DELETE", async () => {
    await put("displayname", "  Älice \u{1F600} ").expect(200);
    await put("avatar_url", "mxc://test/abc").expect(200);
    assert.deepEqual((await get("@alice:test").expect(200)).body, { displayname: "Älice \u{1F600}", avatar_url: "mxc://test/abc" });
    await put("avatar_url", "").expect(200);
    await server.as(alice).delete(`${PROFILE}/@alice:test/displayname`).expect(200);
    assert.equal((await get("@alice:test").expect(404)).body.errcode, "M_NOT_FOUND");
    assert.deepEqual((await get("@alice:test/displayname").expect(200)).body, { displayname: null });
    await put("displayname", "alice").expect(200);
  });

  it("hold fields of any JSON (MSC4133), as Synapse stores them", async () => {
    const value = { b: [1, null, "x\u00e4"], a: { "": true } };
    await put("org.example.field", value).expect(200);
    await put("m.tz", "Europe/London").expect(200);
    assert.deepEqual((await get("@alice:test/org.example.field").expect(200)).body, { "org.example.field": value });
    assert.deepEqual((await get("@alice:test").expect(200)).body, { displayname: "alice", "org.example.field": value, "m.tz": "Europe/London" });
    assert.deepEqual((await queryOne<{ fields: object }>(server.ctx.read, "SELECT fields FROM profiles WHERE user_id = 'alice'"))!.fields, {
      "m.tz": "Europe/London",
      "org.example.field": value,
    });
    await put("org.example.field", null).expect(200);
    assert.deepEqual((await get("@alice:test/org.example.field").expect(200)).body, { "org.example.field": null });
    await server.as(alice).delete(`${PROFILE}/@alice:test/org.example.field`).expect(200);
    await get("@alice:test/org.example.field").expect(404);
    await server.as(alice).delete(`${PROFILE}/@alice:test/org.example.field`).expect(200);
  });

  it("have no field that nobody set, whatever its name", async () => {
    const field = `/_matrix/client/v3/profile/${alice.userId}/constructor`;
    await server.anonymous.get(field).expect(404);
    await server.as(alice).put(field, {}).expect(400);
  });

  it("are bounded: names of fields, lengths, and 64 KiB in all", async () => {
    const cases: [string, unknown, string][] = [
      ["displayname", 5, "M_INVALID_PARAM"],
      ["displayname", null, "M_INVALID_PARAM"],
      ["displayname", "x".repeat(257), "M_UNKNOWN"],
      ["avatar_url", {}, "M_INVALID_PARAM"],
      ["avatar_url", "x".repeat(1001), "M_UNKNOWN"],
      ["Upper", "x", "M_INVALID_PARAM"],
      ["x%20y", "x", "M_INVALID_PARAM"],
      ["x".repeat(256), "x", "M_KEY_TOO_LARGE"],
      ["org.example.big", "x".repeat(65_537), "M_PROFILE_TOO_LARGE"],
    ];
    for (const [field, value, errcode] of cases) {
      const { status, body } = await put(field, value);
      assert.deepEqual([status, body.errcode], [400, errcode], field);
    }
    await put("org.example.one", "x".repeat(40_000)).expect(200);
    assert.equal((await put("org.example.two", "x".repeat(30_000)).expect(400)).body.errcode, "M_PROFILE_TOO_LARGE");
    await put("org.example.one", "y".repeat(60_000)).expect(200);
    await server.as(alice).delete(`${PROFILE}/@alice:test/org.example.one`).expect(200);
    assert.equal((await server.as(alice).put(`${PROFILE}/@alice:test/displayname`, { other: "x" }).expect(400)).body.errcode, "M_MISSING_PARAM");
    await put("org.example.nul", "a\u0000b").expect(400);
  });

  it("are changed by their user or an admin, and not while suspended", async () => {
    const bob = await server.register("bob");
    assert.equal((await put("displayname", "x", bob).expect(400)).body.errcode, "M_FORBIDDEN");
    assert.equal((await put("m.tz", "x", bob).expect(403)).body.errcode, "M_FORBIDDEN");
    await put("displayname", "by root", root).expect(200);
    assert.deepEqual((await get("@alice:test/displayname")).body, { displayname: "by root" });
    assert.equal((await server.as(alice).put(`${PROFILE}/@alice:other/displayname`, { displayname: "x" }).expect(400)).body.errcode, "M_UNKNOWN");
    await server.anonymous.put(`${PROFILE}/@alice:test/displayname`, { displayname: "x" }).expect(401);
    const { ctx } = server;
    await ctx.transaction("test", (txn) => setUserFlags(txn, ctx.accounts, bob.userId, { suspended: true }));
    assert.equal((await server.as(bob).put(`${PROFILE}/@bob:test/displayname`, { displayname: "x" }).expect(403)).body.errcode, "M_USER_SUSPENDED");
  });

  it("answer bad and unknown users as Synapse does", async () => {
    for (const user of ["alice", "@alice", "%00", "@a:test:b:c:", "@x:"]) assert.equal((await get(user).expect(400)).body.errcode, "M_INVALID_PARAM", user);
    assert.equal((await get("@nobody:test").expect(404)).body.errcode, "M_NOT_FOUND");
    assert.equal((await get("@nobody:test/displayname").expect(404)).body.errcode, "M_NOT_FOUND");
    assert.equal((await get("@nobody:elsewhere").expect(502)).body.errcode, "M_UNKNOWN");
  });

  it("can be closed to strangers, and fixed, by config", async () => {
    const strict = await startTestServer({
      config: {
        require_auth_for_profile_requests: true,
        limit_profile_requests_to_users_who_share_rooms: true,
        enable_set_displayname: false,
        max_avatar_size: "1K",
        include_profile_updates_in_sync: true,
      },
    });
    try {
      const carol = await strict.register("carol");
      const dave = await strict.register("dave");
      await strict.anonymous.get(`${PROFILE}/@carol:test`).expect(401);
      await strict.as(carol).get(`${PROFILE}/@carol:test`).expect(200);
      assert.equal((await strict.as(dave).get(`${PROFILE}/@carol:test`).expect(403)).body.errcode, "M_FORBIDDEN");
      assert.equal((await strict.as(carol).put(`${PROFILE}/@carol:test/displayname`, { displayname: "x" }).expect(400)).body.errcode, "M_FORBIDDEN");
      for (const url of ["mxc://test/unknown", "https://x/y", "mxc://"])
        assert.equal((await strict.as(carol).put(`${PROFILE}/@carol:test/avatar_url`, { avatar_url: url }).expect(403)).body.errcode, "M_FORBIDDEN");
      await strict.as(carol).put(`${PROFILE}/@carol:test/m.tz`, { "m.tz": "x" }).expect(200);
      assert.deepEqual(await query(strict.ctx.read, "SELECT user_id, action, affected_fields FROM profile_updates"), [
        { user_id: "@carol:test", action: "update", affected_fields: ["m.tz"] },
      ]);
      assert.deepEqual(await query(strict.ctx.read, "SELECT user_id FROM profile_updates_per_user"), [{ user_id: "@carol:test" }]);
      const { body } = await strict.as(carol).get("/_matrix/client/v3/capabilities").expect(200);
      assert.deepEqual(body.capabilities["m.profile_fields"], { enabled: true, disallowed: ["displayname"] });
    } finally {
      await strict.close();
    }
  });
});
