import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { query, queryOne } from "../../storage/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { MailServer } from "../../testing/mail-server.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { giveExpiries } from "./validity.ts";

const CLIENT = "/_matrix/client/v3";
const DAY = 86_400_000;

describe("terms", () => {
  let folder: string;
  let server: TestServer;
  let alice: TestUser;

  before(async function () {
    this.timeout(60_000);
    folder = mkdtempSync(path.join(tmpdir(), "myelin-terms-"));
    mkdirSync(path.join(folder, "terms", "en"), { recursive: true });
    mkdirSync(path.join(folder, "terms-secret", "en"), { recursive: true });
    writeFileSync(
      path.join(folder, "terms", "en", "1.0.html"),
      "Terms for {{ user }} version {{ version }}{% if not public_version %}{% if has_consented %} agreed{% else %} <input name=h value={{ userhmac }}>{% endif %}{% endif %}",
    );
    writeFileSync(path.join(folder, "terms", "en", "success.html"), "Thanks");
    writeFileSync(path.join(folder, "terms-secret", "en", "x.html"), "a secret");
    server = await startTestServer({
      config: {
        user_consent: {
          version: "1.0",
          template_dir: path.join(folder, "terms"),
          block_events_error: "Agree at %(consent_uri)s first",
          require_at_registration: true,
        },
      },
    });
    alice = await server.register("alice");
  });
  after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const mac = (user: string): string => createHmac("sha256", "form secret of the tests").update(user).digest("hex");
  const post = (fields: Record<string, string>) =>
    server.anonymous.request("post", "/_matrix/consent").type("form").send(new URLSearchParams(fields).toString());
  const consented = async (userId: string): Promise<string | null> =>
    (await queryOne<{ version: string | null }>(server.ctx.read, "SELECT consent_version AS version FROM users WHERE name = $1", [userId]))!.version;

  it("are shown to everybody", async () => {
    const { text, type } = await server.anonymous.get("/_matrix/consent").expect(200);
    assert.deepEqual([text, type], ["Terms for  version 1.0", "text/html"]);
    await server.anonymous.get("/_matrix/consent?v=1.0").expect(200);
  });

  it("keep a user from sending until agreed to by the link of the error", async () => {
    const { body } = await server.as(alice).post(`${CLIENT}/createRoom`).expect(403);
    assert.equal(body.errcode, "M_CONSENT_NOT_GIVEN");
    assert.equal(body.consent_uri, `https://test/_matrix/consent?u=alice&h=${mac("alice")}`);
    assert.equal(body.error, `Agree at ${body.consent_uri} first`);
    const page = await server.anonymous.get(new URL(body.consent_uri).pathname + new URL(body.consent_uri).search).expect(200);
    assert.ok(page.text.includes(`value=${mac("alice")}`));
    assert.equal((await post({ u: "alice", h: mac("alice"), v: "1.0" }).expect(200)).text, "Thanks");
    assert.equal(await consented(alice.userId), "1.0");
    await server.as(alice).post(`${CLIENT}/createRoom`).expect(200);
    assert.match((await server.anonymous.get(`/_matrix/consent?u=alice&h=${mac("alice")}`).expect(200)).text, /agreed$/);
    assert.match((await server.anonymous.get(`/_matrix/consent?u=${encodeURIComponent(alice.userId)}&h=${mac(alice.userId)}`).expect(200)).text, /agreed$/);
  });

  it("are agreed to by nobody with a forged link, of an unknown user, or in an unknown version", async () => {
    const bob = await server.register("bob");
    for (const h of [mac("alice"), "", "0".repeat(64), mac("bob").toUpperCase()]) await post({ u: "bob", h, v: "1.0" }).expect(403);
    await server.anonymous.get(`/_matrix/consent?u=bob&h=${mac("alice")}`).expect(403);
    await server.anonymous.get("/_matrix/consent?u=bob").expect(400);
    await post({ u: "bob", v: "1.0" }).expect(400);
    await post({ u: "bob", h: mac("bob") }).expect(400);
    await post({ u: "nobody", h: mac("nobody"), v: "1.0" }).expect(404);
    await post({ u: "a\0", h: mac("a\0"), v: "1.0" }).expect(404);
    for (const version of ["2.0", "../1.0", "..\\1.0", "../../terms-secret/en/x", "", ".", "1.0\0", "x".repeat(10_000)]) {
      const { text } = await post({ u: "bob", h: mac("bob"), v: version }).expect(404);
      assert.ok(!text.includes("secret"));
    }
    assert.equal(await consented(bob.userId), null);
  });

  it("show errors as pages without markup of the caller's", async () => {
    const { text, type } = await server.anonymous.get(`/_matrix/consent?u=%3Cscript%3E&h=x`).expect(403);
    assert.deepEqual([type, text.includes("<script>"), text.includes("HMAC incorrect")], ["text/html", false, true]);
  });

  it("show a name as text, not as a template or markup", async () => {
    const name = "{{ 7 * 7 }}<b>";
    await server.ctx.transaction("test", async (txn) => await query(txn, "INSERT INTO users (name, creation_ts) VALUES ($1, 0)", [`@${name}:test`]));
    const { text } = await server.anonymous.get(`/_matrix/consent?${new URLSearchParams({ u: name, h: mac(name) }).toString()}`).expect(200);
    assert.match(text, /^Terms for {{ 7 \* 7 }}&lt;b&gt; version/);
  });

  it("are a stage of registration", async () => {
    const wanted = { username: "newcomer", password: "a long password of mine" };
    const { flows, params, session } = (await server.anonymous.post(`${CLIENT}/register`, wanted).expect(401)).body;
    assert.deepEqual(flows, [{ stages: ["m.login.terms", "m.login.dummy"] }]);
    assert.equal(params["m.login.terms"].policies.privacy_policy.en.url, "https://test/_matrix/consent?v=1.0");
    await server.anonymous.post(`${CLIENT}/register`, { ...wanted, auth: { session, type: "m.login.terms" } }).expect(401);
    await server.anonymous.post(`${CLIENT}/register`, { ...wanted, auth: { session, type: "m.login.dummy" } }).expect(200);
    assert.equal(await consented("@newcomer:test"), "1.0");
  });
});

