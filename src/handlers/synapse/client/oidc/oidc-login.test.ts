// More than 500 lines: the ways of one flow, which share a provider and a browser.
import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type JWTPayload, SignJWT } from "jose";
import { insertExternalIds } from "../../../../storage/accounts/external-ids.ts";
import { eventually } from "../../../../testing/eventually.ts";
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

  it("takes a login token once", async () => {
    const token = tokenOf(await throughProvider(here.newBrowser()));
    await logIn(here.server, token);
    const { body } = await here.server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token }).expect(403);
    assert.equal(body.errcode, "M_FORBIDDEN");
  });

  it("takes the answer of a provider once, and only with the cookie of its login", async () => {
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

  it("writes no parameter into a page as markup, and lets no page be framed (CVE-2021-21332, CVE-2020-26891, Synapse 1.15.2)", async () => {
    const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`;
    const encoded = encodeURIComponent(evil);
    const paths = [
      `/_synapse/client/oidc/callback?error=${encoded}&error_description=${encoded}`,
      `/_synapse/client/oidc/callback?state=${encoded}&code=${encoded}`,
      `/_synapse/client/pick_idp?redirectUrl=${encoded}`,
      `/_synapse/client/pick_idp?redirectUrl=${encoded}&idp=${encoded}`,
      `/_synapse/client/pick_idp?idp=${encoded}`,
      `/_synapse/client/pick_username/account_details?username=${encoded}`,
      `/_synapse/client/new_user_consent?accepted_version=${encoded}`,
      `/_synapse/client/sso_register?x=${encoded}`,
    ];
    const browser = here.newBrowser();
    const pages = await Promise.all(paths.map((one) => browser.get(`https://test${one}`)));
    pages.push(await throughProvider(here.newBrowser(), `https://client.example/${evil}`), await throughProvider(here.newBrowser(), `element://x/${evil}`));
    here.provider.person = { sub: "subject-evil", preferred_username: "evil", name: evil, email: `${evil}@example.org`, picture: `https://x/${evil}` };
    pages.push(await throughProvider(here.newBrowser()));
    here.provider.person = ALICE;
    for (const { headers, text, url } of pages) {
      assert.ok(!/<script>alert|<img src=x/i.test(text), `${url}: ${text}`);
      assert.equal(headers["x-frame-options"], "DENY", url);
      assert.match(String(headers["content-security-policy"]), /frame-ancestors 'none'/, url);
      assert.equal(headers["referrer-policy"], "no-referrer", url);
    }
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
    await eventually("the logout", async () => {
      const { body } = await here.server.as({ accessToken: login.access_token }).get("/_matrix/client/v3/account/whoami");
      return body.errcode === "M_UNKNOWN_TOKEN";
    });
    await here.server.as({ accessToken: other.access_token }).get("/_matrix/client/v3/account/whoami").expect(200);
    await here.server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: pending }).expect(403);
    assert.deepEqual(await rows(here.server, "SELECT 1 FROM device_auth_providers WHERE device_id = $1", login.device_id), []);
  });

  it("refuses logout tokens that are forged, without a session, or about somebody else's", async () => {
    const login = await logIn(here.server, tokenOf(await throughProvider(here.newBrowser())));
    const [{ sid }] = (await rows<{ sid: string }>(
      here.server,
      "SELECT auth_provider_session_id AS sid FROM device_auth_providers WHERE device_id = $1",
      login.device_id,
    )) as [{ sid: string }];
    const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
    const now = Math.floor(here.server.ctx.clock.now() / 1000);
    const good = { iss: here.provider.issuer, aud: CLIENT_ID, iat: now, jti: "j", events, sid };
    const sign = (claims: JWTPayload, key: KeyObject = here.provider.signingKey): Promise<string> =>
      new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "first" }).sign(key);
    const post = (token: string): Promise<Visit> => here.newBrowser().post("https://test/_synapse/client/oidc/backchannel_logout", { logout_token: token });
    const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const bad = [
      "",
      "a.b.c",
      `${part({ alg: "none" })}.${part(good)}.`,
      await sign(good, stranger),
      await sign({ ...good, nonce: "n" }),
      await sign({ ...good, sid: undefined }),
      await sign({ ...good, aud: "another" }),
      await sign({ ...good, iss: "https://evil.example" }),
      await sign({ ...good, events: {} }),
      await sign({ ...good, sid: "\0" }),
    ];
    for (const token of bad) {
      const visit = await post(token);
      assert.equal(visit.status, 400, visit.text);
    }
    // Somebody else's name with this session: said to be done, and nobody is logged out.
    await here.server.ctx.transaction("test", (txn) => insertExternalIds(txn, "@else:test", [{ auth_provider: "oidc-prov", external_id: "subject-else" }]));
    assert.equal((await post(await sign({ ...good, sub: "subject-else" }))).status, 200);
    const whoami = () => here.server.as({ accessToken: login.access_token }).get("/_matrix/client/v3/account/whoami");
    await whoami().expect(200);
    assert.equal((await post(await sign({ ...good, sub: "subject-1" }))).status, 200);
    await whoami().expect(401);
  });

  it("shows a deactivated user a page, and no login token (CVE-2023-32682)", async () => {
    here.provider.person = { sub: "subject-closed", preferred_username: "closed" };
    await throughProvider(here.newBrowser());
    const admin = await here.server.register("admin", { admin: true });
    await here.server.as(admin).post("/_synapse/admin/v1/deactivate/@closed:test", { erase: false }).expect(200);
    const page = await throughProvider(here.newBrowser());
    here.provider.person = ALICE;
    assert.equal(page.status, 403);
    assert.ok(page.text.includes("The account is closed"));
    assert.ok(!page.text.includes("loginToken"));
  });

  it("lets no locked user in (CVE-2023-32682)", async () => {
    here.provider.person = { sub: "subject-locked", preferred_username: "locked" };
    await throughProvider(here.newBrowser());
    const admin = await here.server.register("admin2", { admin: true });
    await here.server.as(admin).put("/_synapse/admin/v2/users/@locked:test", { locked: true }).expect(200);
    const token = tokenOf(await throughProvider(here.newBrowser()));
    here.provider.person = ALICE;
    const { body } = await here.server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token }).expect(401);
    assert.equal(body.errcode, "M_USER_LOCKED");
  });
});

