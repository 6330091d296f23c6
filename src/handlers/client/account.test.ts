import assert from "node:assert/strict";
import { execute, query, queryOne } from "../../storage/database.ts";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { createPuppetToken } from "../../services/accounts/sessions.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const proof = (user: string, session?: string, password = TEST_PASSWORD): object => ({
  auth: { type: "m.login.password", identifier: { type: "m.id.user", user }, password, session },
});

describe("tokens and who they stand for", () => {
  let server: TestServer;
  let alice: TestUser;
  let root: TestUser;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
    root = await server.register("root", { admin: true });
  });
  after(() => server.close());

  const whoami = (accessToken: string) => server.as({ accessToken }).get(`${V3}/account/whoami`);

  it("are refused when missing, malformed or unknown", async () => {
    assert.equal((await server.anonymous.get(`${V3}/account/whoami`).expect(401)).body.errcode, "M_MISSING_TOKEN");
    for (const header of ["", "Basic abc", "Bearer", "Bearer a b", "bearer x"]) {
      assert.equal((await server.anonymous.get(`${V3}/account/whoami`).set("Authorization", header).expect(401)).body.errcode, "M_MISSING_TOKEN", header);
    }
    for (const token of [
      "x",
      "syt_YWxpY2U_aaaaaaaaaaaaaaaaaaaa_000000",
      "MDAx",
      `${alice.accessToken}x`,
      alice.accessToken.slice(0, -1),
      "a%00",
      "%F0%28%8C%28",
    ]) {
      const { body } = await server.anonymous.get(`${V3}/account/whoami?access_token=${token}`).expect(401);
      assert.deepEqual([body.errcode, body.soft_logout], ["M_UNKNOWN_TOKEN", false], token);
    }
    await server.anonymous.get(`${V3}/account/whoami?access_token=${alice.accessToken}`).expect(200);
  });

  it("never stand for anybody else (advisory rows 85 and 92)", async () => {
    const users = await Promise.all(["u1", "u2", "u3"].map((name) => server.register(name)));
    const answers = await Promise.all(Array.from({ length: 60 }, (_, index) => whoami(users[index % 3]!.accessToken)));
    answers.forEach(({ body }, index) => assert.deepEqual([body.user_id, body.device_id], [users[index % 3]!.userId, users[index % 3]!.deviceId]));
    for (const query of ["?user_id=@root:test", "?user_id=@u2:test&device_id=x"])
      assert.equal((await server.as(users[0]!).get(`${V3}/account/whoami${query}`)).body.user_id, "@u1:test");
  });

  it("stop at once when the account is locked, and go on when it is unlocked", async () => {
    const { ctx } = server;
    const lock = (locked: boolean): Promise<boolean> => ctx.transaction("test", (txn) => setUserFlags(txn, ctx.accounts, "@alice:test", { locked }));
    await whoami(alice.accessToken).expect(200);
    await lock(true);
    assert.deepEqual((await whoami(alice.accessToken).expect(401)).body, {
      errcode: "M_USER_LOCKED",
      error: "User account has been locked",
      soft_logout: true,
    });
    await server.as(alice).get("/_matrix/client/versions").expect(200);
    await lock(false);
    await whoami(alice.accessToken).expect(200);
  });

  it("let an admin act as another user, in whose name and for whose rights", async () => {
    const token = await createPuppetToken(server.ctx, root.userId, alice.userId, null);
    assert.match(token, /^syt_YWxpY2U_/);
    assert.deepEqual((await whoami(token).expect(200)).body, { user_id: "@alice:test", is_guest: false });
    const requester = await server.ctx.authenticate({
      token,
      asUser: undefined,
      asDevice: undefined,
      ip: "",
      userAgent: "",
      allowGuest: false,
      allowLocked: false,
      allowExpired: false,
    });
    assert.deepEqual([requester.userId, requester.authenticatedEntity, await server.ctx.isServerAdmin(requester)], ["@alice:test", "@root:test", false]);
    await server.as({ accessToken: token }).post(`${V3}/logout`).expect(200);
    await whoami(token).expect(401);
    await whoami(alice.accessToken).expect(200);
  });

  it("are marked as used, and where they were used is written", async () => {
    const carol = await server.register("carol");
    const used = async (): Promise<unknown> =>
      (await queryOne<{ used: boolean }>(server.ctx.read, "SELECT used FROM access_tokens WHERE token = $1", [carol.accessToken]))!.used;
    assert.equal(await used(), false);
    await whoami(carol.accessToken).set("User-Agent", "Agent/1").set("X-Forwarded-For", "10.1.2.3");
    assert.equal(await used(), true);
    const before = (await server.as(carol).get(`${V3}/devices`).set("X-Forwarded-For", "10.1.2.3")).body.devices[0];
    assert.deepEqual([before.last_seen_ip, typeof before.last_seen_ts], ["10.1.2.3", "number"], "shown before it is written");
    await server.ctx.clientIps.flush();
    const sightings = await query(server.ctx.read, "SELECT user_id, device_id, ip, user_agent FROM user_ips WHERE user_id = '@carol:test' AND ip = '10.1.2.3'");
    assert.deepEqual(sightings, [{ user_id: "@carol:test", device_id: carol.deviceId, ip: "10.1.2.3", user_agent: "Agent/1" }]);
    const device = await queryOne(server.ctx.read, "SELECT ip FROM devices WHERE user_id = '@carol:test'");
    assert.deepEqual(device, { ip: "10.1.2.3" });
    await server.server.jobs.runOnce("generate_user_daily_visits");
    await server.server.jobs.runOnce("generate_user_daily_visits");
    assert.equal((await query(server.ctx.read, "SELECT FROM user_daily_visits WHERE user_id = '@carol:test'")).length, 1);
  });

  it("cost no statement once they are known", async () => {
    await whoami(alice.accessToken).expect(200);
    const seen: string[] = [];
    const stop = server.ctx.db.observe(({ sql }) => seen.push(sql));
    await whoami(alice.accessToken).expect(200);
    stop();
    assert.deepEqual(seen, []);
  });

  it("end with logout, and all of them with logout/all", async () => {
    const login = async (): Promise<string> =>
      (await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD }).expect(200)).body
        .access_token as string;
    const [one, two, three] = [await login(), await login(), await login()];
    await server.as({ accessToken: one }).post(`${V3}/logout`).expect(200);
    await whoami(one).expect(401);
    await whoami(two).expect(200);
    await server.as({ accessToken: two }).post(`${V3}/logout/all`).expect(200);
    for (const token of [two, three, alice.accessToken]) await whoami(token).expect(401);
    assert.deepEqual(await query(server.ctx.read, "SELECT FROM devices WHERE user_id = '@alice:test'"), []);
    assert.deepEqual(await query(server.ctx.read, "SELECT FROM access_tokens WHERE user_id = '@alice:test'"), []);
  });
});

