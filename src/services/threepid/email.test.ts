// More than 500 lines: one flow over a mail server, from every end.
import assert from "node:assert/strict";
import { query, queryOne } from "../../storage/database.ts";
import { testCertificates } from "../../testing/certificates.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { MailServer } from "../../testing/mail-server.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const CLIENT = "/_matrix/client/v3";
const ADD = `${CLIENT}/account/3pid/email/requestToken`;
const REGISTER = `${CLIENT}/register/email/requestToken`;
const RESET = `${CLIENT}/account/password/email/requestToken`;

let counter = 0;
const fresh = (): { email: string; client_secret: string; send_attempt: number } => {
  counter++;
  return { email: `person${counter}@example.org`, client_secret: `secret_${counter}`, send_attempt: 1 };
};

describe("verifying e-mail addresses", () => {
  let mails: MailServer;
  let server: TestServer;
  const clock = new FakeClock();

  before(async function () {
    this.timeout(60_000);
    mails = await MailServer.start({ startTls: true, login: { user: "matrix", pass: "s3cret" } });
    server = await startTestServer({
      clock,
      trustedAuthorities: [testCertificates().ca],
      config: {
        email: {
          smtp_host: "127.0.0.1",
          smtp_port: mails.port,
          smtp_user: "matrix",
          smtp_pass: "s3cret",
          require_transport_security: true,
          notif_from: "The %(app)s server <noreply@test>",
          app_name: "Tést",
          enable_notifs: true,
        },
        registrations_require_3pid: ["email"],
        allowed_local_3pids: [{ medium: "email", pattern: "^[^@]+@example\\.org$" }],
        next_link_domain_whitelist: ["app.example.org"],
      },
    });
  });
  after(async () => {
    await server.close();
    await mails.close();
  });

  const uia = (user: TestUser): object => ({ type: "m.login.password", identifier: { type: "m.id.user", user: user.userId }, password: TEST_PASSWORD });
  const threepidsOf = async (user: TestUser): Promise<{ medium: string; address: string }[]> =>
    (await server.as(user).get(`${CLIENT}/account/3pid`).expect(200)).body.threepids;

  /** Adds an address to the account through mail and link. */
  async function addEmail(user: TestUser, request = fresh()): Promise<{ email: string; sid: string; client_secret: string }> {
    const { sid } = (await server.as(user).post(ADD, request).expect(200)).body;
    await server.anonymous.get(mails.lastLink()).expect(200);
    await server
      .as(user)
      .post(`${CLIENT}/account/3pid/add`, { sid, client_secret: request.client_secret, auth: uia(user) })
      .expect(200);
    return { ...request, sid };
  }

  it("sends an encrypted, authenticated mail with a text and an HTML form, from the configured sender", async () => {
    await server.anonymous.post(ADD, fresh()).expect(200);
    const mail = mails.last;
    assert.deepEqual([mail.secure, mail.user, mail.from, mail.to], [true, "matrix", "noreply@test", [`person${counter}@example.org`]]);
    assert.equal(mail.headers.get("from"), "The Tést server <noreply@test>");
    assert.equal(mail.headers.get("subject"), "[test] Validate your email");
    assert.equal(mail.headers.get("auto-submitted"), "auto-generated");
    assert.match(mail.headers.get("content-type")!, /^multipart\/alternative/);
    assert.match(mail.text, /https:\/\/test\/_matrix\/client\/unstable\/add_threepid\/email\/submit_token\?token=\w{32}&client_secret=secret_\d+&sid=\w{16}/);
    assert.ok(mail.html.includes('href="https://test/_matrix/client/unstable/add_threepid/email/submit_token?token='));
  });

  it("adds an address after its link was opened, once, canonical and as Synapse stores it", async () => {
    const user = await server.register("adder");
    const request = { ...fresh(), email: "Mixed.Case@EXAMPLE.org" };
    const { sid } = (await server.as(user).post(ADD, request).expect(200)).body;
    const add = { sid, client_secret: request.client_secret, auth: uia(user) };
    await server
      .as(user)
      .post(`${CLIENT}/account/3pid/add`, add)
      .expect(400)
      .expect(({ body }) => assert.equal(body.errcode, "M_THREEPID_AUTH_FAILED"));
    const page = await server.anonymous.get(mails.lastLink()).expect(200);
    assert.match(page.text, /confirmed/);
    await server.as(user).post(`${CLIENT}/account/3pid/add`, add).expect(200);
    const row = await queryOne<Record<string, unknown>>(server.ctx.read, "SELECT * FROM user_threepids WHERE user_id = $1", [user.userId]);
    assert.deepEqual(row, { user_id: user.userId, medium: "email", address: "mixed.case@example.org", validated_at: clock.now(), added_at: clock.now() });
    // The session is spent: nobody adds the address by it again (advisory 101).
    const other = await server.register("replayer");
    await server
      .as(other)
      .post(`${CLIENT}/account/3pid/add`, { ...add, auth: uia(other) })
      .expect(400)
      .expect(({ body }) => assert.equal(body.errcode, "M_THREEPID_AUTH_FAILED"));
    assert.deepEqual(await query(server.ctx.read, "SELECT * FROM threepid_validation_session WHERE session_id = $1", [sid]), []);
    assert.deepEqual(await query(server.ctx.read, "SELECT * FROM threepid_validation_token WHERE session_id = $1", [sid]), []);
    assert.deepEqual(await threepidsOf(other), []);
  });

  it("needs the password to add an address, and asks for it by user-interactive authentication", async () => {
    const user = await server.register("asked");
    const { body } = await server.as(user).post(`${CLIENT}/account/3pid/add`, { sid: "abc", client_secret: "def" }).expect(401);
    assert.deepEqual(body.flows, [{ stages: ["m.login.password"] }]);
  });

  it("adds an address by the older route, too", async () => {
    const user = await server.register("older");
    const request = fresh();
    const { sid } = (await server.as(user).post(ADD, request).expect(200)).body;
    await server.anonymous.get(mails.lastLink()).expect(200);
    await server
      .as(user)
      .post(`${CLIENT}/account/3pid`, { three_pid_creds: { sid, client_secret: request.client_secret } })
      .expect(200);
    assert.deepEqual(
      (await threepidsOf(user)).map(({ address }) => address),
      [request.email],
    );
    await server
      .as(user)
      .post(`${CLIENT}/account/3pid`, {})
      .expect(400)
      .expect(({ body }) => assert.equal(body.errcode, "M_MISSING_PARAM"));
  });

  it("logs in by the address, refuses it to others, and gives it up with its mail notifications", async () => {
    const user = await server.register("owner");
    const { email } = await addEmail(user);
    const login = { type: "m.login.password", identifier: { type: "m.id.thirdparty", medium: "email", address: email.toUpperCase() }, password: TEST_PASSWORD };
    assert.equal((await server.anonymous.post(`${CLIENT}/login`, login).expect(200)).body.user_id, user.userId);
    for (const path of [ADD, REGISTER])
      await server.anonymous
        .post(path, { ...fresh(), email })
        .expect(400)
        .expect(({ body }) => assert.equal(body.errcode, "M_THREEPID_IN_USE"));
    const pusher = { kind: "email", app_id: "m.email", app_display_name: "a", device_display_name: "d", pushkey: email, lang: "en", data: {} };
    await server.as(user).post(`${CLIENT}/pushers/set`, pusher).expect(200);
    const { body } = await server.as(user).post(`${CLIENT}/account/3pid/delete`, { medium: "email", address: email.toUpperCase() }).expect(200);
    assert.equal(body.id_server_unbind_result, "no-support");
    assert.deepEqual(await threepidsOf(user), []);
    assert.deepEqual((await server.as(user).get(`${CLIENT}/pushers`).expect(200)).body.pushers, []);
    await server.anonymous.post(`${CLIENT}/login`, login).expect(403);
  });

  it("does not take an address away from whoever verified it first", async () => {
    const [first, second] = [await server.register("first"), await server.register("second")];
    const request = fresh();
    const { sid } = (
      await server
        .as(second)
        .post(ADD, { ...request, client_secret: "other" })
        .expect(200)
    ).body;
    await server.anonymous.get(mails.lastLink()).expect(200);
    await addEmail(first, request);
    await server
      .as(second)
      .post(`${CLIENT}/account/3pid/add`, { sid, client_secret: "other", auth: uia(second) })
      .expect(400)
      .expect(({ body }) => assert.equal(body.errcode, "M_THREEPID_IN_USE"));
    assert.deepEqual(
      (await threepidsOf(first)).map(({ address }) => address),
      [request.email],
    );
  });

  it("sends again only for a higher attempt, in the same session", async () => {
    const request = fresh();
    const first = (await server.anonymous.post(ADD, request).expect(200)).body.sid;
    const count = mails.mails.length;
    assert.equal((await server.anonymous.post(ADD, request).expect(200)).body.sid, first);
    assert.equal(mails.mails.length, count);
    assert.equal((await server.anonymous.post(ADD, { ...request, send_attempt: 2 }).expect(200)).body.sid, first);
    assert.equal(mails.mails.length, count + 1);
    const row = await queryOne<{ last_send_attempt: number; tokens: number }>(
      server.ctx.read,
      "SELECT last_send_attempt, (SELECT count(*)::int FROM threepid_validation_token WHERE session_id = s.session_id) AS tokens FROM threepid_validation_session s WHERE session_id = $1",
      [first],
    );
    assert.deepEqual(row, { last_send_attempt: 2, tokens: 2 });
  });

  it("fails the request when the mail cannot be sent, and sends it with the next one of the same attempt", async () => {
    const request = fresh();
    mails.refuse = true;
    await server.anonymous.post(ADD, request).expect(500);
    mails.refuse = false;
    await server.anonymous.post(ADD, request).expect(200);
    assert.deepEqual(mails.last.to, [request.email]);
  });

  describe("links", () => {
    const link = async (extra: object = {}): Promise<URL> => {
      await server.anonymous.post(ADD, { ...fresh(), ...extra }).expect(200);
      return new URL(mails.lastLink(), "https://test");
    };
    const open = (url: URL) => server.anonymous.get(url.pathname + url.search);

    it("are refused with another token, session or secret, and say so without markup of the caller's", async () => {
      for (const [name, reason] of [
        ["token", "not found or has expired"],
        ["sid", "Unknown session_id"],
        ["client_secret", "does not match"],
      ] as const) {
        const forged = await link();
        forged.searchParams.set(name, "wrong");
        const { text, headers } = await open(forged).expect(400);
        assert.ok(text.includes(reason), text);
        assert.match(headers["content-security-policy"]!, /frame-ancestors 'none'/);
        assert.equal(headers["referrer-policy"], "no-referrer");
      }
      const forged = await link();
      forged.searchParams.set("sid", "<script>alert(1)</script>");
      assert.ok(!(await open(forged).expect(400)).text.includes("<script>alert"));
    });

    it("are refused when they are too old", async () => {
      const old = await link();
      clock.advance(3_600_000);
      assert.match((await open(old).expect(400)).text, /expired/);
      await server.server.jobs.runOnce("cull_expired_threepid_validation_tokens");
      clock.advance(1);
      await server.server.jobs.runOnce("cull_expired_threepid_validation_tokens");
      assert.match((await open(old).expect(400)).text, /not found or has expired/);
    });

    it("that are opened twice show the same page", async () => {
      const url = await link();
      await open(url).expect(200);
      await open(url).expect(200);
    });

    it("need all parameters", async () => {
      const url = await link();
      url.searchParams.delete("token");
      await open(url)
        .expect(400)
        .expect(({ body }) => assert.equal(body.errcode, "M_MISSING_PARAM"));
    });

    it("lead on to a permitted application, with the session", async () => {
      const url = await link({ next_link: "https://app.example.org/#/register?hs=1" });
      const { headers } = await open(url).expect(302);
      assert.equal(headers.location, `https://app.example.org/#/register?hs=1&sid=${url.searchParams.get("sid")}`);
    });

    const WRONG = [
      "https://evil.example.org/",
      "https://app.example.org.evil.org/",
      "https://app.example.org@evil.org/",
      "https://evil.org\\@app.example.org/",
      "//app.example.org/",
      "file:///etc/passwd",
      "javascript:alert(1)//app.example.org",
      "data:text/html,app.example.org",
      "https://app.example.org/\r\nSet-Cookie: a=b",
      `https://app.example.org/${"x".repeat(3000)}`,
      "no link",
    ];
    it("to elsewhere are refused with the request", async () => {
      for (const next_link of WRONG) {
        for (const path of [ADD, REGISTER, RESET]) {
          const { body } = await server.anonymous.post(path, { ...fresh(), next_link }).expect(400);
          assert.equal(body.errcode, "M_INVALID_PARAM", `${path} ${next_link}`);
        }
      }
    });

    it("to elsewhere that another server stored are not followed", async () => {
      const url = await link();
      const sid = url.searchParams.get("sid");
      await server.ctx.transaction(
        "test",
        async (txn) => await query(txn, "UPDATE threepid_validation_token SET next_link = 'https://evil.example.org/' WHERE session_id = $1", [sid]),
      );
      await open(url).expect(200);
    });
  });

  describe("bad input", () => {
    it("is refused with 400, whatever its size (CVE-2021-21394, advisory 45)", async () => {
      const long = "x".repeat(100_000);
      for (const path of [ADD, REGISTER, RESET]) {
        for (const extra of [
          { client_secret: long },
          { client_secret: "a b" },
          { client_secret: "" },
          { client_secret: 5 },
          { email: `${long}@example.org` },
          { email: "nobody" },
          { email: 1 },
          { send_attempt: "1" },
          { send_attempt: 1e300 },
          { send_attempt: 1.5 },
          { next_link: 7 },
          { email: undefined },
        ]) {
          await server.anonymous.post(path, { ...fresh(), ...extra }).expect(400);
        }
      }
      const user = await server.register("longwinded");
      await server.as(user).post(`${CLIENT}/account/3pid/add`, { sid: long, client_secret: "a" }).expect(400);
      await server
        .as(user)
        .post(`${CLIENT}/account/3pid`, { three_pid_creds: { sid: long, client_secret: "a" } })
        .expect(400);
      await server
        .as(user)
        .post(`${CLIENT}/account/3pid`, { three_pid_creds: { sid: "a\0", client_secret: "a" } })
        .expect(400);
      await server
        .as(user)
        .post(`${CLIENT}/account/3pid/delete`, { medium: "email", address: `${long}@example.org` })
        .expect(400);
      await server.as(user).post(`${CLIENT}/account/3pid/delete`, { medium: "email", address: "a\0@b" }).expect(400);
      await server.as(user).post(`${CLIENT}/account/3pid/delete`, { medium: "pigeon", address: "a@b" }).expect(400);
      const path = "/_matrix/client/unstable/add_threepid/email/submit_token";
      for (const sid of [long.slice(0, 5000), "%00"]) await server.anonymous.get(`${path}?sid=${sid}&client_secret=a&token=b`).expect(400);
      await server.anonymous.get(`${path}?sid=a&client_secret=a&token=${long.slice(0, 5000)}`).expect(400);
    });

    it("puts no header and no second recipient into a mail", async () => {
      const count = mails.mails.length;
      for (const email of [
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org,b@x",
        "<a@example.org>",
        "A <a@example.org>",
        "a\nb@example.org",
        "a@example.org;b",
        "a b@example.org",
      ]) {
        for (const path of [ADD, REGISTER, RESET]) await server.anonymous.post(path, { ...fresh(), email }).expect(400);
      }
      assert.equal(mails.mails.length, count);
      await server.ctx.mail!.send({
        to: "a@example.org",
        subject: "one\r\nBcc: evil@example.org\r\n\r\nbody",
        html: "h",
        text: "t",
        headers: { "X-Test": "a\r\nX-Evil: 1" },
      });
      const { headers, to } = mails.last;
      assert.deepEqual([to, headers.has("bcc"), headers.has("x-evil")], [["a@example.org"], false, false]);
      await assert.rejects(server.ctx.mail!.send({ to: "a@example.org, b@example.org", subject: "", html: "", text: "" }));
    });

    it("of a forbidden domain is refused", async () => {
      await server.anonymous
        .post(ADD, { ...fresh(), email: "a@elsewhere.org" })
        .expect(403)
        .expect(({ body }) => assert.equal(body.errcode, "M_THREEPID_DENIED"));
      await server.anonymous.post(REGISTER, { ...fresh(), email: "a@example.org.evil" }).expect(403);
    });
  });

  describe("registration", () => {
    const body = (name: string) => ({ username: name, password: "a long password of mine" });

    it("requires an address, adds it to the new account and writes to it from then on", async () => {
      const { flows, session } = (await server.anonymous.post(`${CLIENT}/register`, body("newcomer")).expect(401)).body;
      assert.deepEqual(flows, [{ stages: ["m.login.email.identity"] }]);
      const request = fresh();
      const { sid } = (await server.anonymous.post(REGISTER, request).expect(200)).body;
      const auth = { type: "m.login.email.identity", session, threepid_creds: { sid, client_secret: request.client_secret } };
      await server.anonymous.post(`${CLIENT}/register`, { ...body("newcomer"), auth }).expect(401);
      assert.match(mails.lastLink(), /^\/_matrix\/client\/unstable\/registration\/email\/submit_token/);
      await server.anonymous.get(mails.lastLink()).expect(200);
      const made = (await server.anonymous.post(`${CLIENT}/register`, { ...body("newcomer"), auth }).expect(200)).body;
      const user = { userId: made.user_id, accessToken: made.access_token, deviceId: made.device_id };
      assert.deepEqual(
        (await threepidsOf(user)).map(({ address }) => address),
        [request.email],
      );
      const { pushers } = (await server.as(user).get(`${CLIENT}/pushers`).expect(200)).body;
      assert.deepEqual(
        pushers.map((pusher: { kind: string; pushkey: string }) => [pusher.kind, pusher.pushkey]),
        [["email", request.email]],
      );
      // The proof was used.
      const next = (await server.anonymous.post(`${CLIENT}/register`, body("second-use")).expect(401)).body.session;
      await server.anonymous.post(`${CLIENT}/register`, { ...body("second-use"), auth: { ...auth, session: next } }).expect(401);
    });

    it("counts a proof once though two ask at the same time", async () => {
      const request = fresh();
      const { sid } = (await server.anonymous.post(REGISTER, request).expect(200)).body;
      await server.anonymous.get(mails.lastLink()).expect(200);
      const attempts = ["racer1", "racer2"].map(async (name) => {
        const { session } = (await server.anonymous.post(`${CLIENT}/register`, body(name)).expect(401)).body;
        const auth = { type: "m.login.email.identity", session, threepid_creds: { sid, client_secret: request.client_secret } };
        return (await server.anonymous.post(`${CLIENT}/register`, { ...body(name), auth })).status;
      });
      assert.deepEqual((await Promise.all(attempts)).sort(), [200, 401]);
    });

    it("does not know phone numbers", async () => {
      await server.anonymous.get("/_matrix/client/unstable/registration/msisdn/submit_token?sid=a&client_secret=b&token=c").expect(400);
      const phone = { country: "GB", phone_number: "07470674927", client_secret: "a", send_attempt: 1 };
      await server.anonymous.post(`${CLIENT}/account/3pid/msisdn/requestToken`, phone).expect(403);
    });
  });

  describe("password reset", () => {
    it("sets a new password after the link was opened and confirmed, and ends all sessions", async () => {
      const user = await server.register("forgetful");
      const { email } = await addEmail(user);
      const request = { ...fresh(), email };
      const { sid } = (await server.anonymous.post(RESET, request).expect(200)).body;
      assert.equal(mails.last.headers.get("subject"), "[test] Password reset");
      const url = new URL(mails.lastLink(), "https://test");
      const reset = {
        new_password: "an even longer password",
        auth: { type: "m.login.email.identity", threepid_creds: { sid, client_secret: request.client_secret } },
      };
      const page = await server.anonymous.get(url.pathname + url.search).expect(200);
      assert.ok(page.text.includes(`value="${sid}"`));
      // Looking at the page is not enough.
      const { session } = (await server.anonymous.post(`${CLIENT}/account/password`, reset).expect(401)).body;
      const form = server.anonymous.request("post", url.pathname).type("form").send(url.searchParams.toString());
      await form.expect(200);
      await server.anonymous.post(`${CLIENT}/account/password`, { ...reset, auth: { ...reset.auth, session } }).expect(200);
      await server.as(user).get(`${CLIENT}/account/whoami`).expect(401);
      await server.anonymous.post(`${CLIENT}/login`, { type: "m.login.password", user: "forgetful", password: "an even longer password" }).expect(200);
      await server.anonymous.post(`${CLIENT}/account/password`, reset).expect(401);
    });

    it("is not started for unknown addresses", async () => {
      await server.anonymous
        .post(RESET, fresh())
        .expect(400)
        .expect(({ body }) => assert.equal(body.errcode, "M_THREEPID_NOT_FOUND"));
    });

    it("pages escape what they are given (advisory 49)", async () => {
      const evil = encodeURIComponent('"><script>alert(1)</script>');
      const path = "/_synapse/client/password_reset/email/submit_token";
      const page = await server.anonymous.get(`${path}?sid=${evil}&token=${evil}&client_secret=abc`).expect(200);
      assert.ok(!page.text.includes("<script>"));
      assert.match(page.headers["content-security-policy"]!, /frame-ancestors 'none'/);
      const failed = await server.anonymous.request("post", path).type("form").send(`sid=${evil}&token=${evil}&client_secret=abc`).expect(400);
      assert.ok(!failed.text.includes("<script>") && failed.text.includes("not reset"));
      const refused = await server.anonymous.get(`${path}?sid=a&token=b&client_secret=${evil}`).expect(400);
      assert.ok(!refused.text.includes("<script>") && refused.type === "text/html");
    });
  });

  it("forgets the addresses of a closed account (advisory 73)", async () => {
    const user = await server.register("leaver");
    const { email } = await addEmail(user);
    await server
      .as(user)
      .post(`${CLIENT}/account/deactivate`, { auth: uia(user) })
      .expect(200);
    assert.deepEqual(await query(server.ctx.read, "SELECT * FROM user_threepids WHERE address = $1", [email]), []);
    await server.anonymous.post(RESET, { ...fresh(), email }).expect(400);
  });
});

