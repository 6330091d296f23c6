import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createHmac } from "node:crypto";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { execute, query, queryOne } from "../../storage/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";

const REGISTER = "/_matrix/client/v3/register";
const dummy = (session?: string): object => ({ auth: { type: "m.login.dummy", session } });

describe("POST /register", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer({ config: { allow_guest_access: true } });
    await server.register("taken");
  });
  after(() => server.close());

  it("begins a session without credentials, and makes the account when the flow is complete", async () => {
    const start = await server.anonymous
      .post(REGISTER, { username: "Alice", password: "secret password", device_id: "D", initial_device_display_name: "Desk" })
      .expect(401);
    const { session, ...rest } = start.body as { session: string };
    assert.match(session, /^[a-zA-Z]{24}$/);
    assert.deepEqual(rest, { flows: [{ stages: ["m.login.dummy"] }], params: {} });
    // The password came with the first request; the second holds the proof only.
    const { body } = await server.anonymous.post(REGISTER, dummy(session)).expect(200);
    assert.deepEqual([body.user_id, body.home_server, body.device_id], ["@alice:test", "test", "D"]);
    assert.equal((await server.as({ accessToken: body.access_token }).get("/_matrix/client/v3/devices/D").expect(200)).body.display_name, "Desk");
    await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.password", user: "alice", password: "secret password" }).expect(200);
  });

  it("writes the rows that Synapse writes", async () => {
    await server.anonymous.post(REGISTER, { username: "rows", password: "p", ...dummy() }).expect(200);
    const user = await queryOne<Record<string, unknown>>(server.ctx.read, "SELECT * FROM users WHERE name = '@rows:test'");
    const { password_hash: hash, creation_ts: created, ...rest } = user!;
    assert.match(hash as string, /^\$2b\$04\$/);
    assert.ok(Math.abs((created as number) - Date.now() / 1000) < 100, "in seconds");
    assert.deepEqual(rest, {
      name: "@rows:test",
      admin: 0,
      upgrade_ts: null,
      is_guest: 0,
      appservice_id: null,
      consent_version: null,
      consent_server_notice_sent: null,
      user_type: null,
      deactivated: 0,
      shadow_banned: false,
      consent_ts: null,
      approved: true,
      locked: false,
      suspended: false,
    });
    const profile = await queryOne(server.ctx.read, "SELECT * FROM profiles WHERE full_user_id = '@rows:test'");
    assert.deepEqual(profile, { user_id: "rows", full_user_id: "@rows:test", displayname: "rows", avatar_url: null, fields: null });
  });

  it("never stores the password of a session (CVE-2023-41335)", async () => {
    const secret = "a password to look for";
    const { body } = await server.anonymous.post(REGISTER, { username: "cve41335", password: secret }).expect(401);
    await server.anonymous.post(REGISTER, {
      username: "cve41335",
      password: secret,
      auth: { session: body.session, type: "m.login.password", password: secret, user: "x" },
    });
    const rows = await query<{ text: string }>(
      server.ctx.read,
      "SELECT ui_auth_sessions::text AS text FROM ui_auth_sessions UNION ALL SELECT ui_auth_sessions_credentials::text FROM ui_auth_sessions_credentials",
    );
    assert.ok(rows.length > 0);
    for (const { text } of rows) assert.equal(text.includes(secret), false);
  });

  it("takes passwords out of sessions that an old Synapse left (CVE-2023-41335)", async () => {
    const { ctx } = server;
    await ctx.transaction("test", (txn) =>
      execute(
        txn,
        `INSERT INTO ui_auth_sessions (session_id, creation_time, serverdict, clientdict, uri, method, description)
         VALUES ('old', $1, '{}', '{"new_password":"hunter2","logout_devices":true}', '/x', 'POST', 'd')`,
        [ctx.clock.now()],
      ),
    );
    await server.server.jobs.runOnce("expire_old_sessions");
    const row = await queryOne<{ clientdict: string }>(ctx.read, "SELECT clientdict FROM ui_auth_sessions WHERE session_id = 'old'");
    assert.deepEqual(JSON.parse(row!.clientdict), { logout_devices: true });
  });

  it("gives a repeated request the same account, not a second one", async () => {
    const { body } = await server.anonymous.post(REGISTER, { username: "again", password: "p" }).expect(401);
    const first = (await server.anonymous.post(REGISTER, dummy(body.session)).expect(200)).body;
    const second = (await server.anonymous.post(REGISTER, { username: "again", password: "p", ...dummy(body.session) }).expect(200)).body;
    assert.equal(second.user_id, first.user_id);
    assert.notEqual(second.access_token, first.access_token);
    await server.anonymous.post(REGISTER, { username: "another", password: "p", ...dummy(body.session) }).expect(400);
  });

  it("refuses names that cannot be had", async () => {
    const cases: [unknown, string][] = [
      ["", "M_INVALID_USERNAME"],
      ["_under", "M_INVALID_USERNAME"],
      ["ä", "M_INVALID_USERNAME"],
      ["a b", "M_INVALID_USERNAME"],
      ["a:b", "M_INVALID_USERNAME"],
      ["a\0", "M_INVALID_USERNAME"],
      ["12345", "M_INVALID_USERNAME"],
      ["x".repeat(300), "M_INVALID_USERNAME"],
      ["taken", "M_USER_IN_USE"],
      ["TAKEN", "M_USER_IN_USE"],
      [5, "M_UNKNOWN"],
      [null, "M_UNKNOWN"],
      ["x".repeat(513), "M_UNKNOWN"],
    ];
    for (const [username, errcode] of cases) {
      const { status, body } = await server.anonymous.post(REGISTER, { username, password: "p", ...dummy() });
      assert.deepEqual([status, body.errcode], [400, errcode], JSON.stringify([username, body]));
    }
  });

  it("answers bad bodies with 400, and does not begin a session", async () => {
    const count = async (): Promise<number> => (await queryOne<{ n: number }>(server.ctx.read, "SELECT count(*) AS n FROM ui_auth_sessions"))!.n;
    const before = await count();
    const cases: [object, string][] = [
      [{ username: "x1", password: 5 }, "M_UNKNOWN"],
      [{ username: "x1", password: "x".repeat(513) }, "M_UNKNOWN"],
      [{ username: "x1", password: "p", refresh_token: 1 }, "M_UNKNOWN"],
      [{ username: "x1", password: "p", auth: "dummy" }, "M_BAD_JSON"],
      [{ username: "x1", password: "p", auth: { session: 5 } }, "M_BAD_JSON"],
      [{ username: "x1", password: "p", auth: { session: "unknown" } }, "M_UNKNOWN"],
      [{ username: "x1", password: "p", auth: { session: "a\0" } }, "M_UNKNOWN"],
      [{ username: "x1", password: "p", guest_access_token: {} }, "M_INVALID_PARAM"],
    ];
    for (const [body, errcode] of cases) {
      const answer = await server.anonymous.post(REGISTER, body);
      assert.deepEqual([answer.status, answer.body.errcode], [400, errcode], JSON.stringify([body, answer.body]));
    }
    assert.equal(await count(), before);
    assert.equal((await server.anonymous.post(REGISTER, { ...dummy() }).expect(400)).body.errcode, "M_MISSING_PARAM");
    assert.equal((await server.anonymous.post(`${REGISTER}?kind=ghost`, {}).expect(400)).body.errcode, "M_UNRECOGNIZED");
    const alice = await server.register("bearer");
    await server.as(alice).post(REGISTER, { username: "x1", password: "p" }).expect(400);
  });

  it("refuses a session that was begun for another request", async () => {
    const { body } = await server.anonymous.post(REGISTER, { username: "moved", password: "p" }).expect(401);
    assert.equal((await server.anonymous.post(`${REGISTER}?kind=user`, dummy(body.session)).expect(403)).body.errcode, "M_FORBIDDEN");
    await server.anonymous.post("/_matrix/client/v3/account/password", { new_password: "q", ...dummy(body.session) }).expect(403);
  });

  it("leaves out the session where inhibit_login is set", async () => {
    const { body } = await server.anonymous.post(REGISTER, { username: "quiet", password: "p", inhibit_login: true, ...dummy() }).expect(200);
    assert.deepEqual(body, { user_id: "@quiet:test", home_server: "test" });
  });

  it("makes one account when two ask for the name at once", async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => server.anonymous.post(REGISTER, { username: "race", password: "p", ...dummy() })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400, 400, 400, 400]);
  });

  it("makes guests with numbers for names, whose tokens work as those of Synapse", async () => {
    const { body } = await server.anonymous.post(`${REGISTER}?kind=guest`, { initial_device_display_name: "Guest" }).expect(200);
    assert.match(body.user_id, /^@\d+:test$/);
    assert.equal(body.device_id, "guest_device");
    const guest = server.as({ accessToken: body.access_token });
    assert.deepEqual((await guest.get("/_matrix/client/v3/account/whoami").expect(200)).body, {
      user_id: body.user_id,
      is_guest: true,
      device_id: "guest_device",
    });
    assert.equal((await guest.get("/_matrix/client/v3/account/3pid").expect(403)).body.errcode, "M_GUEST_ACCESS_FORBIDDEN");
    const upgraded = await server.anonymous
      .post(REGISTER, { username: body.user_id.slice(1, -5), password: "p", guest_access_token: body.access_token, ...dummy() })
      .expect(200);
    assert.equal(upgraded.body.user_id, body.user_id);
    assert.equal(
      (await guest.get("/_matrix/client/v3/account/whoami").expect(401)).body.errcode,
      "M_UNKNOWN_TOKEN",
      "the guest's token is no way into the full account",
    );
    const other = (await server.anonymous.post(`${REGISTER}?kind=guest`, {}).expect(200)).body;
    assert.equal(
      (await server.anonymous.post(REGISTER, { username: "taken", password: "p", guest_access_token: other.access_token, ...dummy() }).expect(403)).body
        .errcode,
      "M_FORBIDDEN",
    );
  });

  it("tells whether a name is free", async () => {
    const ask = (username: string) => server.anonymous.get(`/_matrix/client/v3/register/available?username=${encodeURIComponent(username)}`);
    assert.deepEqual((await ask("free").expect(200)).body, { available: true });
    assert.equal((await ask("taken").expect(400)).body.errcode, "M_USER_IN_USE");
    assert.equal((await ask("one_more").expect(429)).body["org.myelin.limit"], "username_available");
    assert.equal((await server.anonymous.get("/_matrix/client/v3/register/available").expect(400)).body.errcode, "M_MISSING_PARAM");
  });
});