describe("POST /account/password", () => {
  let server: TestServer;
  let alice: TestUser;
  before(async () => {
    server = await startTestServer();
  });
  beforeEach(async () => {
    alice = await server.register(`alice${Math.abs(counter++)}`);
  });
  after(() => server.close());
  let counter = 0;

  const change = (user: TestUser, body: object) => server.as(user).post(`${V3}/account/password`, body);
  const login = (user: TestUser, password: string) => server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: user.userId, password });

  it("wants the old password, and ends the other sessions", async () => {
    const other = (await login(alice, TEST_PASSWORD).expect(200)).body.access_token as string;
    const { body } = await change(alice, { new_password: "the new one" }).expect(401);
    assert.deepEqual([body.flows, body.params], [[{ stages: ["m.login.password"] }], {}]);
    const wrong = await change(alice, { new_password: "the new one", ...proof(alice.userId, body.session, "wrong") }).expect(401);
    assert.deepEqual([wrong.body.errcode, wrong.body.error, wrong.body.completed], ["M_FORBIDDEN", "Invalid username or password", []]);
    await change(alice, { new_password: "the new one", ...proof(alice.userId, body.session) }).expect(200);
    await login(alice, TEST_PASSWORD).expect(403);
    await login(alice, "the new one").expect(200);
    await server.as({ accessToken: other }).get(`${V3}/account/whoami`).expect(401);
    await server.as(alice).get(`${V3}/account/whoami`).expect(200);
  });

  it("keeps the other sessions where the client wants it, and takes the password of the first request", async () => {
    const other = (await login(alice, TEST_PASSWORD).expect(200)).body.access_token as string;
    const { body } = await change(alice, { new_password: "the new one", logout_devices: false }).expect(401);
    await change(alice, proof(alice.userId, body.session)).expect(200);
    await login(alice, "the new one").expect(200);
    await server.as({ accessToken: other }).get(`${V3}/account/whoami`).expect(200);
  });

  it("keeps the session of a client that refreshes its tokens", async () => {
    const pair = (
      await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: alice.userId, password: TEST_PASSWORD, refresh_token: true }).expect(200)
    ).body;
    await server
      .as({ accessToken: pair.access_token })
      .post(`${V3}/account/password`, { new_password: "n", ...proof(alice.userId) })
      .expect(200);
    await server.as({ accessToken: pair.access_token }).get(`${V3}/account/whoami`).expect(200);
    await server.anonymous.post(`${V3}/refresh`, { refresh_token: pair.refresh_token }).expect(200);
  });

  it("never stores a password (CVE-2023-41335)", async () => {
    const { body } = await change(alice, { new_password: "find me if you can" }).expect(401);
    await change(alice, { new_password: "find me if you can", ...proof(alice.userId, body.session, "wrong find me") });
    await change(alice, { new_password: "find me if you can", ...proof(alice.userId, body.session) }).expect(200);
    const rows = await query<{ text: string }>(
      server.ctx.read,
      "SELECT ui_auth_sessions::text AS text FROM ui_auth_sessions UNION ALL SELECT ui_auth_sessions_credentials::text FROM ui_auth_sessions_credentials",
    );
    for (const { text } of rows) assert.equal(text.includes("find me") || text.includes(TEST_PASSWORD), false);
  });

  it("is not open to the password of another user, nor to another user's session (advisory row 92)", async () => {
    const mallory = await server.register(`mallory${counter}`);
    const { body } = await change(alice, { new_password: "n" }).expect(401);
    assert.equal((await change(alice, { new_password: "n", ...proof(mallory.userId, body.session) }).expect(403)).body.error, "Invalid auth");
    const passed = (await change(mallory, { new_password: TEST_PASSWORD }).expect(401)).body.session as string;
    assert.equal((await change(alice, { new_password: "n", ...proof(mallory.userId, passed) }).expect(403)).body.errcode, "M_FORBIDDEN");
    await change(alice, { new_password: "n", auth: { session: passed } }).expect(403);
    await login(alice, TEST_PASSWORD).expect(200);
  });

  it("has no way in for an account without a password (advisory row 101)", async () => {
    await server.ctx.transaction("test", (txn) => execute(txn, "UPDATE users SET password_hash = NULL WHERE name = $1", [alice.userId]));
    const { body } = await change(alice, { new_password: "n" }).expect(401);
    assert.deepEqual(body.flows, []);
    for (const password of ["", "*", "null", "!"]) {
      await change(alice, { new_password: "n", ...proof(alice.userId, body.session, password) }).expect(401);
      await login(alice, password).expect(403);
    }
  });

  it("answers bad bodies with 400", async () => {
    for (const body of [
      { new_password: 5 },
      { new_password: "x".repeat(513) },
      { new_password: "n", logout_devices: "yes" },
      { new_password: "n", auth: [] },
      { new_password: "n", auth: { type: 5, session: 5 } },
    ]) {
      assert.equal((await change(alice, body).expect(400)).body.errcode, "M_BAD_JSON", JSON.stringify(body));
    }
    assert.equal((await change(alice, { new_password: "n", auth: { type: ["x"] } }).expect(400)).body.errcode, "M_BAD_JSON");
    assert.equal((await change(alice, proof(alice.userId)).expect(400)).body.errcode, "M_MISSING_PARAM");
    const unknownType = { new_password: "n", auth: { type: "constructor", user: alice.userId, password: null } };
    await server.anonymous.post(`${V3}/account/password`, unknownType).expect(400);
    const mailed = await server.anonymous.post(`${V3}/account/password`, { new_password: "n" }).expect(401);
    assert.deepEqual(mailed.body.flows, [{ stages: ["m.login.email.identity"] }]);
  });

  it("stops those who guess", async () => {
    const strict = await startTestServer({ config: { rc_login: { failed_attempts: { per_second: 0.01, burst_count: 2 } } } });
    try {
      const bob = await strict.register("bob");
      const attempt = (password: string) => strict.as(bob).post(`${V3}/account/password`, { new_password: "n", ...proof("bob", undefined, password) });
      for (let i = 0; i < 2; i++) await attempt("wrong").expect(401);
      assert.equal((await attempt(TEST_PASSWORD).expect(429)).body["org.myelin.limit"], "rc_login.failed_attempts");
    } finally {
      await strict.close();
    }
  });
});

