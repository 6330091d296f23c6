import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { JsonObject } from "../../lib/json.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { verifyKey, verifyText } from "../../protocol/event/sign.ts";
import { isIdentityServer } from "../../outbound/identity-server.ts";
import { query } from "../../storage/database.ts";
import { testCertificates } from "../../testing/certificates.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { TestIdentityServer } from "../../testing/identity-server.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const CLIENT = "/_matrix/client/v3";
const TOKEN = TestIdentityServer.TOKEN;

describe("identity servers", () => {
  let identity: TestIdentityServer;
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async function () {
    this.timeout(60_000);
    identity = await TestIdentityServer.start();
    server = await startTestServer({
      trustedAuthorities: [testCertificates().ca],
      config: {
        ip_range_whitelist: ["127.0.0.1/32"],
        account_threepid_delegates: { msisdn: `https://${identity.name}` },
      },
    });
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
  });
  after(async () => {
    await server.close();
    await identity.close();
  });
  beforeEach(() => {
    identity.requests.length = 0;
    identity.failWith = undefined;
  });

  const uia = (user: TestUser): object => ({ type: "m.login.password", identifier: { type: "m.id.user", user: user.userId }, password: TEST_PASSWORD });
  const verified = (sid: string, address: string): void =>
    void identity.sessions.set(sid, { medium: "email", address, clientSecret: "secret", code: "", validatedAt: 1 });
  const bind = (user: TestUser, extra: object = {}) =>
    server.as(user).post(`${CLIENT}/account/3pid/bind`, { sid: "s1", client_secret: "secret", id_server: identity.name, id_access_token: TOKEN, ...extra });
  const bindings = (user: TestUser): Promise<object[]> =>
    query(server.ctx.read, "SELECT medium, address, id_server FROM user_threepid_id_server WHERE user_id = $1", [user.userId]);

  describe("binding", () => {
    it("is made with the client's token, remembered, and taken back with a signed request", async () => {
      verified("s1", "alice@example.org");
      await bind(alice).expect(200, {});
      assert.equal(identity.bindings.get("email alice@example.org"), alice.userId);
      assert.deepEqual(await bindings(alice), [{ medium: "email", address: "alice@example.org", id_server: identity.name }]);
      const { body } = await server.as(alice).post(`${CLIENT}/account/3pid/unbind`, { medium: "email", address: "alice@example.org" }).expect(200);
      assert.equal(body.id_server_unbind_result, "success");
      assert.equal(identity.bindings.size, 0);
      assert.deepEqual(await bindings(alice), []);
      const request = identity.requests.at(-1)!;
      const [, keyId, signature] = /key="([^"]+)",sig="([^"]+)"/.exec(request.authorization!)!;
      const signed = { method: "POST", uri: "/_matrix/identity/v2/3pid/unbind", origin: "test", destination_is: identity.name, content: request.body };
      const key = server.ctx.signingKeys[0]!;
      assert.ok(verifyText(canonicalJson(signed as JsonObject), signature!, verifyKey(keyId!, key.base64)!));
    });

    it("is not known of addresses that were bound elsewhere", async () => {
      const { body } = await server.as(alice).post(`${CLIENT}/account/3pid/unbind`, { medium: "email", address: "nobody@example.org" }).expect(200);
      assert.equal(body.id_server_unbind_result, "no-support");
      assert.equal(identity.requests.length, 0);
    });

    it("tells what the identity server says of a wrong session or token", async () => {
      await bind(alice, { sid: "unknown" })
        .expect(404)
        .expect(({ body }) => assert.equal(body.errcode, "M_NO_VALID_SESSION"));
      await bind(alice, { id_access_token: "wrong" })
        .expect(401)
        .expect(({ body }) => assert.equal(body.errcode, "M_UNAUTHORIZED"));
      await bind(alice, { id_access_token: "a\r\nX: y" }).expect(502);
      assert.deepEqual(await bindings(alice), []);
    });

    it("goes with the account, which stays open when the identity server fails", async () => {
      const carol = await server.register("carol");
      verified("s1", "carol@example.org");
      await bind(carol).expect(200);
      identity.failWith = { status: 500, body: {} };
      await server
        .as(carol)
        .post(`${CLIENT}/account/deactivate`, { auth: uia(carol) })
        .expect(400);
      identity.failWith = undefined;
      const { body } = await server
        .as(carol)
        .post(`${CLIENT}/account/deactivate`, { auth: uia(carol) })
        .expect(200);
      assert.equal(body.id_server_unbind_result, "success");
      assert.deepEqual([identity.bindings.has("email carol@example.org"), await bindings(carol)], [false, []]);
    });

    it("is not attempted at what is no identity server, nor at private addresses", async () => {
      for (const id_server of ["https://x.org", "x.org?y", "x.org#y", "user@x.org", "", "x.org/../a", "a b", "x".repeat(500), "x.org/%2e%2e/a"]) {
        await bind(alice, { id_server }).expect(400);
        await server
          .as(alice)
          .post(`${CLIENT}/account/3pid/delete`, { medium: "email", address: "a@b", id_server: id_server || "/" })
          .expect(400);
      }
      const inside = createServer((_req, res) => res.end("{}"));
      let asked = false;
      inside.on("connection", () => (asked = true));
      await new Promise<void>((resolve) => inside.listen(0, "127.0.0.2", resolve));
      const { port } = inside.address() as AddressInfo;
      for (const id_server of [`127.0.0.2:${port}`, `[::ffff:127.0.0.2]:${port}`, "10.0.0.1:1", "169.254.169.254"])
        await bind(alice, { id_server }).expect(502);
      assert.equal(asked, false);
      await new Promise((resolve) => inside.close(resolve));
    });

    it("takes servers with port and path", () => {
      for (const good of ["x.org", "x.org:8090", "x.org/identity", "[::1]:80/a/b"]) assert.ok(isIdentityServer(good), good);
    });
  });

  describe("invites by address", () => {
    const invite = (roomId: string, address: string, extra: object = {}) =>
      server.as(alice).post(`${CLIENT}/rooms/${roomId}/invite`, { medium: "email", address, id_server: identity.name, id_access_token: TOKEN, ...extra });
    const room = async (): Promise<string> => (await server.as(alice).post(`${CLIENT}/createRoom`, { name: "A <b>room</b>" }).expect(200)).body.room_id;
    const state = (roomId: string, path: string) => server.as(alice).get(`${CLIENT}/rooms/${roomId}/state/${path}`);

    it("reach the user whose address is bound, whom only a hash of it was sent for", async () => {
      identity.bindings.set("email bob@example.org", bob.userId);
      for (const algorithms of [["sha256", "none"], ["none"]]) {
        identity.algorithms = algorithms;
        const roomId = await room();
        await invite(roomId, "BOB@example.org").expect(200);
        assert.equal((await state(roomId, `m.room.member/${bob.userId}`).expect(200)).body.membership, "invite");
        const asked = identity.requests.find(({ path }) => path.endsWith("/lookup"))!;
        assert.equal(JSON.stringify(asked.body).includes("bob@example.org"), algorithms.length === 1);
        identity.requests.length = 0;
      }
      identity.algorithms = ["sha256", "none"];
    });

    it("wait for whoever owns the address one day, and are exchanged when it is bound", async () => {
      const roomId = await room();
      await invite(roomId, "future@example.org").expect(200);
      const stored = identity.requests.find(({ path }) => path.endsWith("/store-invite"))!;
      assert.deepEqual(
        [stored.body.address, stored.body.room_id, stored.body.sender, stored.body.room_name],
        ["future@example.org", roomId, alice.userId, "A <b>room</b>"],
      );
      const pending = (await state(roomId, "m.room.third_party_invite/invite-token").expect(200)).body;
      assert.deepEqual([pending.display_name, pending.public_key], ["f...@e...", identity.publicKey]);

      const signed = identity.signInvite("invite-token", bob.userId, alice.userId);
      const onbind = (extra: object = {}) =>
        server.anonymous.post("/_matrix/federation/v1/3pid/onbind", {
          medium: "email",
          address: "future@example.org",
          mxid: bob.userId,
          invites: [{ medium: "email", address: "future@example.org", mxid: bob.userId, room_id: roomId, sender: alice.userId, signed, ...extra }],
        });
      // Forged, for another user, by a key that is not good any more.
      await onbind({ signed: { ...signed, signatures: { [identity.name]: { "ed25519:identity": "A".repeat(86) } } } }).expect(403);
      await onbind({ mxid: alice.userId }).expect(400);
      await onbind({ sender: bob.userId }).expect(403);
      identity.keyValid = false;
      await onbind().expect(403);
      identity.keyValid = true;
      await onbind().expect(200);
      // As the specification has it; identity servers send POST.
      await server.anonymous
        .put("/_matrix/federation/v1/3pid/onbind", { medium: "email", address: "x@example.org", mxid: bob.userId, invites: [] })
        .expect(200, {});
      const member = (await state(roomId, `m.room.member/${bob.userId}`).expect(200)).body;
      assert.deepEqual([member.membership, member.third_party_invite.display_name], ["invite", "f...@e..."]);
      await server.as(bob).post(`${CLIENT}/join/${roomId}`).expect(200);
    });

    it("are sent as if nobody owned the address when the identity server cannot look it up", async () => {
      const roomId = await room();
      identity.algorithms = ["rot13"];
      await invite(roomId, "odd@example.org").expect(200);
      identity.algorithms = ["sha256", "none"];
      await state(roomId, `m.room.third_party_invite/${identity.invites.at(-1)!.token}`).expect(200);
    });

    it("fail with the identity server", async () => {
      const roomId = await room();
      identity.failWith = { status: 200, body: "not json" };
      await invite(roomId, "x@example.org").expect(502);
      identity.failWith = undefined;
      await invite(roomId, "x@example.org", { id_server: "a b" }).expect(400);
      await invite(roomId, "x@example.org", { id_access_token: "wrong" }).expect(401);
      await invite(roomId, "x@example.org", { id_access_token: undefined })
        .expect(400)
        .expect(({ body }) => assert.equal(body.errcode, "M_MISSING_PARAM"));
    });

    it("do not ask about keys at private addresses (advisory 51)", async () => {
      const roomId = await room();
      const inside = createServer((_req, res) => res.end('{"valid":true}'));
      let asked = false;
      inside.on("connection", () => (asked = true));
      await new Promise<void>((resolve) => inside.listen(0, "127.0.0.2", resolve));
      const { port } = inside.address() as AddressInfo;
      await server
        .as(alice)
        .put(`${CLIENT}/rooms/${roomId}/state/m.room.third_party_invite/mine`, {
          display_name: "x",
          public_key: identity.publicKey,
          key_validity_url: `http://127.0.0.2:${port}/`,
        })
        .expect(200);
      const signed = identity.signInvite("mine", bob.userId, alice.userId);
      await server.anonymous
        .post("/_matrix/federation/v1/3pid/onbind", { invites: [{ mxid: bob.userId, room_id: roomId, sender: alice.userId, signed }] })
        .expect(502);
      assert.equal(asked, false);
      await new Promise((resolve) => inside.close(resolve));
    });
  });

  describe("phone numbers by delegate", () => {
    const PHONE = { country: "GB", phone_number: "07470 674927", client_secret: "phone", send_attempt: 1 };

    it("are verified there, added, and used to log in and to register", async () => {
      const { body } = await server.as(alice).post(`${CLIENT}/account/3pid/msisdn/requestToken`, PHONE).expect(200);
      assert.equal(body.submit_url, "https://test/_matrix/client/unstable/add_threepid/msisdn/submit_token");
      const submit = (token: string) =>
        server.anonymous.post("/_matrix/client/unstable/add_threepid/msisdn/submit_token", { sid: body.sid, client_secret: "phone", token });
      const add = { sid: body.sid, client_secret: "phone", auth: uia(alice) };
      await submit("000000").expect(400);
      await server.as(alice).post(`${CLIENT}/account/3pid/add`, add).expect(400);
      await submit("123456").expect(200, { success: true });
      await server.as(alice).post(`${CLIENT}/account/3pid/add`, add).expect(200);
      const { threepids } = (await server.as(alice).get(`${CLIENT}/account/3pid`).expect(200)).body;
      assert.deepEqual(
        threepids.map(({ medium, address }: { medium: string; address: string }) => [medium, address]),
        [["msisdn", "447470674927"]],
      );
      const login = { type: "m.login.password", identifier: { type: "m.id.phone", country: "GB", phone: "07470674927" }, password: TEST_PASSWORD };
      assert.equal((await server.anonymous.post(`${CLIENT}/login`, login).expect(200)).body.user_id, alice.userId);
      for (const path of ["account/3pid", "register"]) {
        await server.anonymous
          .post(`${CLIENT}/${path}/msisdn/requestToken`, PHONE)
          .expect(400)
          .expect(({ body: error }) => assert.equal(error.errcode, "M_THREEPID_IN_USE"));
      }
    });

    it("register accounts", async () => {
      const name = { username: "caller", password: "a long password of mine" };
      const { flows, session } = (await server.anonymous.post(`${CLIENT}/register`, name).expect(401)).body;
      assert.deepEqual(flows, [{ stages: ["m.login.dummy"] }, { stages: ["m.login.msisdn"] }]);
      const { sid } = (await server.anonymous.post(`${CLIENT}/register/msisdn/requestToken`, { ...PHONE, phone_number: "07470 674928" }).expect(200)).body;
      await server.anonymous.post("/_matrix/client/unstable/add_threepid/msisdn/submit_token", { sid, client_secret: "phone", token: "123456" }).expect(200);
      const made = (
        await server.anonymous
          .post(`${CLIENT}/register`, { ...name, auth: { type: "m.login.msisdn", session, threepid_creds: { sid, client_secret: "phone" } } })
          .expect(200)
      ).body;
      const { threepids } = (await server.as({ accessToken: made.access_token }).get(`${CLIENT}/account/3pid`).expect(200)).body;
      assert.equal(threepids[0].address, "447470674928");
    });

    it("are refused when they are none", async () => {
      const path = `${CLIENT}/account/3pid/msisdn/requestToken`;
      for (const extra of [
        { phone_number: "hello" },
        { phone_number: "" },
        { country: "gb" },
        { country: "ZZ", phone_number: "1" },
        { country: 5 },
        { phone_number: "1".repeat(10_000) },
        { client_secret: "x y" },
      ]) {
        await server.anonymous.post(path, { ...PHONE, ...extra }).expect(400);
      }
      await server.anonymous.post(path, { ...PHONE, next_link: "javascript:alert(1)" }).expect(400);
    });
  });
});

