import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "mocha";
import { eventually } from "../../testing/eventually.ts";
import { testCertificates } from "../../testing/certificates.ts";
import { TestLdapServer } from "../../testing/ldap-server.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

/** Waits until `fn` gives something. */
const login = (server: TestServer, user: string, password: string) =>
  server.anonymous.post(`${V3}/login`, { type: "m.login.password", identifier: { type: "m.id.user", user }, password });

describe("password auth provider modules", () => {
  let server: TestServer;
  let alice: TestUser;
  const loggedOut: unknown[][] = [];

  before(async function () {
    this.timeout(20_000);
    const module = testModule((_config, api) => {
      api.register_password_auth_provider_callbacks({
        auth_checkers: [
          {
            login_type: "m.login.password",
            fields: ["password"],
            async check_auth(username, type, fields) {
              assert.equal(type, "m.login.password");
              if (fields["password"] === "broken") throw new Error("the back end is down");
              if (fields["password"] === "nonsense") return "@alice:test" as never;
              if (fields["password"] !== "by the module") return undefined;
              const userId = api.get_qualified_user_id(username);
              if ((await api.check_user_exists(userId)) === undefined) await api.register_user(userId.slice(1).split(":")[0]!, "From the module");
              return [userId, (answer) => void (answer["org.test.extra"] = "told")];
            },
          },
          {
            login_type: "org.test.ticket",
            fields: ["ticket", "seal"],
            check_auth: (username, _type, fields) => (fields["ticket"] === "good" && fields["seal"] === "wax" ? [api.get_qualified_user_id(username)] : null),
          },
        ],
        check_3pid_auth: (medium, address, password) => (medium === "email" && address === "alice@test" && password === "by mail" ? ["@alice:test"] : null),
        on_logged_out: (...args) => void loggedOut.push(args),
        get_username_for_registration: (results, params) => (params["username"] === "renamed" && "m.login.dummy" in results ? "Chosen" : undefined),
        get_displayname_for_registration: (_results, params) => (params["username"] === "renamed" ? "Chosen Name" : undefined),
      });
    });
    const secret = {
      module: "shared_secret_authenticator.SharedSecretAuthProvider",
      config: { shared_secret: "tell nobody", m_login_password_support_enabled: true },
    };
    server = await startTestServer({ config: { modules: [{ module, config: {} }, secret] } });
    alice = await server.register("alice");
  });
  after(() => server?.close());

  it("are asked before the table, which still counts", async () => {
    const byModule = (await login(server, "alice", "by the module").expect(200)).body as Record<string, unknown>;
    assert.equal(byModule["org.test.extra"], "told");
    await login(server, "alice", "correct horse battery staple").expect(200);
    assert.equal((await login(server, "alice", "wrong").expect(403)).body.errcode, "M_FORBIDDEN");
  });

  it("make accounts", async () => {
    await login(server, "newcomer", "by the module").expect(200);
    const profile = (await server.as(alice).get(`${V3}/profile/@newcomer:test`).expect(200)).body as Record<string, unknown>;
    assert.equal(profile["displayname"], "From the module");
  });

  it("that fail, or answer with nonsense, count as a refusal", async () => {
    await login(server, "alice", "broken").expect(403);
    await login(server, "alice", "nonsense").expect(403);
  });

  it("have login types of their own, with all of their fields", async () => {
    const flows = (await server.anonymous.get(`${V3}/login`).expect(200)).body.flows as { type: string }[];
    for (const type of ["org.test.ticket", "com.devture.shared_secret_auth", "m.login.password"]) assert.ok(flows.some((flow) => flow.type === type));
    const ticket = (body: object) =>
      server.anonymous.post(`${V3}/login`, { type: "org.test.ticket", identifier: { type: "m.id.user", user: "alice" }, ...body });
    await ticket({ ticket: "good", seal: "wax" }).expect(200);
    await ticket({ ticket: "good", seal: "paper" }).expect(403);
    assert.equal((await ticket({ ticket: "good" }).expect(400)).body.error, "Missing parameters for login type org.test.ticket: ['seal']");
  });

  it("know users by their addresses", async () => {
    const byMail = (password: string) =>
      server.anonymous.post(`${V3}/login`, {
        type: "m.login.password",
        identifier: { type: "m.id.thirdparty", medium: "email", address: "alice@test" },
        password,
      });
    assert.equal((await byMail("by mail").expect(200)).body.user_id, "@alice:test");
    await byMail("else").expect(403);
  });

  it("hear of each session that ends", async () => {
    loggedOut.length = 0;
    const { body } = await login(server, "alice", "by the module").expect(200);
    await server
      .as({ accessToken: body.access_token as string })
      .post(`${V3}/logout`)
      .expect(200);
    await eventually("word of the logout", () => loggedOut[0]);
    assert.deepEqual(loggedOut, [["@alice:test", body.device_id, body.access_token]]);
  });

  it("name new users", async () => {
    const body = { username: "renamed", password: "a good password", auth: { type: "m.login.dummy" } };
    const made = (await server.anonymous.post(`${V3}/register`, body).expect(200)).body as Record<string, string>;
    assert.equal(made["user_id"], "@chosen:test");
    const profile = (await server.as(alice).get(`${V3}/profile/@chosen:test`).expect(200)).body as Record<string, unknown>;
    assert.equal(profile["displayname"], "Chosen Name");
  });

  it("log in whoever shows the HMAC of a user id (shared_secret_authenticator)", async () => {
    const token = (userId: string): string => createHmac("sha512", "tell nobody").update(userId).digest("hex");
    const byToken = (user: string, text: string) =>
      server.anonymous.post(`${V3}/login`, { type: "com.devture.shared_secret_auth", identifier: { type: "m.id.user", user }, token: text });
    assert.equal((await byToken("alice", token("@alice:test")).expect(200)).body.user_id, "@alice:test");
    assert.equal((await byToken("@alice:test", token("@alice:test")).expect(200)).body.user_id, "@alice:test");
    await login(server, "alice", token("@alice:test")).expect(200);
    await byToken("alice", token("@bob:test")).expect(403);
    await byToken("alice", `${token("@alice:test")}0`).expect(403);
    await byToken("nobody", token("@nobody:test")).expect(403);
  });
});