describe("POST /account/deactivate", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc3720_enabled: true } } });
  });
  after(() => server.close());

  it("leaves nothing by which the account could be used or found (advisory row 73)", async () => {
    const alice = await server.register("alice");
    const { ctx } = server;
    await ctx.transaction("test", (txn) =>
      execute(txn, "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ('@alice:test', 'email', 'a@b.c', 1, 1)"),
    );
    const { body } = await server.as(alice).post(`${V3}/account/deactivate`, { erase: true }).expect(401);
    const done = await server
      .as(alice)
      .post(`${V3}/account/deactivate`, { erase: true, ...proof("alice", body.session) })
      .expect(200);
    assert.deepEqual(done.body, { id_server_unbind_result: "success" });
    assert.equal((await server.as(alice).get(`${V3}/account/whoami`).expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
    assert.equal(
      (await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD }).expect(403)).body.errcode,
      "M_FORBIDDEN",
    );
    assert.deepEqual(await queryOne(ctx.read, "SELECT password_hash, deactivated FROM users WHERE name = '@alice:test'"), {
      password_hash: null,
      deactivated: 1,
    });
    for (const table of ["user_threepids", "devices", "access_tokens", "refresh_tokens"])
      assert.deepEqual(await query(ctx.read, `SELECT FROM ${table} WHERE user_id = '@alice:test'`), [], table);
    assert.deepEqual(await query(ctx.read, "SELECT FROM profiles WHERE full_user_id = '@alice:test'"), []);
    assert.deepEqual(await query(ctx.read, "SELECT user_id FROM erased_users"), [{ user_id: "@alice:test" }]);
    const bob = await server.register("bob");
    const { body: status } = await server
      .as(bob)
      .post("/_matrix/client/unstable/org.matrix.msc3720/account_status", { user_ids: ["@alice:test", "@bob:test", "@nobody:test"] })
      .expect(200);
    assert.deepEqual(status, {
      account_statuses: {
        "@alice:test": { exists: true, deactivated: true },
        "@bob:test": { exists: true, deactivated: false },
        "@nobody:test": { exists: false },
      },
      failures: [],
    });
    assert.equal(
      (await server.anonymous.post("/_matrix/client/v3/register", { username: "alice", password: "p", auth: { type: "m.login.dummy" } }).expect(400)).body
        .errcode,
      "M_USER_IN_USE",
    );
  });

  it("answers bad bodies with 400", async () => {
    const carol = await server.register("carol");
    for (const body of [{ erase: "yes" }, { id_server: 5 }])
      assert.equal((await server.as(carol).post(`${V3}/account/deactivate`, body).expect(400)).body.errcode, "M_BAD_JSON");
    for (const body of [{}, { user_ids: "x" }, { user_ids: [5] }])
      await server.as(carol).post("/_matrix/client/unstable/org.matrix.msc3720/account_status", body).expect(400);
    assert.equal(
      (
        await server
          .as(carol)
          .post("/_matrix/client/unstable/org.matrix.msc3720/account_status", { user_ids: ["x"] })
          .expect(400)
      ).body.errcode,
      "M_INVALID_PARAM",
    );
  });
});

