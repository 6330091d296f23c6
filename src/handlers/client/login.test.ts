import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign as rsaSign } from "node:crypto";
import { execute, query, queryOne } from "../../storage/database.ts";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { createLoginToken } from "../../services/accounts/login.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const LOGIN = "/_matrix/client/v3/login";
const userId = (user: string): object => ({ type: "m.id.user", user });
const passwordLogin = (user: string, password = TEST_PASSWORD): object => ({ type: "m.login.password", identifier: userId(user), password });

describe("POST /login", () => {
  let server: TestServer;
  let alice: TestUser;
  const clock = new FakeClock();

  before(async () => {
    server = await startTestServer({ clock, config: { login_via_existing_session: { enabled: true, require_ui_auth: false }, session_lifetime: "10h" } });
    alice = await server.register("alice");
    await server.register("bob");
  });
  after(() => server.close());

  it("offers the flows of the config, under every version", async () => {
    const flows = [{ type: "m.login.token", get_login_token: true }, { type: "m.login.password" }, { type: "m.login.application_service" }];
    for (const version of ["api/v1", "r0", "v3", "unstable"]) {
      const { body } = await server.anonymous.get(`/_matrix/client/${version}/login`).expect(200);
      assert.deepEqual(body, { flows });
    }
  });

  it("answers with user, device, token and the well-known document", async () => {
    const { body } = await server.anonymous.post(LOGIN, { ...passwordLogin("alice"), device_id: "PHONE", initial_device_display_name: "Phone" }).expect(200);
    const { access_token: token, ...rest } = body as Record<string, unknown>;
    assert.match(token as string, /^syt_YWxpY2U_[a-zA-Z]{20}_[0-9A-Za-z]{6}$/);
    assert.deepEqual(rest, {
      user_id: "@alice:test",
      home_server: "test",
      device_id: "PHONE",
      expires_in_ms: 36_000_000,
      well_known: { "m.homeserver": { base_url: "https://test/" } },
    });
    const devices = await server
      .as({ accessToken: token as string })
      .get("/_matrix/client/v3/devices/PHONE")
      .expect(200);
    assert.equal(devices.body.display_name, "Phone");
  });

  it("takes every form of identifier", async () => {
    await server.ctx.transaction("test", async (txn) => {
      for (const [medium, address] of [
        ["email", "alice@example.org"],
        ["msisdn", "447700900123"],
      ]) {
        await execute(txn, "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ('@alice:test', $1, $2, 1, 1)", [
          medium,
          address,
        ]);
      }
    });
    const identifiers = [
      { identifier: userId("@alice:test") },
      { user: "alice" },
      { medium: "email", address: "Alice@Example.org" },
      { identifier: { type: "m.id.thirdparty", medium: "email", address: " ALICE@example.org" } },
      { identifier: { type: "m.id.thirdparty", medium: "msisdn", address: "447700900123" } },
      { identifier: { type: "m.id.phone", country: "GB", phone: "07700 900123" } },
      { identifier: { type: "m.id.phone", country: "GB", number: "+447700900123" } },
    ];
    for (const identifier of identifiers) {
      const { body } = await server.anonymous.post(LOGIN, { type: "m.login.password", password: TEST_PASSWORD, ...identifier });
      assert.equal(body.user_id, "@alice:test", JSON.stringify([identifier, body]));
    }
  });

  it("finds an account whose id differs but in case, when there is only one", async () => {
    const { body } = await server.anonymous.post(LOGIN, passwordLogin("ALICE")).expect(200);
    assert.equal(body.user_id, "@alice:test");
    await server.ctx.transaction("test", (txn) =>
      execute(txn, "INSERT INTO users (name, password_hash, creation_ts) SELECT '@Bob:test', password_hash, creation_ts FROM users WHERE name = '@bob:test'"),
    );
    assert.equal((await server.anonymous.post(LOGIN, passwordLogin("Bob")).expect(200)).body.user_id, "@Bob:test");
    assert.equal((await server.anonymous.post(LOGIN, passwordLogin("BOB")).expect(403)).body.errcode, "M_FORBIDDEN");
  });

  it("gives a known device a new token and ends none of the others", async () => {
    const first = (await server.anonymous.post(LOGIN, { ...passwordLogin("alice"), device_id: "TV" }).expect(200)).body;
    const second = (await server.anonymous.post(LOGIN, { ...passwordLogin("alice"), device_id: "TV", initial_device_display_name: "other" }).expect(200)).body;
    assert.notEqual(first.access_token, second.access_token);
    for (const { access_token: accessToken } of [first, second]) await server.as({ accessToken }).get("/_matrix/client/v3/account/whoami").expect(200);
    assert.equal((await server.as({ accessToken: second.access_token }).get("/_matrix/client/v3/devices/TV")).body.display_name, null);
  });

  it("refuses wrong credentials alike, whether or not there is an account", async () => {
    const attempts = [
      passwordLogin("alice", "wrong"),
      passwordLogin("nobody"),
      passwordLogin("@alice:other"),
      { type: "m.login.password", password: "x", medium: "email", address: "x@y.z" },
    ];
    for (const attempt of attempts) {
      const { body } = await server.anonymous.post(LOGIN, attempt).expect(403);
      assert.deepEqual(body, { errcode: "M_FORBIDDEN", error: "Invalid username or password" });
    }
  });

  it("answers what is no login with 400 and the code that Synapse has for it", async () => {
    const cases: [object, string][] = [
      [{}, "M_UNKNOWN"],
      [{ type: 5 }, "M_INVALID_PARAM"],
      [{ type: "m.login.password" }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: 5, identifier: userId("alice") }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: "x" }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: "x", identifier: { user: "alice" } }, "M_MISSING_PARAM"],
      [{ type: "m.login.password", password: "x", identifier: { type: "m.id.user" } }, "M_UNKNOWN"],
      [{ type: "m.login.password", password: "x", identifier: { type: "m.id.user", user: 5 } }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: "x", identifier: userId("a\0b") }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: "x", identifier: { type: "m.id.phone", country: "GB" } }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: "x", identifier: { type: "m.id.phone", country: "GB", phone: "x" } }, "M_INVALID_PARAM"],
      [{ type: "m.login.password", password: "x", identifier: { type: "m.id.other", user: "alice" } }, "M_UNKNOWN"],
      [{ type: "m.login.password", password: "x", identifier: { type: "m.id.thirdparty", medium: "email", address: "nonsense" } }, "M_UNKNOWN"],
      [{ type: "m.login.unheard", identifier: userId("alice") }, "M_UNKNOWN"],
      [{ ...passwordLogin("alice"), device_id: "x".repeat(513) }, "M_INVALID_PARAM"],
      [{ ...passwordLogin("alice"), device_id: 7 }, "M_INVALID_PARAM"],
      [{ ...passwordLogin("alice"), initial_device_display_name: "x".repeat(101) }, "M_TOO_LARGE"],
      [{ ...passwordLogin("alice"), initial_device_display_name: [] }, "M_INVALID_PARAM"],
      [{ ...passwordLogin("alice"), refresh_token: "yes" }, "M_UNKNOWN"],
      [{ type: "m.login.token" }, "M_UNKNOWN"],
    ];
    for (const [body, errcode] of cases) {
      const answer = await server.anonymous.post(LOGIN, body);
      assert.deepEqual([answer.status, answer.body.errcode], [400, errcode], JSON.stringify([body, answer.body]));
    }
  });

  it("exchanges a login token once, within its time", async () => {
    const { body } = await server.as(alice).post("/_matrix/client/v1/login/get_token").expect(200);
    assert.match(body.login_token, /^syl_[a-zA-Z]{20}_[0-9A-Za-z]{6}$/);
    assert.deepEqual([body.expires_in, body.expires_in_ms], [300, 300_000]);
    const exchange = (token: unknown) => server.anonymous.post(LOGIN, { type: "m.login.token", token });
    assert.equal((await exchange(body.login_token).expect(200)).body.user_id, "@alice:test");
    assert.equal((await exchange(body.login_token).expect(403)).body.errcode, "M_FORBIDDEN");
    const late = await createLoginToken(server.ctx, "@alice:test");
    clock.advance(120_001);
    assert.equal((await exchange(late).expect(403)).body.errcode, "M_FORBIDDEN");
    for (const wrong of ["syl_x", "", 5, null, "a\0"]) assert.equal((await exchange(wrong).expect(403)).body.errcode, "M_FORBIDDEN");
    assert.equal((await server.as(alice).post("/_matrix/client/v1/login/get_token").expect(200)).status, 200, "another minute, another token");
    assert.equal((await server.as(alice).post("/_matrix/client/v1/login/get_token").expect(429)).body["org.myelin.limit"], "login_token_request");
  });

  it("refuses deactivated and locked accounts in every way of logging in (CVE-2023-32682, advisory rows 33 and 105)", async () => {
    const { ctx } = server;
    const states = [
      { flags: { deactivated: true }, answer: [403, "M_USER_DEACTIVATED"] },
      { flags: { locked: true }, answer: [401, "M_USER_LOCKED"] },
    ];
    for (const [index, { flags, answer }] of states.entries()) {
      const name = `closed${index}`;
      const user = await server.register(name);
      const token = await createLoginToken(ctx, user.userId);
      await ctx.transaction("test", (txn) => setUserFlags(txn, ctx.accounts, user.userId, flags));
      for (const body of [passwordLogin(name), { type: "m.login.token", token }]) {
        const { status, body: error } = await server.anonymous.post(LOGIN, body);
        assert.deepEqual([status, error.errcode], answer);
      }
    }
  });

  it("names the limit when it is reached, and counts no success as a failure", async () => {
    const strict = await startTestServer({
      clock,
      config: {
        rc_login: {
          address: { per_second: 100, burst_count: 100 },
          account: { per_second: 0.1, burst_count: 100 },
          failed_attempts: { per_second: 0.1, burst_count: 2 },
        },
      },
    });
    try {
      await strict.register("carol");
      for (let i = 0; i < 4; i++) await strict.anonymous.post(LOGIN, passwordLogin("carol")).expect(200);
      for (let i = 0; i < 2; i++) await strict.anonymous.post(LOGIN, passwordLogin("carol", "wrong")).expect(403);
      for (const name of ["carol", "CAROL", "@carol:test"]) {
        const answer = await strict.anonymous.post(LOGIN, passwordLogin(name)).expect(429);
        assert.equal(answer.body.errcode, "M_LIMIT_EXCEEDED");
        assert.equal(answer.body["org.myelin.limit"], "rc_login.failed_attempts");
        assert.equal(answer.body.retry_after_ms, 10_000);
        assert.equal(answer.headers["retry-after"], "10");
      }
      clock.advance(10_000);
      await strict.anonymous.post(LOGIN, passwordLogin("carol")).expect(200);
    } finally {
      await strict.close();
    }
  });

  it("writes no password and no login token anywhere but as hash", async () => {
    const tables = await query<{ name: string }>(
      server.ctx.read,
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    );
    const found = await query<{ name: string }>(
      server.ctx.read,
      tables
        .map(({ name }) => `SELECT '${name}' AS name WHERE EXISTS (SELECT FROM "${name}" WHERE "${name}"::text LIKE '%${TEST_PASSWORD}%')`)
        .join(" UNION ALL "),
    );
    assert.deepEqual(found, []);
  });
});