describe("recaptcha", () => {
  let provider: Server;
  let server: TestServer;
  const asked: URLSearchParams[] = [];
  let answer: { status: number; body: string };

  before(async function () {
    this.timeout(60_000);
    provider = createServer((req, res) => {
      let body = "";
      req.on("data", (chunk: Buffer) => (body += chunk.toString()));
      req.on("end", () => {
        asked.push(new URLSearchParams(body));
        res.writeHead(answer.status).end(answer.body);
      });
    });
    await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
    const { port } = provider.address() as AddressInfo;
    server = await startTestServer({
      config: {
        enable_registration_captcha: true,
        recaptcha_public_key: "public",
        recaptcha_private_key: "private",
        recaptcha_siteverify_api: `http://127.0.0.1:${port}/verify`,
      },
    });
  });
  after(async () => {
    await server.close();
    provider.closeAllConnections();
    await new Promise((resolve) => provider.close(resolve));
  });

  it("lets in whom the provider takes for a person, and nobody when it does not answer", async () => {
    const wanted = { username: "person", password: "a long password of mine" };
    const { flows, session } = (await server.anonymous.post(`${CLIENT}/register`, wanted).expect(401)).body;
    assert.deepEqual(flows, [{ stages: ["m.login.recaptcha", "m.login.dummy"] }]);
    const attempt = async (): Promise<string[]> => {
      const auth = { session, type: "m.login.recaptcha", response: "puzzle solved" };
      return (
        await server.anonymous
          .post(`${CLIENT}/register`, { ...wanted, auth })
          .set("X-Forwarded-For", "192.0.2.7")
          .expect(401)
      ).body.completed;
    };
    for (const wrong of [
      { status: 200, body: '{"success":false}' },
      { status: 200, body: '{"success":"true"}' },
      { status: 500, body: "" },
      { status: 200, body: "nonsense" },
    ]) {
      answer = wrong;
      assert.deepEqual(await attempt(), []);
    }
    answer = { status: 200, body: '{"success":true,"hostname":"app"}' };
    assert.deepEqual(await attempt(), ["m.login.recaptcha"]);
    assert.deepEqual(Object.fromEntries(asked.at(-1)!), { secret: "private", response: "puzzle solved", remoteip: "192.0.2.7" });
    await server.anonymous.post(`${CLIENT}/register`, { ...wanted, auth: { session, type: "m.login.dummy" } }).expect(200);
  });
});

describe("pages of authentication stages", () => {
  it("escape what they are given (advisory 53)", async function () {
    this.timeout(60_000);
    const server = await startTestServer({ config: { registration_requires_token: true } });
    try {
      const evil = encodeURIComponent('"><script>alert(1)</script>');
      const fallback = `${CLIENT}/auth/m.login.registration_token/fallback/web`;
      const page = await server.anonymous.get(`${fallback}?session=${evil}`).expect(200);
      assert.ok(!page.text.includes("<script>alert"));
      assert.match(page.headers["content-security-policy"]!, /frame-ancestors 'none'/);
      const failed = await server.anonymous.request("post", fallback).type("form").send(`session=${evil}&token=${evil}`);
      assert.deepEqual([failed.status, failed.type], [400, "application/json"]);
      const { session } = (await server.anonymous.post(`${CLIENT}/register`, { username: "a", password: "a long password" }).expect(401)).body;
      const again = await server.anonymous.request("post", fallback).type("form").send(`session=${session}&token=${evil}`).expect(200);
      assert.ok(again.text.includes("Invalid registration token") && !again.text.includes("<script>alert"));
    } finally {
      await server.close();
    }
  });
});