describe("LDAP", function () {
  this.timeout(60_000);

  let ldap: TestLdapServer;
  const base = "ou=users,dc=example,dc=org";
  const person = (uid: string, userPassword: string, attributes: Record<string, string[]>) => ({
    dn: `cn=${uid},${base}`,
    userPassword,
    attributes: { uid: [uid], ...attributes },
  });
  const attributes = { uid: "uid", mail: "mail", name: "givenName" };

  before(async () => {
    ldap = await TestLdapServer.start([
      { dn: "cn=reader,dc=example,dc=org", userPassword: "may read", attributes: {} },
      { dn: "", attributes: { rootDomainNamingContext: ["DC=example,DC=org"] } },
      person("bob", "bobs password", { mail: ["bob@example.org"], givenName: ["Bob Builder"], memberOf: ["matrix"] }),
      person("eve", "eves password", { mail: ["eve@example.org"], givenName: ["Eve"] }),
      person("twin", "twins password", { memberOf: ["matrix"] }),
      { ...person("twin", "twins password", { memberOf: ["matrix"] }), dn: `cn=twin,ou=more,${base}` },
      { dn: `uid=carol,${base}`, userPassword: "carols password", attributes: { uid: ["carol"] } },
      { dn: `cn=dora,${base}`, userPassword: "doras password", attributes: { uid: ["dora@sub.example.org"], mail: ["dora@example.org"], givenName: ["Dora"] } },
    ]);
  });
  after(() => ldap?.close());

  const withServer = async (config: object, test: (server: TestServer) => Promise<void>, name = "ldap_auth_provider.LdapAuthProviderModule"): Promise<void> => {
    const server = await startTestServer({ config: { modules: [{ module: name, config: { uri: ldap.uri, base, attributes, ...config } }] } });
    try {
      await test(server);
    } finally {
      await server.close();
    }
  };
  const search = { bind_dn: "cn=reader,dc=example,dc=org", bind_password: "may read" };

  it("in search mode finds the user, checks the password, and makes the account of what the directory knows", async () => {
    await withServer({ ...search, filter: "(memberOf=matrix)" }, async (server) => {
      const { body } = await login(server, "bob", "bobs password").expect(200);
      assert.equal(body.user_id, "@bob:test");
      const bob = server.as({ accessToken: body.access_token as string });
      assert.equal((await bob.get(`${V3}/profile/@bob:test`).expect(200)).body.displayname, "Bob Builder");
      const { threepids } = (await bob.get(`${V3}/account/3pid`).expect(200)).body as { threepids: { address: string }[] };
      assert.deepEqual(
        threepids.map(({ address }) => address),
        ["bob@example.org"],
      );
      assert.equal((await login(server, "BOB", "bobs password").expect(200)).body.user_id, "@bob:test");
      assert.equal((await login(server, "@bob:test", "bobs password").expect(200)).body.user_id, "@bob:test");
      await login(server, "bob", "wrong").expect(403);
      await login(server, "bob", "").expect(403);
      await login(server, "eve", "eves password").expect(403); // the filter does not let her in
      await login(server, "twin", "twins password").expect(403); // two entries
      await login(server, "*", "bobs password").expect(403);
      await login(server, "bob)(uid=*", "bobs password").expect(403);
    });
  });

  it("in search mode finds users by their mail address", async () => {
    await withServer(search, async (server) => {
      const byMail = (address: string, password: string) =>
        server.anonymous.post(`${V3}/login`, { type: "m.login.password", identifier: { type: "m.id.thirdparty", medium: "email", address }, password });
      assert.equal((await byMail("eve@example.org", "eves password").expect(200)).body.user_id, "@eve:test");
      await byMail("eve@example.org", "wrong").expect(403);
    });
  });

  it("in simple mode binds as the user, whose name cannot lead elsewhere", async () => {
    await withServer({}, async (server) => {
      assert.equal((await login(server, "carol", "carols password").expect(200)).body.user_id, "@carol:test");
      ldap.binds.length = 0;
      await login(server, `carol,${base}`, "carols password").expect(403);
      assert.equal(ldap.binds[0]!.dn.includes("carol\\,ou\\=users"), true);
    });
  });

  it("takes the old password_providers, and passwords of the table", async () => {
    const config = {
      password_providers: [{ module: "ldap_auth_provider.LdapAuthProvider", config: { enabled: true, uri: ldap.uri, base, attributes, start_tls: false } }],
    };
    const server = await startTestServer({ config });
    try {
      await login(server, "carol", "carols password").expect(200);
      await server.register("dave");
      await login(server, "dave", "correct horse battery staple").expect(200);
    } finally {
      await server.close();
    }
  });

  it("maps the names of an Active Directory", async () => {
    await withServer({ ...search, active_directory: true, default_domain: "sub.example.org" }, async (server) => {
      assert.equal((await login(server, "dora", "doras password").expect(200)).body.user_id, "@dora:test");
      assert.equal((await login(server, "dora/sub.example.org", "doras password").expect(200)).body.user_id, "@dora:test");
      assert.equal((await login(server, "SUB\\Dora", "doras password").expect(200)).body.user_id, "@dora:test");
      await login(server, "dora/else.example.org", "doras password").expect(403);
    });
  });

  it("encrypts with StartTLS, and refuses certificates that it cannot trust", async () => {
    ldap.binds.length = 0;
    await withServer({ ...search, start_tls: true, validate_cert: false }, async (server) => {
      await login(server, "bob", "bobs password").expect(200);
      assert.equal(ldap.binds.length > 0 && ldap.binds.every(({ secure }) => secure), true);
    });
    ldap.binds.length = 0;
    await withServer({ ...search, start_tls: true }, async (server) => {
      await login(server, "bob", "bobs password").expect(403);
      assert.equal(ldap.binds.length, 0);
    });
    assert.ok(testCertificates().certificate.length > 0);
  });

  it("goes to the next server when one does not answer", async () => {
    await withServer({ ...search, uri: ["ldap://127.0.0.1:1", ldap.uri] }, async (server) => {
      await login(server, "bob", "bobs password").expect(200);
    });
  });

  it("says at start what its configuration lacks", async () => {
    await assert.rejects(
      withServer({ ...search, bind_password: undefined }, () => Promise.resolve()),
      /modules\[0\]\.config\.bind_password/,
    );
    await assert.rejects(
      withServer({ attributes: { uid: "uid" } }, () => Promise.resolve()),
      /modules\[0\]\.config\.attributes\.name/,
    );
  });
});