describe("POST /login with a JSON web token", () => {
  let server: TestServer;
  const secret = "a secret that is long enough for HS256, or is it";

  before(async () => {
    server = await startTestServer({
      config: {
        jwt_config: { enabled: true, secret, algorithm: "HS256", issuer: "https://issuer", audiences: ["myelin"], display_name_claim: "name" },
        password_config: { enabled: false },
      },
    });
  });
  after(() => server.close());

  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const sign = (claims: object, key = secret, algorithm = "HS256"): string => {
    const text = `${encode({ alg: algorithm, typ: "JWT" })}.${encode(claims)}`;
    return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
  };
  const login = (token: unknown) => server.anonymous.post(LOGIN, { type: "org.matrix.login.jwt", token });
  const good = { sub: "jane", iss: "https://issuer", aud: "myelin", name: "Jane" };

  it("makes the account when there is none, and finds it again", async () => {
    assert.deepEqual((await server.anonymous.get(LOGIN)).body, { flows: [{ type: "org.matrix.login.jwt" }, { type: "m.login.application_service" }] });
    for (let i = 0; i < 2; i++) assert.equal((await login(sign(good)).expect(200)).body.user_id, "@jane:test");
    assert.deepEqual((await server.anonymous.get("/_matrix/client/v3/profile/@jane:test").expect(200)).body, { displayname: "Jane" });
  });

  it("refuses tokens that are not for this server, or not of now", async () => {
    const now = Math.floor(Date.now() / 1000);
    const { sub: _, ...nobody } = good;
    const wrong = [
      sign(good, "another secret that is long enough too"),
      sign({ ...good, iss: "https://evil" }),
      sign({ ...good, aud: "other" }),
      sign({ ...good, exp: now - 200 }),
      sign({ ...good, nbf: now + 200 }),
      sign({ ...good, iat: now + 200 }),
      sign({ ...good, iat: "yesterday" }),
      sign({ ...good, exp: "tomorrow" }),
      sign({ sub: good.sub, aud: good.aud }),
      sign({ sub: good.sub, iss: good.iss }),
      sign(nobody),
      sign({ ...good, sub: 5 }),
      sign({ ...good, sub: "a\0" }),
      `${encode({ alg: "none" })}.${encode(good)}.`,
      "nonsense",
      "",
      undefined,
      5,
    ];
    for (const token of wrong) assert.equal((await login(token).expect(403)).body.errcode, "M_FORBIDDEN", String(token));
    assert.equal((await login(sign({ ...good, sub: "UPPER CASE" })).expect(400)).body.errcode, "M_INVALID_USERNAME");
  });

  it("refuses a deactivated account (CVE-2023-32682)", async () => {
    await login(sign({ ...good, sub: "gone" })).expect(200);
    await server.ctx.transaction("test", (txn) => setUserFlags(txn, server.ctx.accounts, "@gone:test", { deactivated: true }));
    assert.equal((await login(sign({ ...good, sub: "gone" })).expect(403)).body.errcode, "M_USER_DEACTIVATED");
    await server.anonymous.post(LOGIN, passwordLogin("jane")).expect(400);
  });

  it("refuses a locked account (CVE-2023-32682)", async () => {
    await login(sign({ ...good, sub: "locked" })).expect(200);
    await server.ctx.transaction("test", (txn) => setUserFlags(txn, server.ctx.accounts, "@locked:test", { locked: true }));
    assert.equal((await login(sign({ ...good, sub: "locked" })).expect(401)).body.errcode, "M_USER_LOCKED");
  });

  it("takes clocks that differ by less than two minutes", async () => {
    const now = Math.floor(Date.now() / 1000);
    await login(sign({ ...good, exp: now - 60, nbf: now + 60, iat: now + 60 })).expect(200);
  });
});