describe("registration by token", () => {
  let server: TestServer;
  const clock = new FakeClock();
  before(async () => {
    server = await startTestServer({ clock, config: { registration_requires_token: true, enable_registration_without_verification: false } });
    await server.ctx.transaction("test", (txn) =>
      execute(
        txn,
        "INSERT INTO registration_tokens (token, uses_allowed, pending, completed, expiry_time) VALUES ('once', 1, 0, 0, NULL), ('ever', NULL, 0, 0, NULL), ('past', NULL, 0, 0, $1)",
        [clock.now() - 1],
      ),
    );
  });
  after(() => server.close());

  const counts = async (token: string): Promise<number[]> => {
    const row = await queryOne<{ pending: number; completed: number }>(server.ctx.read, "SELECT pending, completed FROM registration_tokens WHERE token = $1", [
      token,
    ]);
    return [row!.pending, row!.completed];
  };
  const withToken = (username: string, token: unknown, session?: string) =>
    server.anonymous.post(REGISTER, { username, password: "p", auth: { type: "m.login.registration_token", token, session } });
  const begin = async (username: string): Promise<string> =>
    (await server.anonymous.post(REGISTER, { username, password: "p" }).expect(401)).body.session as string;
  const valid = async (token: string): Promise<boolean> =>
    (await server.anonymous.get(`/_matrix/client/v1/register/m.login.registration_token/validity?token=${token}`).expect(200)).body.valid as boolean;

  it("asks for the token, and counts its use", async () => {
    assert.deepEqual([await valid("once"), await valid("past"), await valid("unknown"), await valid("a%00")], [true, false, false, false]);
    const session = await begin("alice");
    const half = await withToken("alice", "once", session).expect(401);
    assert.deepEqual(half.body.completed, ["m.login.registration_token"]);
    assert.deepEqual(await counts("once"), [1, 0]);
    assert.equal(await valid("once"), false);
    assert.equal((await withToken("alice", "ever", session).expect(401)).body.error, "Registration token has changed");
    await server.anonymous.post(REGISTER, dummy(session)).expect(200);
    assert.deepEqual(await counts("once"), [0, 1]);
    for (const [token, errcode] of [
      ["once", "M_UNAUTHORIZED"],
      ["past", "M_UNAUTHORIZED"],
      ["unknown", "M_UNAUTHORIZED"],
      [5, "M_INVALID_PARAM"],
      [undefined, "M_MISSING_PARAM"],
    ] as const) {
      assert.equal((await withToken("bob", token, await begin("bob")).expect(401)).body.errcode, errcode);
    }
  });

  it("gives a held use back when its session ends without an account", async () => {
    await withToken("carol", "ever", await begin("carol")).expect(401);
    assert.deepEqual(await counts("ever"), [1, 0]);
    clock.advance(48 * 3_600_000);
    await server.server.jobs.runOnce("expire_old_sessions");
    assert.deepEqual(await counts("ever"), [0, 0]);
    assert.deepEqual(await counts("once"), [0, 1], "one that was used stays used");
  });

  it("lets only as many in as are allowed, however many come at once", async () => {
    await server.ctx.transaction("test", (txn) =>
      execute(txn, "INSERT INTO registration_tokens (token, uses_allowed, pending, completed) VALUES ('two', 2, 0, 0)"),
    );
    const sessions = await Promise.all(Array.from({ length: 5 }, (_, index) => begin(`many${index}`)));
    const answers = await Promise.all(sessions.map((session, index) => withToken(`many${index}`, "two", session)));
    assert.equal(answers.filter(({ body }) => body.completed?.length === 1).length, 2);
    assert.deepEqual(await counts("two"), [2, 0]);
  });
});

