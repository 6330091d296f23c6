import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { CasServer } from "../../testing/cas-server.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";
import { type Visit, WebBrowser } from "../../testing/web-browser.ts";

const CLIENT = "https://client.example/";

describe("logging in through CAS", function () {
  this.timeout(60_000);
  let cas: CasServer;
  let server: TestServer;
  before(async () => {
    cas = await CasServer.open();
    server = await startTestServer({
      config: {
        cas_config: {
          server_url: cas.url,
          displayname_attribute: "name",
          required_attributes: { department: "it", active: null },
          allow_numeric_ids: true,
          numeric_ids_prefix: "n",
          protocol_version: 3,
        },
      },
    });
  });
  after(async () => {
    await server.close();
    await cas.close();
  });
  beforeEach(() => {
    cas.user = "alice";
    cas.attributes = { name: ["Alice A"], department: ["it", "chess"], active: ["yes"] };
    cas.answer = undefined;
  });

  const browser = (): WebBrowser => new WebBrowser({ "https://test": server.url });
  const visit = async (one = browser()): Promise<Visit> =>
    one.follow(await one.get(`https://test/_matrix/client/v3/login/cas/redirect?${new URLSearchParams({ redirectUrl: CLIENT }).toString()}`));
  const tokenOf = (page: Visit): string => {
    const link = /href="([^"]*loginToken=[^"]*)"/.exec(page.text)?.[1];
    assert.ok(link, `no login token: ${page.status} ${page.text}`);
    return new URL(link.replaceAll("&amp;", "&")).searchParams.get("loginToken")!;
  };
  const logIn = async (page: Visit): Promise<string> =>
    (await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: tokenOf(page) }).expect(200)).body.user_id as string;

  it("is offered under its old and its new name", async () => {
    const { flows } = (await server.anonymous.get("/_matrix/client/v3/login").expect(200)).body;
    assert.deepEqual(flows.slice(0, 2), [{ type: "m.login.cas" }, { type: "m.login.sso", identity_providers: [{ id: "cas", name: "CAS" }] }]);
  });

  it("makes a user by the ticket's word, and knows them again", async () => {
    assert.equal(await logIn(await visit()), "@alice:test");
    assert.equal(await logIn(await visit()), "@alice:test");
    assert.deepEqual(await query(server.ctx.read, "SELECT auth_provider, external_id, user_id FROM user_external_ids"), [
      { auth_provider: "cas", external_id: "alice", user_id: "@alice:test" },
    ]);
    const { body } = await server.anonymous.get("/_matrix/client/v3/profile/@alice:test").expect(200);
    assert.equal(body.displayname, "Alice A");
    assert.ok(cas.paths.includes("/cas/p3/proxyValidate"));
  });

  it("puts the prefix before names that are numbers, and escapes what a localpart cannot have", async () => {
    cas.user = "1234";
    assert.equal(await logIn(await visit()), "@n1234:test");
    cas.user = "Émile X";
    assert.equal(await logIn(await visit()), "@=c3=89mile=20x:test");
  });

  it("lets users of former days in without a link, but not by half a name", async () => {
    await server.register("old");
    cas.user = "OLD";
    assert.equal(await logIn(await visit()), "@old:test");
    cas.user = "o<!-- x -->ld2";
    assert.equal(await logIn(await visit()), "@old2:test");
  });

  it("shows a deactivated user a page, and gives no login token (CVE-2023-32682)", async () => {
    const user = await server.register("closed");
    const admin = await server.register("admin", { admin: true });
    await server.as(admin).post(`/_synapse/admin/v1/deactivate/${user.userId}`, { erase: false }).expect(200);
    cas.user = "closed";
    const page = await visit();
    assert.equal(page.status, 403);
    assert.ok(!page.text.includes("loginToken"));
  });

  it("refuses those who lack an attribute or have another value", async () => {
    cas.attributes = { department: ["hr"], active: ["yes"] };
    const other = await visit();
    assert.equal(other.status, 400);
    assert.ok(other.text.includes("unauthorised"));
    cas.attributes = { department: ["it"] };
    assert.equal((await visit()).status, 400);
  });

  it("refuses tickets that are used up, forged, or of another service", async () => {
    const one = browser();
    const first = await one.get(`https://test/_matrix/client/v3/login/cas/redirect?${new URLSearchParams({ redirectUrl: CLIENT }).toString()}`);
    const back = await one.follow(first, (url) => url.startsWith("https://test"));
    const ticket = new URL(back.location!);
    assert.equal(ticket.pathname, "/_matrix/client/r0/login/cas/ticket");
    const stolen = new URL(back.location!);
    stolen.searchParams.set("redirectUrl", "https://evil.example/");
    assert.equal((await browser().get(stolen.toString())).status, 401);
    assert.equal((await browser().get(ticket.toString())).status, 401);
    const forged = await browser().get(`https://test/_matrix/client/r0/login/cas/ticket?redirectUrl=${CLIENT}&ticket=ST-1`);
    assert.equal(forged.status, 401);
    assert.equal((await browser().get("https://test/_matrix/client/r0/login/cas/ticket?ticket=x")).status, 400);
    assert.equal((await browser().get(`https://test/_matrix/client/r0/login/cas/ticket?redirectUrl=${CLIENT}`)).status, 400);
  });

  it("refuses clients that are scripts, before the ticket is looked at", async () => {
    const url = `https://test/_matrix/client/r0/login/cas/ticket?redirectUrl=${encodeURIComponent("javascript:alert(1)")}&ticket=ST-1`;
    const page = await browser().get(url);
    assert.equal(page.status, 400);
    assert.ok(!page.text.includes("javascript:"));
  });

  it("confirms an operation in the browser that was shown what it is, and by no link straight to the server", async () => {
    const one = browser();
    const login = (await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: tokenOf(await visit(one)) }).expect(200)).body;
    const remove = (auth?: object) =>
      server.as({ accessToken: login.access_token as string }).delete(`/_matrix/client/v3/devices/${login.device_id}`, auth === undefined ? {} : { auth });
    const { body } = await remove().expect(401);
    assert.deepEqual(body.flows, [{ stages: ["m.login.sso"] }]);
    const confirm = await one.get(`https://test/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${body.session}`);
    const link = /href="([^"]*\/cas\/login[^"]*)"/.exec(confirm.text)![1]!.replaceAll("&amp;", "&");
    const lured = browser();
    const wrong = await lured.follow(await lured.get(link));
    assert.equal(wrong.status, 400);
    await remove({ session: body.session }).expect(401);
    const right = await one.follow(await one.get(link));
    assert.ok(right.text.includes("Thank you"));
    await remove({ session: body.session }).expect(200);
  });

  it("answers nonsense of the CAS server with a page, never with a 500", async () => {
    const bodies = [
      "",
      "no xml",
      "<a/>",
      "<cas:serviceResponse/>",
      "<x:serviceResponse><x:authenticationSuccess/></x:serviceResponse>",
      '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><serviceResponse><authenticationSuccess><user>&b;</user></authenticationSuccess></serviceResponse>',
      "<serviceResponse><authenticationSuccess><user>a</user><user>admin</user></authenticationSuccess></serviceResponse>",
    ];
    for (const body of bodies) {
      cas.answer = () => ({ status: 200, body });
      const page = await visit();
      assert.ok(page.status === 401 || page.status === 400, `${body}: ${page.status}`);
      assert.ok(!page.text.includes("root:"));
    }
    cas.answer = () => ({ status: 500, body: "" });
    assert.equal((await visit()).status, 401);
  });
});