describe("POST /login with a JSON web token and a public key", () => {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  let server: TestServer;

  before(async () => {
    const limit = { per_second: 0.001, burst_count: 4 };
    server = await startTestServer({
      config: {
        jwt_config: { enabled: true, secret: pem, algorithm: "RS256", subject_claim: "login" },
        rc_login: { address: limit, account: limit, failed_attempts: limit },
      },
    });
  });
  after(() => server.close());

  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const token = (header: object, claims: object, signer: (text: string) => Buffer): string => {
    const text = `${encode(header)}.${encode(claims)}`;
    return `${text}.${signer(text).toString("base64url")}`;
  };
  const byKey = (text: string): Buffer => rsaSign("sha256", Buffer.from(text), privateKey);
  const login = (jwt: string, ip = "192.0.2.1") => server.anonymous.post(LOGIN, { type: "org.matrix.login.jwt", token: jwt }).set("X-Forwarded-For", ip);

  it("takes what the private key has signed, by the claim that is configured", async () => {
    assert.equal((await login(token({ alg: "RS256" }, { login: "rsa", sub: "other" }, byKey)).expect(200)).body.user_id, "@rsa:test");
  });

  it("takes the public key for no shared secret, whatever algorithm the token names (CVE-2015-9235 and its like)", async () => {
    const claims = { login: "forged" };
    const byPublic = (text: string): Buffer => createHmac("sha256", pem).update(text).digest();
    const forged = [
      token({ alg: "HS256" }, claims, byPublic),
      token({ alg: "none" }, claims, () => Buffer.alloc(0)),
      token({ alg: "nOnE" }, claims, () => Buffer.alloc(0)),
      token({ alg: "RS256", crit: ["b64"], b64: false }, claims, byKey),
      token({ alg: "RS256", jwk: publicKey.export({ format: "jwk" }), kid: "../../dev/null" }, claims, () => Buffer.alloc(256)),
    ];
    for (const [index, jwt] of forged.entries()) {
      assert.equal((await login(jwt, `192.0.2.${100 + index}`).expect(403)).body.errcode, "M_FORBIDDEN", jwt);
    }
  });

  it("refuses a token for a named audience where no audience is configured", async () => {
    await login(token({ alg: "RS256" }, { login: "rsa", aud: "somebody" }, byKey), "192.0.2.200").expect(403);
  });

  it("is limited by address", async () => {
    const bad = token({ alg: "RS256" }, { login: "rsa" }, () => Buffer.alloc(256));
    for (let i = 0; i < 4; i++) await login(bad, "192.0.2.50").expect(403);
    assert.equal((await login(bad, "192.0.2.50").expect(429)).body.errcode, "M_LIMIT_EXCEEDED");
  });
});