describe("registration by shared secret", () => {
  let server: TestServer;
  const clock = new FakeClock();
  const PATH = "/_synapse/admin/v1/register";
  before(async () => {
    server = await startTestServer({ clock, config: { enable_registration: false, user_types: { extra_user_types: ["robot"] } } });
  });
  after(() => server.close());

  const nonce = async (): Promise<string> => (await server.anonymous.get(PATH).expect(200)).body.nonce as string;
  const mac = (...parts: string[]): string => createHmac("sha1", "registration secret of the tests").update(parts.join("\0")).digest("hex");

  it("makes admins, bots and users, also where registration is closed", async () => {
    assert.equal((await server.anonymous.post(REGISTER, { username: "x", password: "p", ...dummy() }).expect(403)).body.errcode, "M_FORBIDDEN");
    let n = await nonce();
    const root = await server.anonymous
      .post(PATH, { nonce: n, username: "Root", password: "p", admin: true, displayname: "The root", mac: mac(n, "Root", "p", "admin") })
      .expect(200);
    assert.equal(root.body.user_id, "@root:test");
    assert.deepEqual((await server.anonymous.get("/_matrix/client/v3/profile/@root:test")).body, { displayname: "The root" });
    n = await nonce();
    await server.anonymous
      .post(PATH, { nonce: n, username: "bot", password: "p", user_type: "robot", inhibit_login: true, mac: mac(n, "bot", "p", "notadmin", "robot") })
      .expect(200);
    const rows = await query(server.ctx.read, "SELECT name, admin, user_type FROM users ORDER BY name");
    assert.deepEqual(rows, [
      { name: "@bot:test", admin: 0, user_type: "robot" },
      { name: "@root:test", admin: 1, user_type: null },
    ]);
  });

  it("refuses wrong macs and nonces that are old, used or made up", async () => {
    const attempt = (n: string, text = mac(n, "eve", "p", "notadmin"), more = {}) =>
      server.anonymous.post(PATH, { nonce: n, username: "eve", password: "p", mac: text, ...more });
    for (const wrong of ["", "x", "ä".repeat(40), mac("other"), mac(await nonce(), "eve", "p", "notadmin")]) await attempt(await nonce(), wrong).expect(403);
    const n = await nonce();
    await attempt(n, undefined, { admin: true }).expect(403);
    assert.equal((await attempt(n).expect(400)).body.error, "unrecognised nonce");
    const old = await nonce();
    clock.advance(60_001);
    await attempt(old).expect(400);
    await attempt("made up").expect(400);
    for (const [change, errcode] of [
      [{ nonce: undefined }, "M_BAD_JSON"],
      [{ nonce: 5 }, "M_UNKNOWN"],
      [{ username: undefined }, "M_BAD_JSON"],
      [{ username: "a\0" }, "M_UNKNOWN"],
      [{ password: undefined }, "M_BAD_JSON"],
      [{ password: 5 }, "M_UNKNOWN"],
      [{ mac: undefined }, "M_BAD_JSON"],
      [{ user_type: "unheard" }, "M_UNKNOWN"],
      [{ refresh_token: "x" }, "M_UNKNOWN"],
    ] as [object, string][]) {
      const answer = await attempt(await nonce(), "x", change);
      assert.deepEqual([answer.status, answer.body.errcode], [400, errcode], JSON.stringify([change, answer.body]));
    }
    assert.deepEqual(await query(server.ctx.read, "SELECT FROM users WHERE name = '@eve:test'"), []);
  });
});

