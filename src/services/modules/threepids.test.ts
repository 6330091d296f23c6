import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { testCertificates } from "../../testing/certificates.ts";
import { TestIdentityServer } from "../../testing/identity-server.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

describe("modules and addresses", function () {
  this.timeout(60_000);
  let identity: TestIdentityServer;
  let server: TestServer;
  let alice: TestUser;
  let roomId: string;
  const refused = new Set<string>();
  const asked: unknown[][] = [];

  before(async () => {
    identity = await TestIdentityServer.start();
    const module = testModule((_config, api) => {
      api.register_third_party_rules_callbacks({
        check_threepid_can_be_invited: (medium, address, state) => {
          asked.push(["third-party rules", medium, address, state.get("m.room.create")?.sender]);
          return !refused.has(`rules ${address}`);
        },
      });
      api.register_spam_checker_callbacks({
        user_may_send_3pid_invite: (...args) => {
          asked.push(["spam checker", ...args]);
          return refused.has(`spam ${args[2]}`) ? "M_FORBIDDEN" : api.NOT_SPAM;
        },
      });
      api.register_password_auth_provider_callbacks({
        is_3pid_allowed: (_medium, address, registration) => !(registration && address.endsWith("@closed.org")),
      });
    });
    server = await startTestServer({
      trustedAuthorities: [testCertificates().ca],
      config: { modules: [{ module }], ip_range_whitelist: ["127.0.0.1/32"], email: { notif_from: "test <t@example.org>", smtp_port: 1 } },
    });
    alice = await server.register("alice");
    roomId = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id as string;
  });
  after(async () => {
    await server?.close();
    await identity?.close();
  });
  beforeEach(() => {
    refused.clear();
    asked.length = 0;
    identity.requests.length = 0;
  });

  const invite = (address: string) =>
    server.as(alice).post(`${V3}/rooms/${roomId}/invite`, { medium: "email", address, id_server: identity.name, id_access_token: TestIdentityServer.TOKEN });

  it("invite whom the modules let pass", async () => {
    await invite("fine@example.org").expect(200);
    assert.deepEqual(asked, [
      ["third-party rules", "email", "fine@example.org", alice.userId],
      ["spam checker", alice.userId, "email", "fine@example.org", roomId],
    ]);
  });

  it("are refused by third-party rules before anybody is asked, and by spam checkers before anybody is written to", async () => {
    refused.add("rules a@example.org").add("spam b@example.org");
    assert.equal((await invite("a@example.org").expect(403)).body.error, "This third-party identifier can not be invited in this room");
    assert.equal(identity.requests.length, 0);
    assert.deepEqual((await invite("b@example.org").expect(403)).body, { errcode: "M_FORBIDDEN", error: "Cannot send threepid invite" });
    assert.ok(!identity.requests.some(({ path }) => path.endsWith("/store-invite")));
  });

  it("are refused to new accounts", async () => {
    const request = { email: "new@closed.org", client_secret: "secret", send_attempt: 1 };
    assert.equal((await server.anonymous.post(`${V3}/register/email/requestToken`, request).expect(403)).body.errcode, "M_THREEPID_DENIED");
  });
});