describe("a REST password provider", () => {
  let web: Server;
  let server: TestServer;
  let answer: unknown;
  let asked: unknown;

  before(async function () {
    this.timeout(20_000);
    web = createServer((req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => void chunks.push(chunk));
      req.on("end", () => {
        asked = { url: req.url, body: JSON.parse(Buffer.concat(chunks).toString()) as unknown };
        res.setHeader("Content-Type", "application/json").end(JSON.stringify(answer));
      });
    });
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    const endpoint = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    const policy = { login: { profile: { name: true } }, all: { threepid: { update: true, replace: true } } };
    server = await startTestServer({ config: { password_providers: [{ module: "rest_auth_provider.RestAuthProvider", config: { endpoint, policy } }] } });
  });
  after(async () => {
    await server?.close();
    await new Promise((resolve) => web.close(resolve));
  });

  const accepted = (name: string, ...addresses: string[]): object => ({
    auth: { success: true, mxid: "@rita:test", profile: { display_name: name, three_pids: addresses.map((address) => ({ medium: "email", address })) } },
  });

  it("makes accounts, and follows names and addresses", async () => {
    answer = accepted("Rita", "rita@example.org", "old@example.org");
    const { body } = await login(server, "rita", "secret").expect(200);
    assert.deepEqual(asked, { url: "/_matrix-internal/identity/v1/check_credentials", body: { user: { id: "@rita:test", password: "secret" } } });
    const rita = server.as({ accessToken: body.access_token as string });
    const addresses = async (): Promise<string[]> =>
      ((await rita.get(`${V3}/account/3pid`).expect(200)).body.threepids as { address: string }[]).map(({ address }) => address).sort();
    assert.deepEqual(await addresses(), ["old@example.org", "rita@example.org"]);
    answer = accepted("Rita Renamed", "rita@example.org");
    await login(server, "rita", "secret").expect(200);
    assert.deepEqual(await addresses(), ["rita@example.org"]);
    assert.equal((await rita.get(`${V3}/profile/@rita:test`).expect(200)).body.displayname, "Rita Renamed");
  });

  it("refuses what the service refuses, and new names in capitals", async () => {
    answer = { auth: { success: false } };
    await login(server, "rita", "secret").expect(403);
    answer = accepted("Loud");
    await login(server, "LOUD", "secret").expect(403);
    answer = { nonsense: true };
    await login(server, "rita", "secret").expect(403);
  });
});