describe("phone numbers by codes of this server (myelin.sms)", () => {
  let server: TestServer;
  const sent: { to: string; text: string; key: string | undefined }[] = [];
  const clock = new FakeClock();
  const provider = createServer((req, res) => {
    let body = "";
    req.on("data", (chunk: Buffer) => (body += chunk.toString()));
    req.on("end", () => {
      sent.push({ ...(JSON.parse(body) as { to: string; text: string }), key: req.headers["x-key"] as string | undefined });
      res.end("queued");
    });
  });
  const PHONE = { country: "GB", phone_number: "07470 674927", client_secret: "phone", send_attempt: 1 };

  before(async function () {
    this.timeout(60_000);
    await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
    const { port } = provider.address() as AddressInfo;
    server = await startTestServer({
      clock,
      config: { myelin: { sms: { url: `http://127.0.0.1:${port}/send`, headers: { "X-Key": "k" }, text: "Code %(code)s for %(server_name)s" } } },
    });
  });
  after(async () => {
    await server.close();
    provider.closeAllConnections();
    await new Promise((resolve) => provider.close(resolve));
  });

  const submit = (sid: string, token: string) =>
    server.anonymous.post("/_matrix/client/unstable/add_threepid/msisdn/submit_token", { sid, client_secret: "phone", token });
  const lastCode = (): string => /^Code (\d{6}) for test$/.exec(sent.at(-1)!.text)![1]!;

  it("are verified by the code, and reset a forgotten password", async () => {
    const user = await server.register("dialler");
    const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: user.userId }, password: TEST_PASSWORD };
    const { sid } = (await server.as(user).post(`${CLIENT}/account/3pid/msisdn/requestToken`, PHONE).expect(200)).body;
    assert.deepEqual([sent.at(-1)!.to, sent.at(-1)!.key], ["+447470674927", "k"]);
    await submit(sid, lastCode()).expect(200, { success: true });
    await server.as(user).post(`${CLIENT}/account/3pid/add`, { sid, client_secret: "phone", auth }).expect(200);

    const reset = (await server.anonymous.post(`${CLIENT}/account/password/msisdn/requestToken`, PHONE).expect(200)).body;
    await submit(reset.sid, lastCode()).expect(200);
    const first = await server.anonymous.post(`${CLIENT}/account/password`, { new_password: "an even longer password" }).expect(401);
    assert.deepEqual(first.body.flows, [{ stages: ["m.login.email.identity"] }, { stages: ["m.login.msisdn"] }]);
    const proof = { type: "m.login.msisdn", session: first.body.session, threepid_creds: { sid: reset.sid, client_secret: "phone" } };
    await server.anonymous.post(`${CLIENT}/account/password`, { new_password: "an even longer password", auth: proof }).expect(200);
    await server.anonymous.post(`${CLIENT}/login`, { type: "m.login.password", user: "dialler", password: "an even longer password" }).expect(200);
    await server.anonymous.post(`${CLIENT}/account/password/msisdn/requestToken`, { ...PHONE, phone_number: "07470 674929" }).expect(400);
  });

  it("take five guesses and then one a minute, and no code that is too old", async () => {
    const { sid } = (await server.anonymous.post(`${CLIENT}/register/msisdn/requestToken`, { ...PHONE, phone_number: "07470 674930" }).expect(200)).body;
    const code = lastCode();
    const wrong = code === "000000" ? "000001" : "000000";
    for (let i = 0; i < 5; i++) await submit(sid, wrong).expect(400);
    await submit(sid, code).expect(429);
    clock.advance(60_001);
    await submit(sid, code).expect(200);
    const late = (await server.anonymous.post(`${CLIENT}/register/msisdn/requestToken`, { ...PHONE, phone_number: "07470 674931" }).expect(200)).body;
    clock.advance(15 * 60_000);
    await submit(late.sid, lastCode()).expect(400);
    // A code counts for its session alone.
    const other = (await server.anonymous.post(`${CLIENT}/register/msisdn/requestToken`, { ...PHONE, phone_number: "07470 674932" }).expect(200)).body;
    await submit(late.sid, lastCode()).expect(400);
    await submit(other.sid, lastCode()).expect(200);
  });
});