describe("users of application services", () => {
  let server: TestServer;
  const token = "as_token_of_the_bridge";
  before(async () => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), "myelin-as-")), "bridge.yaml");
    writeFileSync(
      file,
      JSON.stringify({
        id: "bridge",
        url: null,
        as_token: token,
        hs_token: "hs",
        sender_localpart: "bridgebot",
        rate_limited: false,
        namespaces: {
          users: [
            { regex: "@_irc_.*:test", exclusive: true },
            { regex: "@shared_.*", exclusive: false },
          ],
          aliases: [],
          rooms: [],
        },
      }),
    );
    server = await startTestServer({ config: { app_service_config_files: [file], rc_login: { address: { per_second: 0.001, burst_count: 1 } } } });
  });
  after(() => server.close());

  const register = (username: unknown, bearer: string | undefined = token, more = {}) =>
    server.as({ accessToken: bearer }).post(REGISTER, { type: "m.login.application_service", username, ...more });

  it("are registered by the service alone", async () => {
    const made = await register("_irc_alice").expect(200);
    assert.equal(made.body.user_id, "@_irc_alice:test");
    const rows = await query(server.ctx.read, "SELECT appservice_id, password_hash FROM users WHERE name = '@_irc_alice:test'");
    assert.deepEqual(rows, [{ appservice_id: "bridge", password_hash: "" }]);
    assert.equal((await register("shared_x", token, { inhibit_login: true }).expect(200)).body.access_token, undefined);
    assert.equal((await register("_irc_alice").expect(400)).body.errcode, "M_USER_IN_USE");
    assert.equal((await register("outside").expect(400)).body.errcode, "M_EXCLUSIVE");
    assert.equal((await register("_irc_x", "wrong_token").expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
    assert.equal((await register("a\0").expect(400)).body.errcode, "M_INVALID_USERNAME");
    assert.equal((await register(undefined).expect(400)).body.errcode, "M_UNKNOWN");
    await server.anonymous.post(REGISTER, { type: "m.login.application_service", username: "_irc_y" }).expect(400);
    for (const username of ["_irc_bob", "bridgebot"]) {
      const { body } = await server.anonymous.post(REGISTER, { username, password: "p", ...dummy() }).expect(400);
      assert.ok(["M_EXCLUSIVE", "M_INVALID_USERNAME"].includes(body.errcode), body.errcode);
    }
  });

  it("are logged in by the service, and without a password", async () => {
    const login = (user: unknown, bearer: string | undefined = token) =>
      server
        .as({ accessToken: bearer })
        .post("/_matrix/client/v3/login", { type: "m.login.application_service", identifier: { type: "m.id.user", user }, device_id: "GHOST" });
    const { body } = await login("_irc_alice").expect(200);
    assert.deepEqual([body.user_id, body.device_id], ["@_irc_alice:test", "GHOST"]);
    await login("_irc_alice").expect(200); // not rate limited
    assert.equal((await login("stranger").expect(403)).body.errcode, "M_FORBIDDEN");
    assert.equal((await login("_irc_nobody").expect(404)).body.errcode, "M_UNKNOWN", "who does not exist gets no token");
    assert.equal((await login(5).expect(400)).body.errcode, "M_INVALID_PARAM");
    assert.equal((await login("_irc_alice", body.access_token).expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
    await server.anonymous
      .post("/_matrix/client/v3/login", { type: "m.login.application_service", identifier: { type: "m.id.user", user: "_irc_alice" } })
      .expect(401);
    await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.password", user: "_irc_alice", password: "" }).expect(403);
  });

  it("act through the service's token", async () => {
    const as = server.as({ accessToken: token });
    const whoami = (query: string) => as.get(`/_matrix/client/v3/account/whoami${query}`);
    assert.deepEqual((await whoami("").expect(200)).body, { user_id: "@bridgebot:test", is_guest: false });
    assert.deepEqual((await whoami("?user_id=@_irc_alice:test&device_id=GHOST").expect(200)).body, {
      user_id: "@_irc_alice:test",
      is_guest: false,
      device_id: "GHOST",
    });
    assert.equal((await whoami("?user_id=@_irc_alice:test&device_id=NONE").expect(400)).body.errcode, "ORG.MATRIX.MSC4326.M_UNKNOWN_DEVICE");
    assert.equal((await whoami("?user_id=@_irc_nobody:test").expect(403)).body.errcode, "M_FORBIDDEN");
    assert.equal((await whoami("?user_id=@root:test").expect(403)).body.errcode, "M_FORBIDDEN");
  });
});

describe("accounts that wait for an admin (MSC3866)", () => {
  it("can neither log in nor register into a session until they are approved", async () => {
    const server = await startTestServer({ config: { experimental_features: { msc3866: { enabled: true, require_approval_for_new_accounts: true } } } });
    try {
      const { ctx } = server;
      const waiting = { errcode: "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL", approval_notice_medium: "org.matrix.msc3866.none" };
      const without = ({ error: _, ...body }: Record<string, unknown>): object => body;
      assert.deepEqual(without((await server.anonymous.post(REGISTER, { username: "new", password: "p", ...dummy() }).expect(403)).body), waiting);
      const login = () => server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.password", user: "new", password: "p" });
      assert.deepEqual(without((await login().expect(403)).body), waiting);
      assert.deepEqual(await query(ctx.read, "SELECT FROM access_tokens WHERE user_id = '@new:test'"), []);
      await ctx.transaction("test", (txn) => setUserFlags(txn, ctx.accounts, "@new:test", { approved: true }));
      await login().expect(200);
      await server.register("made_by_admin");
    } finally {
      await server.close();
    }
  });
});
