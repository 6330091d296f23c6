import assert from "node:assert/strict";
import { OpenIdProvider, CLIENT_ID, CLIENT_SECRET, type Person } from "../../../../testing/openid-provider.ts";
import { startTestServer, type TestServer } from "../../../../testing/server.ts";
import { type Visit, WebBrowser } from "../../../../testing/web-browser.ts";
import type { TestConfigOverrides } from "../../../../testing/config.ts";
import { query } from "../../../../storage/database.ts";

const CLIENT = "https://client.example/path?state=1#here";
const REDIRECT = "https://test/_matrix/client/v3/login/sso/redirect";
const CALLBACK = "https://test/_synapse/client/oidc/callback";

const ALICE: Person = { sub: "subject-1", preferred_username: "Alice", name: "Alice {{7*7}} <b>", email: "alice@example.org", groups: ["staff", "chess"] };

interface World {
  readonly server: TestServer;
  readonly provider: OpenIdProvider;
  newBrowser(): WebBrowser;
  close(): Promise<void>;
}

/** A homeserver and its OpenID provider. */
async function world(idp: Record<string, unknown> = {}, config: TestConfigOverrides = {}, client: Record<string, unknown> = {}): Promise<World> {
  const provider = await OpenIdProvider.open();
  const { user_mapping_provider: mapping, ...rest } = idp;
  const server = await startTestServer({
    config: {
      public_baseurl: "https://test/",
      oidc_providers: [
        {
          idp_id: "prov",
          idp_name: "The Provider",
          idp_brand: "org.example.brand",
          idp_icon: "mxc://test/icon",
          issuer: provider.issuer,
          client_id: CLIENT_ID,
          client_secret: CLIENT_SECRET,
          scopes: ["openid", "profile", "email", "groups"],
          skip_verification: true,
          user_mapping_provider: {
            config: {
              localpart_template: "{{ user.preferred_username }}",
              display_name_template: "{{ user.name }}",
              email_template: "{{ user.email }}",
              ...(mapping as object | undefined),
            },
          },
          ...rest,
        },
      ],
      ...config,
    },
  });
  provider.serve({ redirectUri: CALLBACK, backchannelLogoutUri: `${server.url}/_synapse/client/oidc/backchannel_logout`, client });
  provider.person = ALICE;
  return {
    server,
    provider,
    newBrowser: () => new WebBrowser({ "https://test": server.url }),
    async close() {
      await server.close();
      await provider.close();
    },
  };
}

const begin = (browser: WebBrowser, client = CLIENT): Promise<Visit> => browser.get(`${REDIRECT}?${new URLSearchParams({ redirectUrl: client }).toString()}`);

const toClient = (url: string): boolean => url.startsWith("https://client.example") || url.startsWith("https://trusted.example");

/** Goes through the login until the confirmation page, or the client. */
async function throughProvider(browser: WebBrowser, client = CLIENT): Promise<Visit> {
  return await browser.follow(await begin(browser, client), toClient);
}

/** The login token of a confirmation page. */
function tokenOf(visit: Visit): string {
  const link = visit.location ?? /href="([^"]*loginToken=[^"]*)"/.exec(visit.text)?.[1]?.replaceAll("&amp;", "&");
  assert.ok(link, `no login token on the page: ${visit.status} ${visit.text}`);
  return new URL(link).searchParams.get("loginToken")!;
}

async function logIn(server: TestServer, token: string): Promise<{ user_id: string; access_token: string; device_id: string; [key: string]: unknown }> {
  return (await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token }).expect(200)).body;
}

const rows = <T extends object>(server: TestServer, sql: string, ...params: unknown[]): Promise<T[]> => query(server.ctx.read, sql, params);