describe("tokens that end", () => {
  let server: TestServer;
  const clock = new FakeClock();

  before(async () => {
    server = await startTestServer({
      clock,
      config: { refreshable_access_token_lifetime: "5m", nonrefreshable_access_token_lifetime: "1h", refresh_token_lifetime: "2h", session_lifetime: "3h" },
    });
    await server.register("alice");
  });
  after(() => server.close());

  const login = async (): Promise<{ access_token: string; refresh_token: string; expires_in_ms: number; device_id: string }> =>
    (await server.anonymous.post(LOGIN, { ...passwordLogin("alice"), refresh_token: true }).expect(200)).body;
  const refresh = (token: unknown) => server.anonymous.post("/_matrix/client/v3/refresh", { refresh_token: token });
  const whoami = (accessToken: string) => server.as({ accessToken }).get("/_matrix/client/v3/account/whoami");

  it("soft-logs the client out when a token has expired, and lets it log out", async () => {
    const { body } = await server.anonymous.post(LOGIN, passwordLogin("alice")).expect(200);
    assert.deepEqual([body.expires_in_ms, body.refresh_token], [3_600_000, undefined]);
    clock.advance(3_600_001);
    const answer = await whoami(body.access_token).expect(401);
    assert.deepEqual([answer.body.errcode, answer.body.soft_logout], ["M_UNKNOWN_TOKEN", true]);
    await server.as({ accessToken: body.access_token }).post("/_matrix/client/v3/logout").expect(200);
    assert.equal((await whoami(body.access_token).expect(401)).body.soft_logout, false);
  });

  it("can be refreshed again until the new pair is used", async () => {
    const first = await login();
    assert.match(first.refresh_token, /^syr_YWxpY2U_[a-zA-Z]{20}_[0-9A-Za-z]{6}$/);
    assert.equal(first.expires_in_ms, 300_000);
    const lost = (await refresh(first.refresh_token).expect(200)).body;
    const second = (await refresh(first.refresh_token).expect(200)).body;
    assert.equal((await whoami(lost.access_token).expect(401)).body.errcode, "M_UNKNOWN_TOKEN", "the pair that got lost is gone");
    await whoami(first.access_token).expect(200);
    await whoami(second.access_token).expect(200);
    assert.equal((await refresh(first.refresh_token).expect(403)).body.errcode, "M_FORBIDDEN");
    assert.equal((await refresh(lost.refresh_token).expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
    const third = (await refresh(second.refresh_token).expect(200)).body;
    assert.equal((await whoami(first.access_token).expect(401)).body.errcode, "M_UNKNOWN_TOKEN", "two refreshes later the first token is gone");
    await whoami(third.access_token).expect(200);
    const rows = await query(server.ctx.read, "SELECT FROM refresh_tokens WHERE device_id = $1", [first.device_id]);
    assert.equal(rows.length, 2);
  });

  it("are refused with the codes that Synapse has", async () => {
    for (const token of ["nonsense", "syr_YWxpY2U_aaaaaaaaaaaaaaaaaaaa_000000", ""])
      assert.equal((await refresh(token).expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
    assert.equal((await refresh(undefined).expect(400)).body.errcode, "M_MISSING_PARAM");
    assert.equal((await refresh(5).expect(400)).body.errcode, "M_INVALID_PARAM");
    const pair = await login();
    assert.equal((await refresh(pair.access_token).expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
  });

  it("end with the refresh token's time, and at last with the session's", async () => {
    const idle = await login();
    clock.advance(2 * 3_600_000 + 1);
    assert.equal((await refresh(idle.refresh_token).expect(403)).body.error, "The supplied refresh token has expired");
    let pair = await login();
    clock.advance(1.5 * 3_600_000);
    pair = (await refresh(pair.refresh_token).expect(200)).body;
    clock.advance(1.5 * 3_600_000 - 60_000);
    pair = (await refresh(pair.refresh_token).expect(200)).body;
    assert.equal(pair.expires_in_ms, 60_000);
    clock.advance(60_001);
    assert.equal((await refresh(pair.refresh_token).expect(403)).body.errcode, "M_FORBIDDEN");
  });

  it("cannot be refreshed for a closed account (CVE-2023-32682)", async () => {
    const pair = await login();
    await server.ctx.transaction("test", (txn) => setUserFlags(txn, server.ctx.accounts, "@alice:test", { deactivated: true }));
    assert.equal((await refresh(pair.refresh_token).expect(403)).body.errcode, "M_USER_DEACTIVATED");
    await server.ctx.transaction("test", (txn) => setUserFlags(txn, server.ctx.accounts, "@alice:test", { deactivated: false }));
  });

  it("take ids above all that are in the tables (migration risk 24)", async () => {
    await login();
    const row = await queryOne<{ access: number; refresh: number }>(
      server.ctx.read,
      "SELECT (SELECT max(id) FROM access_tokens) AS access, (SELECT max(id) FROM refresh_tokens) AS refresh",
    );
    assert.equal(server.ctx.localIds.accessTokens.next(), row!.access + 1);
    assert.equal(server.ctx.localIds.refreshTokens.next(), row!.refresh + 1);
    const first = await queryOne<{ id: number }>(server.ctx.read, "SELECT min(id) AS id FROM access_tokens");
    assert.equal(first!.id, 2, "an empty table begins at 2, as in Synapse");
  });
});
