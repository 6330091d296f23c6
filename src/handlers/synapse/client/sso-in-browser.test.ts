import assert from "node:assert/strict";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Browser, Page } from "puppeteer-core";
import { openChromium } from "../../../testing/chromium.ts";
import { CLIENT_ID, CLIENT_SECRET, OpenIdProvider } from "../../../testing/openid-provider.ts";
import { ReverseProxy } from "../../../testing/reverse-proxy.ts";
import { startTestServer, type TestServer } from "../../../testing/server.ts";

describe("logging in through a provider in a browser", function () {
  this.timeout(120_000);
  let browser: Browser | undefined;
  let front: ReverseProxy;
  let server: TestServer;
  let provider: OpenIdProvider;
  let client: http.Server;
  let clientUrl: string;

  before(async function () {
    browser = await openChromium();
    // Without a Chromium on this machine there is nothing to look at.
    if (browser === undefined) {
      process.stderr.write("    skipped: no Chromium here (CHROMIUM names one elsewhere)\n");
      return this.skip();
    }
    front = await ReverseProxy.open();
    provider = await OpenIdProvider.open();
    const terms = await mkdtemp(path.join(tmpdir(), "terms-"));
    await mkdir(path.join(terms, "en"));
    await writeFile(path.join(terms, "en", "1.0.html"), "<h1>The terms</h1>");
    const common = {
      issuer: provider.issuer,
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      skip_verification: true,
      scopes: ["openid", "profile", "email"],
    };
    const mapping = { config: { display_name_template: "{{ user.name }}", email_template: "{{ user.email }}" } };
    server = await startTestServer({
      config: {
        public_baseurl: front.url,
        user_consent: { version: "1.0", template_dir: terms, require_at_registration: true },
        oidc_providers: [
          { ...common, idp_id: "one", idp_name: "The Provider", user_mapping_provider: mapping },
          { ...common, idp_id: "two", idp_name: "Another", issuer: "https://other.example" },
        ],
      },
    });
    front.target = server.url;
    provider.serve({ redirectUri: `${front.url}_synapse/client/oidc/callback` });
    provider.people.set("ann", { sub: "s-ann", name: "Ann <i>", email: "ann@example.org" });
    provider.people.set("bob", { sub: "s-bob", name: "Bob" });
    client = http.createServer((_req, res) => res.writeHead(200, { "content-type": "text/html" }).end("<!DOCTYPE html><title>The client</title>"));
    await new Promise<void>((resolve) => client.listen(0, "localhost", resolve));
    clientUrl = `http://localhost:${(client.address() as AddressInfo).port}/app`;
  });

  after(async () => {
    await browser?.close();
    await server?.close();
    await provider?.close();
    await front?.close();
    await new Promise((resolve) => (client === undefined ? resolve(undefined) : client.close(resolve)));
  });

  /** A page of a browser that nobody has used, and what went wrong in it. */
  async function newPage(): Promise<{ page: Page; troubles: string[] }> {
    const context = await browser!.createBrowserContext();
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const troubles: string[] = [];
    page.on("pageerror", (error) => troubles.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !message.text().includes("favicon")) troubles.push(message.text());
    });
    return { page, troubles };
  }

  const heading = (page: Page): Promise<string> => page.$eval("h1", (element) => element.textContent ?? "");
  const press = async (page: Page, selector: string): Promise<void> => {
    await Promise.all([page.waitForNavigation(), page.click(selector)]);
  };
  const begin = (page: Page): Promise<unknown> => page.goto(`${front.url}_matrix/client/v3/login/sso/redirect?redirectUrl=${encodeURIComponent(clientUrl)}`);

  async function logInAtProvider(page: Page, name: string): Promise<void> {
    assert.equal(await heading(page), "The provider");
    await page.type("input[name=login]", name);
    await press(page, "button");
  }

  it("leads somebody new from the choice of a provider to their account, and back to the client", async () => {
    const { page, troubles } = await newPage();
    await server.register("taken");
    await begin(page);
    assert.equal(await heading(page), "Sign in to test");
    await press(page, "button[value=oidc-one]");
    await logInAtProvider(page, "ann");

    assert.equal(await heading(page), "Choose your name");
    await page.type("#username", "taken");
    await page.waitForFunction("document.getElementById('hint').textContent === 'This name is taken.'");
    await page.click("button[type=submit]");
    await page.$eval("#username", (field) => ((field as unknown as { value: string }).value = ""));
    await page.type("#username", "Ann");
    await page.waitForFunction("document.getElementById('hint').classList.contains('bad') && document.getElementById('hint').textContent.startsWith('Only')");
    await page.$eval("#username", (field) => ((field as unknown as { value: string }).value = ""));
    await page.type("#username", "ann");
    await page.waitForFunction("!document.getElementById('hint').classList.contains('bad')");
    await press(page, "button[type=submit]");

    assert.equal(await heading(page), "Before you begin");
    await page.click("input[name=agree]");
    await press(page, "button[type=submit]");

    assert.equal(await heading(page), "Welcome to test");
    assert.equal(await page.$eval(".client", (element) => element.textContent), clientUrl);
    await press(page, "a.button");
    const landed = new URL(page.url());
    assert.equal(`${landed.origin}${landed.pathname}`, clientUrl);
    const token = landed.searchParams.get("loginToken");
    const { body } = await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token }).expect(200);
    assert.equal(body.user_id, "@ann:test");
    const profile = (await server.anonymous.get("/_matrix/client/v3/profile/@ann:test").expect(200)).body;
    assert.equal(profile.displayname, "Ann <i>");
    assert.deepEqual(
      troubles.filter((text) => !text.includes("404")),
      [],
    );
  });

  it("confirms an operation for the user's own account alone", async () => {
    const { page } = await newPage();
    await begin(page);
    await press(page, "button[value=oidc-one]");
    await logInAtProvider(page, "ann");
    await press(page, "a.button");
    const token = new URL(page.url()).searchParams.get("loginToken");
    const login = (await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token }).expect(200)).body;
    const remove = (auth?: object) =>
      server.as({ accessToken: login.access_token as string }).delete(`/_matrix/client/v3/devices/${login.device_id}`, auth === undefined ? {} : { auth });
    const { session } = (await remove().expect(401)).body as { session: string };
    const fallback = `${front.url}_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`;

    const { page: stranger } = await newPage();
    await stranger.goto(fallback);
    assert.equal(await heading(stranger), "Is it you?");
    await press(stranger, "a.button");
    await logInAtProvider(stranger, "bob");
    assert.equal(await heading(stranger), "That is somebody else");
    await remove({ session }).expect(403);

    await page.goto(fallback);
    await press(page, "a.button");
    assert.equal(await heading(page), "Thank you");
    await remove({ session }).expect(200);
  });
});