describe("what an admin can say of an OpenID provider", function () {
  this.timeout(60_000);
  let here: World | undefined;
  afterEach(async () => {
    await here?.close();
    here = undefined;
  });
  const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

  it("lets the user choose name and details, and agree to the terms, before the account is made", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "terms-"));
    await mkdir(path.join(folder, "en"));
    await writeFile(path.join(folder, "en", "1.0.html"), "the terms");
    here = await world(
      { user_mapping_provider: { localpart_template: undefined } },
      { user_consent: { version: "1.0", template_dir: folder, require_at_registration: true, policy_name: "Terms" } },
    );
    const browser = here.newBrowser();
    const details = await throughProvider(browser);
    assert.equal(details.url, "https://test/_synapse/client/pick_username/account_details");
    assert.ok(details.text.includes("Alice {{7*7}} &lt;b&gt;"));
    assert.ok(details.text.includes("alice@example.org"));
    assert.match(browser.cookie("username_mapping_session")!, /^[a-zA-Z]{16}$/);
    const check = (name: string): Promise<Visit> => browser.get(`https://test/_synapse/client/pick_username/check?username=${encodeURIComponent(name)}`);
    await here.server.register("taken");
    assert.deepEqual(JSON.parse((await check("free")).text), { available: true });
    assert.deepEqual(JSON.parse((await check("taken")).text), { available: false });
    assert.equal((await check("Not Good")).status, 400);
    assert.equal((await here.newBrowser().get("https://test/_synapse/client/pick_username/check?username=taken")).status, 400);

    const early = await browser.get("https://test/_synapse/client/sso_register");
    assert.equal(early.location, "https://test/_synapse/client/pick_username/account_details");
    const url = "https://test/_synapse/client/pick_username/account_details";
    const taken = await browser.post(url, { username: "taken" });
    assert.equal(taken.status, 400);
    assert.ok(taken.text.includes("User ID already taken."));
    const submitted = await browser.post(url, "username=picked&use_email=alice%40example.org&use_email=boss%40example.org");
    assert.equal(submitted.location, "https://test/_synapse/client/new_user_consent");
    const consent = await browser.get(submitted.location!);
    assert.ok(consent.text.includes("@picked:test"));
    const again = await browser.get("https://test/_synapse/client/sso_register");
    assert.equal(again.location, "https://test/_synapse/client/new_user_consent");
    const accepted = await browser.post(submitted.location!, { accepted_version: "1.0" });
    assert.equal(accepted.location, "https://test/_synapse/client/sso_register");
    const done = await browser.get(accepted.location!);
    assert.equal(browser.cookie("username_mapping_session"), undefined);
    assert.equal((await logIn(here.server, tokenOf(done))).user_id, "@picked:test");
    assert.deepEqual(await rows(here.server, "SELECT consent_version FROM users WHERE name = '@picked:test'"), [{ consent_version: "1.0" }]);
    assert.deepEqual(await rows(here.server, "SELECT address FROM user_threepids"), [{ address: "alice@example.org" }]);
    // Not asked for: the name of the provider.
    assert.deepEqual(await rows(here.server, "SELECT displayname FROM profiles WHERE user_id = 'picked'"), [{ displayname: "picked" }]);
    assert.equal((await browser.get("https://test/_synapse/client/sso_register")).status, 400);
  });

  it("lets the user confirm a name that was made up", async () => {
    here = await world({ user_mapping_provider: { confirm_localpart: true } });
    const page = await throughProvider(here.newBrowser());
    assert.ok(page.text.includes('value="alice"'));
  });

  it("puts a number behind names that are taken", async () => {
    here = await world();
    await here.server.register("alice");
    await here.server.register("alice1");
    assert.equal((await logIn(here.server, tokenOf(await throughProvider(here.newBrowser())))).user_id, "@alice2:test");
  });

  it("links existing users by name where allow_existing_users says so", async () => {
    here = await world({ allow_existing_users: true });
    const before = await here.server.register("alice");
    assert.equal((await logIn(here.server, tokenOf(await throughProvider(here.newBrowser())))).user_id, before.userId);
    assert.deepEqual(await rows(here.server, "SELECT user_id, external_id FROM user_external_ids"), [{ user_id: before.userId, external_id: "subject-1" }]);
  });

  it("refuses newcomers where registration through the provider is off, and lets known users in", async () => {
    here = await world({ enable_registration: false, allow_existing_users: true });
    assert.ok((await throughProvider(here.newBrowser())).text.includes("registrations are disabled"));
    await here.server.register("alice");
    tokenOf(await throughProvider(here.newBrowser()));
  });

  it("refuses those who lack an attribute", async () => {
    here = await world({ attribute_requirements: [{ attribute: "groups", one_of: ["admins", "staff"] }] });
    tokenOf(await throughProvider(here.newBrowser()));
    here.provider.person = { sub: "subject-2", preferred_username: "bob", groups: ["chess"] };
    const page = await throughProvider(here.newBrowser());
    assert.equal(page.status, 400);
    assert.ok(page.text.includes("unauthorised"));
  });

  it("reads userinfo, posts the secret, and uses no code challenge where the config says so", async () => {
    here = await world(
      { user_profile_method: "userinfo_endpoint", client_auth_method: "client_secret_post", pkce_method: "never" },
      {},
      {
        token_endpoint_auth_method: "client_secret_post",
      },
    );
    tokenOf(await throughProvider(here.newBrowser()));
    assert.equal(here.provider.requests[0]!.get("code_challenge"), null);
  });

  it("works without discovery, with the endpoints of the config, and passes parameters on", async () => {
    const issuer = await OpenIdProvider.open();
    const server = await startTestServer({
      config: {
        oidc_providers: [
          {
            idp_id: "prov",
            idp_name: "P",
            issuer: issuer.issuer,
            client_id: CLIENT_ID,
            client_secret: CLIENT_SECRET,
            discover: false,
            skip_verification: true,
            pkce_method: "always",
            authorization_endpoint: `${issuer.issuer}/auth?kept=1`,
            token_endpoint: `${issuer.issuer}/token`,
            userinfo_endpoint: `${issuer.issuer}/me`,
            jwks_uri: `${issuer.issuer}/jwks`,
            scopes: ["openid", "profile"],
            additional_authorization_parameters: { acr_values: "2fa", state: "fixed" },
            passthrough_authorization_parameters: ["login_hint"],
            user_mapping_provider: { config: { localpart_template: "{{ user.preferred_username }}" } },
          },
        ],
      },
    });
    issuer.serve({ redirectUri: CALLBACK });
    issuer.person = ALICE;
    try {
      const browser = new WebBrowser({ "https://test": server.url });
      const first = await browser.get(`${REDIRECT}?redirectUrl=${encodeURIComponent(CLIENT)}&login_hint=ann&nonce=mine`);
      const query = new URL(first.location!).searchParams;
      assert.equal(query.get("kept"), "1");
      assert.equal(query.get("acr_values"), "2fa");
      assert.equal(query.get("login_hint"), "ann");
      assert.equal(query.get("code_challenge_method"), "S256");
      assert.notEqual(query.get("state"), "fixed");
      assert.notEqual(query.get("nonce"), "mine");
      tokenOf(await browser.follow(first, toClient));
    } finally {
      await server.close();
      await issuer.close();
    }
  });

  it("fetches the provider's keys anew when a token was signed with one that it does not know", async () => {
    here = await world();
    tokenOf(await throughProvider(here.newBrowser()));
    here.provider.rotate();
    tokenOf(await throughProvider(here.newBrowser()));
  });

  it("shows the admin's own pages, with Synapse's variables and without our content policy", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "pages-"));
    const text =
      "{% include 'sso.css' without context %}|{{ user_id }}|{{ display_url | e }}|{{ server_name }}|{{ user_profile.display_name | truncate(5) }}|{{ redirect_url | e }}";
    await writeFile(path.join(folder, "sso_redirect_confirm.html"), text);
    here = await world({}, { sso: { template_dir: folder } });
    const page = await throughProvider(here.newBrowser());
    assert.ok(page.text.includes("|@alice:test|client.example|test|"), page.text.slice(-300));
    assert.equal(page.headers["content-security-policy"], "frame-ancestors 'none';");
  });

  it("goes straight to clients that the admin trusts, and not to those whose names begin alike (Synapse 1.11.1: the redirect sent the login token to any site)", async () => {
    here = await world({}, { sso: { client_whitelist: ["https://trusted.example"] } });
    const direct = await throughProvider(here.newBrowser(), "https://trusted.example/app");
    assert.equal(direct.status, 302);
    assert.match(direct.location!, /^https:\/\/trusted\.example\/app\?loginToken=syl_/);
    for (const url of ["https://trusted.example.evil.example/", "https://trusted.example@evil.example/", "https://trusted.example:pw@evil.example/"]) {
      const page = here.newBrowser();
      const visit = await page.follow(await begin(page, url));
      assert.equal(visit.status, 200, url);
      assert.match(visit.text, /class="client">(?:trusted\.example\.)?evil\.example</, url);
    }
  });

  it("shows a page to choose from where there are several providers", async () => {
    const one = { idp_name: "One <1>", issuer: "https://one.example", client_id: "x", client_secret: "y" };
    const server = await startTestServer({
      config: {
        oidc_providers: [
          { ...one, idp_id: "one" },
          { ...one, idp_id: "two", idp_name: "Two" },
        ],
      },
    });
    try {
      const browser = new WebBrowser({ "https://test": server.url });
      const page = await browser.follow(await begin(browser));
      assert.equal(page.url, `https://test/_synapse/client/pick_idp?redirectUrl=${encodeURIComponent(CLIENT)}`);
      assert.ok(page.text.includes("One &lt;1&gt;") && page.text.includes('value="oidc-two"'));
      const chosen = await browser.get(`${page.url}&idp=oidc-two`);
      assert.equal(chosen.location, `${REDIRECT}/oidc-two?redirectUrl=${encodeURIComponent(CLIENT)}`);
      assert.equal((await browser.get(`${page.url}&idp=//evil.example`)).status, 400);
      assert.equal((await browser.get("https://test/_synapse/client/pick_idp?redirectUrl=javascript:x")).status, 400);
      // The providers are not there: a page says so.
      const down = await browser.get(chosen.location!);
      assert.equal(down.status, 503);
      assert.ok(down.text.includes("provider_unavailable"));
    } finally {
      await server.close();
    }
  });

  it("follows the provider's name and picture at each login where the config says so", async () => {
    const pictures = http.createServer((_req, res) => res.writeHead(200, { "content-type": "image/png" }).end(Buffer.from(picture, "base64")));
    await new Promise<void>((resolve) => pictures.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(pictures.address() as AddressInfo).port}/me.png`;
    const mediaFolder = await mkdtemp(path.join(tmpdir(), "media-"));
    here = await world({}, { sso: { update_profile_information: true }, ip_range_blacklist: [], media_store_path: mediaFolder });
    try {
      here.provider.person = { ...ALICE, picture: address };
      await throughProvider(here.newBrowser());
      const { body: first } = await here.server.anonymous.get("/_matrix/client/v3/profile/@alice:test").expect(200);
      assert.match(first.avatar_url, /^mxc:\/\/test\//);
      here.provider.people.set("subject-1", { ...ALICE, name: "Alice B", picture: address });
      here.provider.person = here.provider.people.get("subject-1");
      await throughProvider(here.newBrowser());
      const { body: second } = await here.server.anonymous.get("/_matrix/client/v3/profile/@alice:test").expect(200);
      assert.equal(second.displayname, "Alice B");
      assert.equal(second.avatar_url, first.avatar_url);
    } finally {
      await new Promise((resolve) => pictures.close(resolve));
    }
  });

  it("fetches no picture from an address that is out of reach", async () => {
    here = await world();
    let asked = 0;
    const inside = http.createServer((_req, res) => res.writeHead(200, { "content-type": "image/png" }).end(String(++asked)));
    await new Promise<void>((resolve) => inside.listen(0, "127.0.0.1", resolve));
    try {
      here.provider.person = { ...ALICE, picture: `http://127.0.0.1:${(inside.address() as AddressInfo).port}/` };
      tokenOf(await throughProvider(here.newBrowser()));
      assert.equal(asked, 0);
    } finally {
      await new Promise((resolve) => inside.close(resolve));
    }
  });
});