describe("limits of the server as a whole", () => {
  const clock = new FakeClock();

  it("close it to newcomers when the month is full, but not to its users", async () => {
    const server = await startTestServer({
      clock,
      config: { limit_usage_by_mau: true, max_mau_value: 1, mau_trial_days: 0, admin_contact: "mailto:root@test" },
    });
    try {
      const alice = await server.register("alice");
      await server.as(alice).get(`${V3}/account/whoami`).expect(200);
      const { body } = await server.anonymous.post(`${V3}/register`, { username: "bob", password: "p", auth: { type: "m.login.dummy" } }).expect(403);
      assert.deepEqual(body, {
        errcode: "M_RESOURCE_LIMIT_EXCEEDED",
        error: "Monthly Active User Limit Exceeded",
        admin_contact: "mailto:root@test",
        limit_type: "monthly_active_user",
      });
      await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD }).expect(200);
      clock.advance(31 * 86_400_000);
      await server.server.jobs.runOnce("reap_monthly_active_users");
      await server.anonymous.post(`${V3}/register`, { username: "bob", password: "p", auth: { type: "m.login.dummy" } }).expect(200);
    } finally {
      await server.close();
    }
  });

  it("close it to all when it is disabled", async () => {
    const server = await startTestServer({ config: { hs_disabled: true, hs_disabled_message: "Away" } });
    try {
      const { body } = await server.anonymous.post(`${V3}/register`, { username: "bob", password: "p", auth: { type: "m.login.dummy" } }).expect(403);
      assert.deepEqual([body.errcode, body.error, body.limit_type], ["M_RESOURCE_LIMIT_EXCEEDED", "Away", "hs_disabled"]);
    } finally {
      await server.close();
    }
  });

  it("end accounts that have a date", async () => {
    const server = await startTestServer({ clock, config: { account_validity: { enabled: true, period: "1d" } } });
    try {
      const alice = await server.register("alice");
      clock.advance(86_400_001);
      assert.equal((await server.as(alice).get(`${V3}/account/whoami`).expect(403)).body.errcode, "ORG_MATRIX_EXPIRED_ACCOUNT");
      await server.as(alice).post(`${V3}/logout`).expect(200);
    } finally {
      await server.close();
    }
  });
});