describe("verifying e-mail addresses with secrets kept", () => {
  let mails: MailServer;
  let server: TestServer;
  before(async function () {
    this.timeout(60_000);
    mails = await MailServer.start({ secure: true });
    server = await startTestServer({
      trustedAuthorities: [testCertificates().ca],
      config: {
        email: { smtp_host: "127.0.0.1", smtp_port: mails.port, force_tls: true, tlsname: "localhost", notif_from: "noreply@test" },
        request_token_inhibit_3pid_errors: true,
        rc_3pid_validation: { per_second: 0.001, burst_count: 3 },
      },
    });
    await server.ctx.transaction("test", async (txn) => {
      await query(
        txn,
        "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ('@known:test', 'email', 'known@example.org', 1, 1)",
      );
    });
  });
  after(async () => {
    await server.close();
    await mails.close();
  });

  it("answers alike for known and unknown addresses, and tells the owner instead", async () => {
    const known = await server.anonymous
      .post(REGISTER, { email: "known@example.org", client_secret: "a", send_attempt: 1 })
      .set("X-Forwarded-For", "10.0.0.1")
      .expect(200);
    assert.match(known.body.sid, /^\w{16}$/);
    assert.deepEqual([mails.last.to, mails.last.secure], [["known@example.org"], true]);
    assert.match(mails.last.headers.get("subject")!, /already in use/);
    const count = mails.mails.length;
    const unknown = await server.anonymous
      .post(RESET, { email: "unknown@example.org", client_secret: "a", send_attempt: 1 })
      .set("X-Forwarded-For", "10.0.0.1")
      .expect(200);
    assert.match(unknown.body.sid, /^\w{16}$/);
    assert.equal(mails.mails.length, count);
    const page = await server.anonymous
      .get(`/_matrix/client/unstable/registration/email/submit_token?sid=${known.body.sid}&client_secret=a&token=b`)
      .expect(400);
    assert.ok(!page.text.includes("Unknown session_id"));
  });

  it("limits requests by address of the client and by the address asked for", async () => {
    const ask = (email: string, ip: string) => server.anonymous.post(ADD, { email, client_secret: "limit", send_attempt: 1 }).set("X-Forwarded-For", ip);
    for (let i = 0; i < 3; i++) await ask(`a${i}@example.org`, "10.0.0.2").expect(200);
    await ask("a9@example.org", "10.0.0.2").expect(429);
    for (let i = 0; i < 3; i++) await ask("same@example.org", `10.0.1.${i}`).expect(200);
    await ask("same@example.org", "10.0.1.9").expect(429);
  });
});