describe("an interactive authentication through the provider", function () {
  this.timeout(60_000);
  let here: World;
  let alice: { access_token: string; device_id: string };
  before(async () => {
    here = await world();
    alice = await logIn(here.server, tokenOf(await throughProvider(here.newBrowser())));
  });
  after(() => here.close());

  const deleteDevice = (auth?: object) =>
    here.server.as({ accessToken: alice.access_token }).delete(`/_matrix/client/v3/devices/${alice.device_id}`, auth === undefined ? {} : { auth });
  const fallback = (session: string): string => `https://test/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`;

  it("is offered to users of a provider, is refused for another account, and passes for theirs", async () => {
    const { body } = await deleteDevice().expect(401);
    assert.deepEqual(body.flows, [{ stages: ["m.login.sso"] }]);
    const session = body.session as string;
    const through = async (): Promise<Visit> => {
      const browser = here.newBrowser();
      const page = await browser.get(fallback(session));
      assert.equal(page.status, 200);
      assert.ok(page.text.includes("remove a device from your account"));
      const link = /href="([^"]*\/auth\?[^"]*)"/.exec(page.text)![1]!.replaceAll("&amp;", "&");
      return await browser.follow(await browser.get(link));
    };
    here.provider.person = { sub: "subject-9", preferred_username: "mallory" };
    const wrong = await through();
    assert.ok(wrong.text.includes("@alice:test"));
    assert.ok(wrong.text.includes("That is somebody else"));
    await deleteDevice({ session }).expect(403);
    assert.deepEqual(await rows(here.server, "SELECT stage_type, result FROM ui_auth_sessions_credentials WHERE session_id = $1", session), [
      { stage_type: "m.login.sso", result: '""' },
    ]);
    assert.equal(await here.server.ctx.accounts.user("@mallory:test"), undefined);
    here.provider.person = ALICE;
    assert.ok((await through()).text.includes("Thank you"));
    await deleteDevice({ session }).expect(200);
  });

  it("knows no sessions of others, and no providers that the user has not used", async () => {
    const browser = here.newBrowser();
    assert.equal((await browser.get(fallback("made-up"))).status, 400);
    const user = await here.server.register("plain");
    const { body } = await here.server.as(user).delete(`/_matrix/client/v3/devices/${user.deviceId}`).expect(401);
    assert.deepEqual(body.flows, [{ stages: ["m.login.password"] }]);
    assert.equal((await browser.get(fallback(body.session as string))).status, 400);
  });
});