describe("logging in through an OpenID provider", function () {
  this.timeout(60_000);
  let here: World;
  before(async () => {
    here = await world({ backchannel_logout_enabled: true, user_mapping_provider: { extra_attributes: { dn: "{{ user.name }}", access_token: "stolen" } } });
  });
  after(() => here.close());

  it("is offered in the login flows, with its brand and icon", async () => {
    const { flows } = (await here.server.anonymous.get("/_matrix/client/v3/login").expect(200)).body;
    assert.deepEqual(
      flows.find(({ type }: { type: string }) => type === "m.login.sso"),
      {
        type: "m.login.sso",
        identity_providers: [{ id: "oidc-prov", name: "The Provider", icon: "mxc://test/icon", brand: "org.example.brand" }],
      },
    );
    assert.ok(flows.some(({ type }: { type: string }) => type === "m.login.token"));
  });

  it("sends the browser to the provider with state, nonce and a code challenge, and two cookies", async () => {
    const browser = here.newBrowser();
    const visit = await begin(browser);
    assert.equal(visit.status, 302);
    const query = new URL(visit.location!).searchParams;
    assert.equal(query.get("response_type"), "code");
    assert.equal(query.get("client_id"), CLIENT_ID);
    assert.equal(query.get("redirect_uri"), CALLBACK);
    assert.equal(query.get("scope"), "openid profile email groups");
    assert.equal(query.get("code_challenge_method"), "S256");
    assert.equal(query.get("code_challenge")!.length, 43);
    assert.ok(query.get("nonce")!.length >= 43);
    const cookies = visit.headers["set-cookie"]!;
    assert.match(cookies[0]!, /^oidc_session=[^;]+; Max-Age=3600; Path=\/_synapse\/client\/oidc; HttpOnly; Secure; SameSite=None$/);
    assert.match(cookies[1]!, /^oidc_session_no_samesite=[^;]+; Max-Age=3600; Path=\/_synapse\/client\/oidc; HttpOnly; Secure$/);
  });

  it("makes a user of somebody new, links them, and hands the client a login token after a word of confirmation", async () => {
    const browser = here.newBrowser();
    const page = await throughProvider(browser);
    assert.equal(page.status, 200);
    assert.ok(page.text.includes("client.example"));
    assert.ok(page.text.includes("@alice:test"));
    assert.equal(browser.cookie("oidc_session"), undefined);
    const link = /href="([^"]*loginToken=[^"]*)"/.exec(page.text)![1]!.replaceAll("&amp;", "&");
    assert.match(link, /^https:\/\/client\.example\/path\?state=1&loginToken=syl_[^#]+#here$/);
    const token = tokenOf(page);
    const [row] = await rows<{ user_id: string; auth_provider_id: string; auth_provider_session_id: string }>(
      here.server,
      "SELECT user_id, auth_provider_id, auth_provider_session_id FROM login_tokens WHERE token = $1",
      token,
    );
    assert.equal(row!.user_id, "@alice:test");
    assert.equal(row!.auth_provider_id, "oidc-prov");
    assert.ok(row!.auth_provider_session_id.length > 0);
    const login = await logIn(here.server, token);
    assert.equal(login.user_id, "@alice:test");
    assert.deepEqual(await rows(here.server, "SELECT auth_provider, external_id, user_id FROM user_external_ids"), [
      { auth_provider: "oidc-prov", external_id: "subject-1", user_id: "@alice:test" },
    ]);
    assert.deepEqual(await rows(here.server, "SELECT medium, address FROM user_threepids WHERE user_id = $1", "@alice:test"), [
      { medium: "email", address: "alice@example.org" },
    ]);
    assert.deepEqual(
      await rows(here.server, "SELECT auth_provider_id, auth_provider_session_id FROM device_auth_providers WHERE device_id = $1", login.device_id),
      [{ auth_provider_id: "oidc-prov", auth_provider_session_id: row!.auth_provider_session_id }],
    );
    assert.deepEqual(await rows(here.server, "SELECT password_hash FROM users WHERE name = $1", "@alice:test"), [{ password_hash: null }]);
  });

  it("keeps what a person calls themselves a text: no template, no markup", async () => {
    const page = await throughProvider(here.newBrowser());
    assert.ok(page.text.includes("Alice {{7*7}} &lt;b&gt;"));
    const profile = (await here.server.anonymous.get("/_matrix/client/v3/profile/@alice:test").expect(200)).body;
    assert.equal(profile.displayname, "Alice {{7*7}} <b>");
  });

  it("knows the user again, and tells the client the extra attributes, none of which stands in for its own keys", async () => {
    const login = await logIn(here.server, tokenOf(await throughProvider(here.newBrowser())));
    assert.equal(login.user_id, "@alice:test");
    assert.equal(login["dn"], "Alice {{7*7}} <b>");
    assert.match(login.access_token, /^syt_/);
  });

  it("takes a login token once (CVE-2023-32683 family: tokens of logins are single use)", async () => {
    const token = tokenOf(await throughProvider(here.newBrowser()));
    await logIn(here.server, token);
    const { body } = await here.server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token }).expect(403);
    assert.equal(body.errcode, "M_FORBIDDEN");
  });

  it("asks for no code verifier to be reused: a code works once, and only with the cookie of its login", async () => {
    const browser = here.newBrowser();
    const callback = await browser.follow(await begin(browser), (url) => url.startsWith(CALLBACK));
    const stranger = await here.newBrowser().get(callback.location!);
    assert.equal(stranger.status, 400);
    assert.ok(stranger.text.includes("missing_session"));
    const other = here.newBrowser();
    await begin(other);
    const swapped = await other.get(callback.location!);
    assert.equal(swapped.status, 400);
    assert.ok(swapped.text.includes("mismatching_session"));
    assert.equal((await browser.get(callback.location!)).status, 200);
    const again = await browser.get(callback.location!);
    assert.ok(again.text.includes("missing_session"));
  });

  it("shows what the provider says went wrong, as text", async () => {
    const page = await here.newBrowser().get(`${CALLBACK}?error=access_denied&error_description=${encodeURIComponent("<script>no</script>")}`);
    assert.equal(page.status, 400);
    assert.ok(page.text.includes("&lt;script&gt;no"));
    assert.ok(!page.text.includes("<script>no"));
    assert.match(String(page.headers["content-security-policy"]), /default-src 'none'/);
  });

  it("refuses an answer that names another issuer (mix-up)", async () => {
    const browser = here.newBrowser();
    const callback = await browser.follow(await begin(browser), (url) => url.startsWith(CALLBACK));
    const url = new URL(callback.location!);
    url.searchParams.set("iss", "https://evil.example");
    const page = await browser.get(url.toString());
    assert.ok(page.text.includes("another provider"));
  });

  it("takes answers by a form, too", async () => {
    const browser = here.newBrowser();
    const callback = await browser.follow(await begin(browser), (url) => url.startsWith(CALLBACK));
    const page = await browser.post(CALLBACK, new URL(callback.location!).searchParams.toString());
    assert.equal(page.status, 200);
    tokenOf(page);
  });

  it("refuses addresses that would run as scripts, and requests without one", async () => {
    for (const url of ["javascript:alert(1)", " java\tscript:alert(1)", "data:text/html,x", "vbscript:x"]) {
      const visit = await begin(here.newBrowser(), url);
      assert.equal(visit.status, 400, url);
    }
    assert.equal((await here.newBrowser().get(REDIRECT)).status, 400);
    assert.equal((await here.newBrowser().get(`${REDIRECT}/oidc-other?redirectUrl=x`)).status, 404);
  });

  it("sends browsers that came by another name to public_baseurl, where the cookies will be", async () => {
    const browser = new WebBrowser({ "https://other.example": here.server.url });
    const visit = await browser.get(`https://other.example/_matrix/client/v3/login/sso/redirect?redirectUrl=x`);
    assert.equal(visit.location, `${REDIRECT}?redirectUrl=x`);
  });

  it("logs the devices of a session out when the provider says that it has ended", async () => {
    const browser = here.newBrowser();
    const login = await logIn(here.server, tokenOf(await throughProvider(browser)));
    const other = await logIn(here.server, tokenOf(await throughProvider(here.newBrowser())));
    const pending = tokenOf(await throughProvider(browser));
    const form = await browser.get(`${here.provider.issuer}/session/end`);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(form.text)![1]!;
    await browser.post(`${here.provider.issuer}/session/end/confirm`, { xsrf, logout: "yes" });
    await eventually(async () => {
      const { body } = await here.server.as({ accessToken: login.access_token }).get("/_matrix/client/v3/account/whoami");
      return body.errcode === "M_UNKNOWN_TOKEN";
    });
    await here.server.as({ accessToken: other.access_token }).get("/_matrix/client/v3/account/whoami").expect(200);
    await here.server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: pending }).expect(403);
    assert.deepEqual(await rows(here.server, "SELECT 1 FROM device_auth_providers WHERE device_id = $1", login.device_id), []);
  });

  it("shows a deactivated user a page, and no login token (CVE-2023-32682)", async () => {
    here.provider.person = { sub: "subject-closed", preferred_username: "closed" };
    await throughProvider(here.newBrowser());
    const admin = await here.server.register("admin", { admin: true });
    await here.server.as(admin).post("/_synapse/admin/v1/deactivate/@closed:test", { erase: false }).expect(200);
    const page = await throughProvider(here.newBrowser());
    here.provider.person = ALICE;
    // Deactivation cuts the link to the provider; the name stays taken.
    assert.ok(page.status === 403 || !page.text.includes("@closed:test"));
  });
});

/** Waits until something holds. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail("it never came to hold");
}