describe("accounts that expire", () => {
  let mails: MailServer;
  let server: TestServer;
  const clock = new FakeClock();

  before(async function () {
    this.timeout(60_000);
    mails = await MailServer.start();
    server = await startTestServer({
      clock,
      config: {
        account_validity: { enabled: true, period: "10d", renew_at: "2d", renew_email_subject: "Renew %(app)s" },
        email: { smtp_host: "127.0.0.1", smtp_port: mails.port, notif_from: "noreply@test" },
      },
    });
  });
  after(async () => {
    await server.close();
    await mails.close();
  });

  async function withEmail(name: string): Promise<TestUser> {
    const user = await server.register(name);
    await server.ctx.transaction("test", async (txn) => {
      await query(txn, "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ($1, 'email', $2, 1, 1)", [
        user.userId,
        `${name}@example.org`,
      ]);
    });
    return user;
  }
  const row = (user: TestUser) =>
    queryOne<Record<string, unknown>>(
      server.ctx.read,
      "SELECT expiration_ts_ms, email_sent, renewal_token, token_used_ts_ms FROM account_validity WHERE user_id = $1",
      [user.userId],
    );

  it("are written to once before their end, and renewed by the link once", async () => {
    const user = await withEmail("alice");
    const alone = await server.register("nomail");
    const end = clock.now() + 10 * DAY;
    await server.as(user).put(`${CLIENT}/profile/${user.userId}/displayname`, { displayname: "<img src=x> {{ 7*7 }}" }).expect(200);
    clock.advance(7 * DAY);
    await server.server.jobs.runOnce("send_renewals");
    assert.equal(mails.mails.length, 0);
    clock.advance(2 * DAY);
    await server.server.jobs.runOnce("send_renewals");
    await server.server.jobs.runOnce("send_renewals");
    assert.equal(mails.mails.length, 1);
    const { headers, html, text, to } = mails.last;
    assert.deepEqual([to, headers.get("subject")], [["alice@example.org"], "Renew Matrix"]);
    // A display name is neither markup nor a template (advisory 48).
    assert.ok(html.includes("&lt;img src=x&gt; {{ 7*7 }}") && !html.includes("<img"));
    assert.ok(text.includes("<img src=x> {{ 7*7 }}"));
    assert.deepEqual(await row(alone), { expiration_ts_ms: end, email_sent: false, renewal_token: null, token_used_ts_ms: null });

    clock.advance(2 * DAY);
    await server
      .as(user)
      .get(`${CLIENT}/account/whoami`)
      .expect(403)
      .expect(({ body }) => assert.equal(body.errcode, "ORG_MATRIX_EXPIRED_ACCOUNT"));
    const page = await server.anonymous.get(mails.lastLink()).expect(200);
    assert.match(page.text, /Your account is renewed/);
    await server.as(user).get(`${CLIENT}/account/whoami`).expect(200);
    const renewed = await row(user);
    assert.deepEqual([renewed!.expiration_ts_ms, renewed!.email_sent, renewed!.token_used_ts_ms], [clock.now() + 10 * DAY, false, clock.now()]);
    clock.advance(DAY);
    assert.match((await server.anonymous.get(mails.lastLink()).expect(200)).text, /renewed already/);
    assert.deepEqual(await row(user), renewed);
  });

  it("are not renewed by forged tokens", async () => {
    const renew = "/_matrix/client/unstable/account_validity/renew";
    for (const token of ["wrong", "", "%00", "x".repeat(5000), "%3Cscript%3E"]) {
      const { text } = await server.anonymous.get(`${renew}?token=${token}`).expect(404);
      assert.ok(!text.includes("<script>"));
    }
    await server.anonymous.get(renew).expect(400);
  });

  it("may ask for the mail when they have expired, and an old link is good no more", async () => {
    const user = await withEmail("late");
    clock.advance(11 * DAY);
    await server.as(user).get(`${CLIENT}/account/whoami`).expect(403);
    await server.as(user).post(`${CLIENT}/account_validity/send_mail`).expect(200);
    const first = mails.lastLink();
    await server.as(user).post(`${CLIENT}/account_validity/send_mail`).expect(200);
    await server.anonymous.get(first).expect(404);
    await server.anonymous.get(mails.lastLink()).expect(200);
    await server.as(user).get(`${CLIENT}/account/whoami`).expect(200);
  });

  it("get the mail though another one's could not be sent", async () => {
    const [one, two] = [await withEmail("one"), await withEmail("two")];
    await server.ctx.transaction("test", async (txn) => {
      await query(txn, "UPDATE user_threepids SET address = 'no address' WHERE user_id = $1", [one.userId]);
    });
    clock.advance(9 * DAY);
    await server.server.jobs.runOnce("send_renewals");
    assert.ok(mails.mails.some(({ to }) => to[0] === "two@example.org"));
    assert.deepEqual([(await row(one))!.email_sent, (await row(two))!.email_sent], [false, true]);
  });

  it("get an expiry at the start where they have none, within the last tenth of the period", async () => {
    const user = await server.register("old");
    await server.ctx.transaction("test", async (txn) => await query(txn, "DELETE FROM account_validity WHERE user_id = $1", [user.userId]));
    await giveExpiries(server.ctx);
    const expiry = (await row(user))!.expiration_ts_ms as number;
    assert.ok(expiry > clock.now() + 9 * DAY && expiry <= clock.now() + 10 * DAY);
  });
});
