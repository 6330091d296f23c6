import assert from "node:assert/strict";
import { type JWTPayload, SignJWT } from "jose";
import { CasServer } from "../src/testing/cas-server.ts";
import { CLIENT_ID, CLIENT_SECRET, OpenIdProvider } from "../src/testing/openid-provider.ts";
import { type Visit, WebBrowser } from "../src/testing/web-browser.ts";
import { provideAuthlib } from "./harness/python-libraries.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { type RunningServer, startServer } from "./harness/server.ts";
import { SynapseUnavailable } from "./harness/synapse.ts";
import { differencesOf } from "./harness/told.ts";
import { requireServers, sides } from "./sides.ts";

const ORIGIN = "https://compat.test";
const C = `${ORIGIN}/_matrix/client/v3`;
const S = `${ORIGIN}/_synapse/client`;
const CLIENT = "https://client.example/app?q=a b#fragment";

/** What is told of a visit: pages are each server's own, what they are about is not. */
interface Seen {
  readonly what: string;
  readonly status: number;
  readonly location: string | undefined;
  readonly cookies: readonly string[];
  readonly json: unknown;
}

/** Logins through the same OpenID provider, page by page, and what of them stands in the database. */
describe("sso: two servers with the same OpenID provider do the same", function () {
  this.timeout(10 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let provider: OpenIdProvider;
  let cas: CasServer;
  let home: Home;
  let server: RunningServer | undefined;
  const seen: Seen[][] = [];
  const rows: object[] = [];

  before(async function () {
    requireServers(this, a, b);
    try {
      if ([a, b].includes("synapse")) provideAuthlib();
    } catch (error) {
      if (!(error instanceof SynapseUnavailable)) throw error;
      process.stderr.write(`    skipped: ${error.message}\n`);
      return this.skip();
    }
    postgres = await acquirePostgres();
    provider = await OpenIdProvider.open();
    cas = await CasServer.open();
    // With an address for logouts it tells its sessions, too.
    provider.serve({ redirectUri: `${S}/oidc/callback`, backchannelLogoutUri: `${S}/oidc/backchannel_logout` });
    const common = {
      issuer: provider.issuer,
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      scopes: ["openid", "profile", "email", "groups"],
      skip_verification: true,
      backchannel_logout_enabled: true,
    };
    const templates = { display_name_template: "{{ user.name }}", email_template: "{{ user.email }}", extra_attributes: { name: "{{ user.name }}" } };
    const mapped = { config: { localpart_template: "{{ user.preferred_username }}", ...templates } };
    home = await makeHome({
      name: "sso",
      postgres,
      extra: {
        public_baseurl: `${ORIGIN}/`,
        // Each operation is confirmed by itself.
        ui_auth: { session_timeout: 0 },
        sso: { client_whitelist: ["https://trusted.example/"] },
        cas_config: {
          server_url: cas.url,
          displayname_attribute: "name",
          required_attributes: { department: "it" },
          allow_numeric_ids: true,
          numeric_ids_prefix: "n",
        },
        oidc_providers: [
          { ...common, idp_id: "mapped", idp_name: "Mapped", idp_brand: "brand", user_mapping_provider: mapped },
          { ...common, idp_id: "picked", idp_name: "Picked", idp_icon: "mxc://compat.test/icon", user_mapping_provider: { config: templates } },
          { ...common, idp_id: "staff", idp_name: "Staff", attribute_requirements: [{ attribute: "groups", value: "staff" }], user_mapping_provider: mapped },
          { ...common, idp_id: "closed", idp_name: "Closed", enable_registration: false, user_mapping_provider: mapped },
          { ...common, idp_id: "old", idp_name: "Old", allow_existing_users: true, user_mapping_provider: mapped },
        ],
      },
    });
  });
  after(async () => {
    await server?.kill();
    await provider?.close();
    await cas?.close();
    if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  const newBrowser = (): WebBrowser => new WebBrowser({ [ORIGIN]: home.baseUrl });
  const redirect = (idp: string, client = CLIENT): string => `${C}/login/sso/redirect/oidc-${idp}?${new URLSearchParams({ redirectUrl: client }).toString()}`;
  const isHere = (url: string): boolean => url.startsWith(`${S}/oidc/callback`);
  const isClient = (url: string): boolean => url.startsWith("https://trusted.example");

  /** From the redirect to the provider, back, and on as far as pages go by themselves. */
  async function through(browser: WebBrowser, idp: string, client = CLIENT): Promise<Visit> {
    return await browser.follow(await browser.get(redirect(idp, client)), isClient);
  }

  function tokenOf(page: Visit): string {
    const address = page.location ?? /https:\/\/[^"]*loginToken=[^"]*/.exec(page.text)?.[0] ?? "";
    return /loginToken=([^"&#]+)/.exec(address)?.[1] ?? "none";
  }

  const logIn = async (token: string) => (await server!.client().request("POST", "/_matrix/client/v3/login", { body: { type: "m.login.token", token } })).body;

  const logoutToken = (claims: JWTPayload): Promise<string> =>
    new SignJWT({ iss: provider.issuer, aud: CLIENT_ID, jti: "1", events: { "http://schemas.openid.net/event/backchannel-logout": {} }, ...claims })
      .setProtectedHeader({ alg: "RS256", kid: "first" })
      .setIssuedAt()
      .sign(provider.signingKey);

  async function script(): Promise<Seen[]> {
    const told: Seen[] = [];
    const tell = (what: string, visit: Visit): Visit => {
      const cookies = (visit.headers["set-cookie"] ?? []).map((line) => line.split("=")[0]!).sort();
      const isJson = (visit.headers["content-type"] ?? "").startsWith("application/json");
      told.push({ what, status: visit.status, location: stable(visit.location), cookies, json: isJson ? JSON.parse(visit.text) : undefined });
      return visit;
    };
    const tellAnswer = (what: string, status: number, json: unknown): void =>
      void told.push({ what, status, location: undefined, cookies: [], json: JSON.parse(stable(JSON.stringify(json))!) });

    tell("flows", await newBrowser().get(`${C}/login`));
    tell("choice", await newBrowser().get(`${C}/login/sso/redirect?${new URLSearchParams({ redirectUrl: CLIENT }).toString()}`));
    tell("choice made", await newBrowser().get(`${S}/pick_idp?idp=oidc-mapped&redirectUrl=x%20y`));
    tell("choice unknown", await newBrowser().get(`${S}/pick_idp?idp=x&redirectUrl=x`));
    tell("choice without client", await newBrowser().get(`${S}/pick_idp`));
    tell("unknown provider", await newBrowser().get(redirect("none")));
    tell("another host", await new WebBrowser({ "https://other.test": home.baseUrl }).get(redirect("mapped").replace(ORIGIN, "https://other.test")));
    tell("cas", await newBrowser().get(`${C}/login/cas/ticket?ticket=x`));
    tell("saml", await newBrowser().get(`${S}/saml2/metadata.xml`));
    for (const path of [
      "oidc/callback",
      "oidc/callback?error=access_denied",
      "oidc/callback?state=x&code=y",
      "pick_username/account_details",
      "new_user_consent",
      "sso_register",
    ])
      tell(`without a session: ${path}`, await newBrowser().get(`${S}/${path}`));
    for (const path of ["pick_username/check", "pick_username/check?username=x"]) tell(`without a session: ${path}`, await newBrowser().get(`${S}/${path}`));

    provider.person = { sub: "1", preferred_username: "Ann B_", name: "Ann \u00e9", email: "Ann@Example.org", groups: ["chess"] };
    const browser = newBrowser();
    tell("to the provider", await browser.get(redirect("mapped")));
    const first = tell("a new user", await through(browser, "mapped"));
    const login = await logIn(tokenOf(first));
    tellAnswer("a new user logs in", 200, login);
    tellAnswer("the token again", 0, await logIn(tokenOf(first)));
    const again = newBrowser();
    const trusted = tell("a known user of a trusted client", await through(again, "mapped", "https://trusted.example/x"));
    tellAnswer("a known user logs in", 200, await logIn(tokenOf(trusted)));
    tell("not of the staff", await through(newBrowser(), "staff"));
    tell("registration is off", await through(newBrowser(), "closed"));
    tell("a name that is taken", await through(newBrowser(), "old"));

    provider.person = { sub: "2", name: "Bob", email: "bob@example.org", groups: ["staff"] };
    const picking = newBrowser();
    tell("a name to be picked", await through(picking, "picked"));
    for (const name of ["free", "ann=20b_", "Not%20good", ""]) tell(`is ${name} free`, await picking.get(`${S}/pick_username/check?username=${name}`));
    tell(
      "a name is picked",
      await picking.post(`${S}/pick_username/account_details`, "username=picked&use_display_name=true&use_email=bob@example.org&use_email=x@y"),
    );
    const registered = tell("the account is made", await picking.get(`${S}/sso_register`));
    tellAnswer("a user who picked logs in", 200, await logIn(tokenOf(registered)));
    tell("made twice", await picking.get(`${S}/sso_register`));

    const mine = server!.client(login.access_token as string);
    const device = `/_matrix/client/v3/devices/${login.device_id as string}`;
    const asked = await mine.request("DELETE", device, { body: {} });
    tellAnswer("an operation", asked.status, asked.body);
    const { session } = asked.body as { session: string };
    const confirm = async (person: typeof provider.person): Promise<void> => {
      provider.person = person;
      const one = newBrowser();
      const page = tell("confirm", await one.get(`${C}/auth/m.login.sso/fallback/web?session=${session}`));
      const link = /href="([^"]*\/auth\?[^"]*)"/.exec(page.text)![1]!.replaceAll("&amp;", "&");
      tell("confirmed", await one.follow(await one.get(link)));
      const answer = await mine.request("DELETE", device, { body: { auth: { session } } });
      tellAnswer("the operation again", answer.status, answer.status === 200 ? {} : { errcode: answer.body.errcode, completed: answer.body.completed });
    };
    await confirm({ sub: "2", name: "Bob" });
    await confirm({ sub: "1", preferred_username: "Ann B_" });
    tell("another's session", await newBrowser().get(`${C}/auth/m.login.sso/fallback/web?session=none`));
    tell("another's provider", await newBrowser().get(`${C}/auth/m.login.sso/fallback/web?session=${session}&io.element.idp_id=oidc-picked`));

    const throughCas = async (what: string): Promise<Visit> => {
      const one = newBrowser();
      return tell(what, await one.follow(await one.get(`${C}/login/sso/redirect/cas?${new URLSearchParams({ redirectUrl: CLIENT }).toString()}`)));
    };
    cas.attributes = { department: ["it", "hr"], name: ["Carol C"] };
    for (const user of ["Carol", "1234", "\u00c9va_x y", "Carol", "picked"]) {
      cas.user = user;
      tellAnswer(`${user} logs in through CAS`, 200, await logIn(tokenOf(await throughCas(`${user} by CAS`))));
    }
    cas.attributes = { department: ["hr"] };
    await throughCas("not of the department");
    tell("a forged ticket", await newBrowser().get(`${C}/login/cas/ticket?redirectUrl=x&ticket=forged`));
    tell("a ticket for nothing", await newBrowser().get(`${C}/login/cas/ticket?ticket=forged`));
    for (const body of ["<serviceResponse/>", "<x/>", "<serviceResponse><authenticationSuccess/></serviceResponse>"]) {
      cas.answer = () => ({ status: 200, body });
      await throughCas(`an answer ${body}`);
    }
    cas.answer = () => ({ status: 500, body: "" });
    await throughCas("a CAS server out of order");
    cas.answer = undefined;

    const post = (token: string): Promise<Visit> => newBrowser().post(`${S}/oidc/backchannel_logout`, { logout_token: token });
    const bad = [
      "",
      "x",
      "a.b.c",
      "e30.e30.e30",
      await logoutToken({}),
      await logoutToken({ sid: "s", nonce: "n" }),
      await logoutToken({ sid: "s", aud: "x" }),
      await logoutToken({ sid: "s", events: {} }),
    ];
    for (const [index, token] of bad.entries()) tell(`logout ${index}`, await post(token));
    tell("logout without a token", await newBrowser().post(`${S}/oidc/backchannel_logout`, {}));
    tell("logout of an unknown session", await post(await logoutToken({ sid: "unknown" })));
    return told;
  }

  async function stored(): Promise<object> {
    const read = (sql: string) => postgres.query<Record<string, unknown>>(home.database, sql);
    return {
      users: await read(
        "SELECT name, password_hash, admin, is_guest, user_type, appservice_id, approved, consent_version, shadow_banned FROM users WHERE name NOT LIKE '@notices%' ORDER BY name",
      ),
      externalIds: await read("SELECT * FROM user_external_ids ORDER BY auth_provider, external_id"),
      loginTokens: await read(
        "SELECT user_id, used_ts IS NULL AS unused, auth_provider_id, auth_provider_session_id IS NULL AS without_session FROM login_tokens ORDER BY 1, 2, 3",
      ),
      sessions: await read("SELECT user_id, auth_provider_id, auth_provider_session_id IS NULL AS without_session FROM device_auth_providers ORDER BY 1, 2"),
      threepids: await read("SELECT user_id, medium, address FROM user_threepids ORDER BY address"),
      profiles: await read("SELECT user_id, displayname, avatar_url FROM profiles ORDER BY user_id"),
      stages: await read("SELECT stage_type, result FROM ui_auth_sessions_credentials"),
      operations: await read("SELECT method, description, clientdict, serverdict FROM ui_auth_sessions"),
    };
  }

  for (const kind of [a, b]) {
    it(`${kind} is visited, from an empty database`, async () => {
      await server?.kill();
      await postgres.createDatabase(home.database);
      server = await startServer(kind, home);
      seen.push(await script());
      rows.push(await stored());
      await server.stop();
      server = undefined;
    });
  }

  it("the visits are the same", () => {
    assert.deepEqual(differencesOf(seen, ALLOWED, ordered), []);
  });

  it("the rows are the same", () => {
    assert.deepEqual(rows[1], rows[0]);
  });

  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    it(`a login that began with ${from} ends with ${to}, which takes its login tokens and ends its sessions`, async () => {
      await server?.kill();
      await postgres.createDatabase(home.database);
      server = await startServer(from, home);
      provider.person = { sub: "7", preferred_username: "eve" };
      const login = await logIn(tokenOf(await through(newBrowser(), "mapped")));
      const pending = tokenOf(await through(newBrowser(), "mapped"));
      const browser = newBrowser();
      const back = await browser.follow(await browser.get(redirect("mapped")), isHere);
      await server.stop();
      server = await startServer(to, home);
      const page = await browser.get(back.location!);
      assert.equal((await logIn(tokenOf(page))).user_id, "@eve:compat.test");
      assert.equal((await logIn(pending)).user_id, "@eve:compat.test");
      const mine = server.client(login.access_token as string);
      assert.equal((await mine.request("GET", "/_matrix/client/v3/account/whoami")).status, 200);
      const [session] = await postgres.query<{ sid: string }>(
        home.database,
        "SELECT auth_provider_session_id AS sid FROM device_auth_providers WHERE device_id = $1",
        [login.device_id],
      );
      const visit = await newBrowser().post(`${S}/oidc/backchannel_logout`, { logout_token: await logoutToken({ sid: session!.sid, sub: "7" }) });
      assert.equal(visit.status, 200, visit.text);
      assert.equal((await mine.request("GET", "/_matrix/client/v3/account/whoami")).status, 401);
      await server.stop();
      server = undefined;
    });
  }
});

/** Where Myelin does otherwise on purpose: nothing is no name, and none that is free; nonsense from a CAS server is a page, no 500. */
const ALLOWED: ReadonlySet<string> = new Set(["is  free", "an answer <serviceResponse/>"]);

/** Texts without what is another one each time. */
function stable(text: string | undefined): string | undefined {
  return text
    ?.replaceAll(/(state|nonce|code_challenge|code)=[\w-]+/g, "$1=#")
    .replaceAll(/syl_\w+/g, "syl_#")
    .replaceAll(/syt_[\w=+/-]+/g, "syt_#")
    .replaceAll(/("(?:device_id|session)":)"[^"]+"/g, '$1"#"')
    .split("?")
    .map((part, index) => (index === 1 ? part.split("&").sort().join("&") : part))
    .join("?");
}

function ordered(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return (value as unknown[]).map(ordered);
  return Object.fromEntries(
    Object.entries(value)
      .sort(([one], [two]) => (one < two ? -1 : 1))
      .map(([key, each]) => [key, ordered(each)]),
  );
}
