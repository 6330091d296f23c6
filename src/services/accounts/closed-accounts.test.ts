import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, it } from "mocha";
import { setUserFlags, type UserFlags } from "../../storage/accounts/users.ts";
import { startTestAppservice, type TestAppservice } from "../../testing/appservice.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";
import { addThreepid } from "../threepid/threepids.ts";
import { createLoginToken } from "./login.ts";

const LOGIN = "/_matrix/client/v3/login";
const SECRET = "a secret of the tests that is long enough";

/** Single sign-on has its own tests of the same (OpenID Connect, SAML2, CAS), and so have tokens of the Matrix Authentication Service. */
describe("deactivated and locked accounts", function () {
  this.timeout(60_000);
  let server: TestServer;
  let bridge: TestAppservice;
  let count = 0;

  before(async () => {
    bridge = await startTestAppservice();
    const file = bridge.registration({ namespaces: { users: [{ exclusive: false, regex: "@closed.*" }], aliases: [], rooms: [] } });
    const module = testModule((_config, api) => {
      api.register_password_auth_provider_callbacks({
        auth_checkers: [{ login_type: "org.test.ticket", fields: ["ticket"], check_auth: (name) => [api.get_qualified_user_id(name)] }],
        check_3pid_auth: (_medium, address, password) => (password === "by the module" ? [`@${address.split("@")[0]}:test`] : null),
      });
    });
    const shared = { module: "shared_secret_authenticator.SharedSecretAuthProvider", config: { shared_secret: SECRET } };
    server = await startTestServer({
      config: {
        app_service_config_files: [file],
        jwt_config: { enabled: true, secret: SECRET, algorithm: "HS256" },
        modules: [{ module }, shared],
        refreshable_access_token_lifetime: "1h",
        rc_login: { address: PLENTY, account: PLENTY, failed_attempts: PLENTY },
      },
    });
  });
  after(async () => {
    await server?.close();
    await bridge?.close();
  });

  const PLENTY = { per_second: 1000, burst_count: 1000 };
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const jwt = (sub: string): string => {
    const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub })}`;
    return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
  };
  const password = (identifier: object, secret = TEST_PASSWORD) => server.anonymous.post(LOGIN, { type: "m.login.password", identifier, password: secret });

  /** By name, what each way of logging in sends. `before` is made while the account is open. */
  const ways: Readonly<
    Record<string, (user: TestUser, name: string, before: { token: string; refresh: string }) => ReturnType<TestServer["anonymous"]["post"]>>
  > = {
    "a password": (_user, name) => password({ type: "m.id.user", user: name }),
    "a password, by the whole id in other letters": (user) => password({ type: "m.id.user", user: user.userId.toUpperCase().replace(":TEST", ":test") }),
    "a password and an e-mail address": (_user, name) => password({ type: "m.id.thirdparty", medium: "email", address: `${name}@example.org` }),
    "a password and a phone number": (_user, _name) => password({ type: "m.id.phone", country: "GB", phone: `0770090000${count}` }),
    "a login token": (_user, _name, { token }) => server.anonymous.post(LOGIN, { type: "m.login.token", token }),
    "a JSON web token": (_user, name) => server.anonymous.post(LOGIN, { type: "org.matrix.login.jwt", token: jwt(name) }),
    "an application service": (user) =>
      server.as({ accessToken: bridge.asToken }).post(LOGIN, { type: "m.login.application_service", identifier: { type: "m.id.user", user: user.userId } }),
    "a module's own type": (user) =>
      server.anonymous.post(LOGIN, { type: "org.test.ticket", ticket: "x", identifier: { type: "m.id.user", user: user.userId } }),
    "a module's word for an address": (_user, name) =>
      password({ type: "m.id.thirdparty", medium: "email", address: `${name}@elsewhere.org` }, "by the module"),
    "the shared secret": (user) =>
      server.anonymous.post(LOGIN, {
        type: "com.devture.shared_secret_auth",
        identifier: { type: "m.id.user", user: user.userId },
        token: createHmac("sha512", SECRET).update(user.userId).digest("hex"),
      }),
    "a refresh token": (_user, _name, { refresh }) => server.anonymous.post("/_matrix/client/v3/refresh", { refresh_token: refresh }),
  };

  async function openAccount(): Promise<{ user: TestUser; name: string; before: { token: string; refresh: string } }> {
    const name = `closed${++count}`;
    const user = await server.register(name);
    const validatedAt = server.ctx.clock.now();
    await addThreepid(server.ctx, user.userId, { medium: "email", address: `${name}@example.org`, validatedAt });
    await addThreepid(server.ctx, user.userId, { medium: "msisdn", address: `44770090000${count}`, validatedAt });
    const { body } = await server.anonymous
      .post(LOGIN, { type: "m.login.password", identifier: { type: "m.id.user", user: name }, password: TEST_PASSWORD, refresh_token: true })
      .expect(200);
    return { user, name, before: { token: await createLoginToken(server.ctx, user.userId), refresh: body.refresh_token as string } };
  }

  it("would be let in by every one of these ways while they are open", async () => {
    const { user, name, before } = await openAccount();
    for (const [way, ask] of Object.entries(ways)) {
      const { status, body } = await ask(user, name, before);
      assert.equal(status, 200, `${way}: ${JSON.stringify(body)}`);
    }
  });

  for (const [state, flags, status, errcode] of [
    ["deactivated", { deactivated: true }, 403, "M_USER_DEACTIVATED"],
    ["locked", { locked: true }, 401, "M_USER_LOCKED"],
  ] as const satisfies readonly (readonly [string, UserFlags, number, string])[]) {
    it(`that are ${state} come in by none (CVE-2023-32682, advisories 33, 82 and 105)`, async () => {
      const { user, name, before } = await openAccount();
      await server.ctx.transaction("test", (txn) => setUserFlags(txn, server.ctx.accounts, user.userId, flags));
      const answers: Record<string, unknown> = {};
      for (const [way, ask] of Object.entries(ways)) {
        let { status: got, body } = await ask(user, name, before);
        // As in Synapse a locked session may be kept fresh, for the day when it is unlocked: until then its tokens are good for nothing.
        if (way === "a refresh token" && got === 200)
          ({ status: got, body } = await server.as({ accessToken: body.access_token as string }).get("/_matrix/client/v3/account/whoami"));
        if (got !== status || body.errcode !== errcode || "access_token" in body) answers[way] = [got, body.errcode];
      }
      assert.deepEqual(answers, {});
    });
  }
});
