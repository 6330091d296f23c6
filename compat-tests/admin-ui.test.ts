import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import type { Browser, Page } from "puppeteer-core";
import { openChromium } from "../src/testing/chromium.ts";
import { startTestServer, type TestServer, type TestUser } from "../src/testing/server.ts";
import { execute } from "../src/storage/database.ts";
import { openListeners } from "../src/handlers/http/listen.ts";
import { routes } from "../src/handlers/routes.ts";

const DIST = process.env["SYNAPSE_ADMIN_DIST"] ?? "";

/**
 * The real synapse-admin in a real browser: every page and tab shows what is there, and what its buttons do is done. SYNAPSE_ADMIN_DIST names
 * the folder of its build (`yarn build` or `npx vite build` in github.com/Awesome-Technologies/synapse-admin).
 */
describe("synapse-admin", function () {
  this.timeout(180_000);
  let server: TestServer;
  let admin: TestUser;
  let alice: TestUser;
  let roomId: string;
  let site: HttpServer;
  let browser: Browser;
  let page: Page;
  let homeserver: string;
  let close: () => Promise<void>;
  /** Requests that the homeserver refused, and what went wrong in the page. */
  let trouble: string[] = [];
  let calls: string[] = [];

  before(async function () {
    if (!existsSync(path.join(DIST, "index.html"))) {
      console.log("      SYNAPSE_ADMIN_DIST does not name a build of synapse-admin");
      return this.skip();
    }
    const opened = await openChromium();
    if (opened === undefined) {
      console.log("      there is no chromium here");
      return this.skip();
    }
    browser = opened;
    server = await startTestServer({ config: { room_list_publication_rules: [{ action: "allow" }] } });
    await furnish();
    const listener = { ...server.ctx.config.server.listeners[0]!, port: 0 };
    const listeners = await openListeners(server.ctx, [listener], routes, server.ctx.config.tls.files);
    homeserver = listeners.addresses[0]!;
    site = createServer((request, response) => {
      const file = path.join(DIST, path.normalize(new URL(request.url!, "http://x").pathname));
      const found = existsSync(file) && statSync(file).isFile() ? file : path.join(DIST, "index.html");
      const type = { ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".html": "text/html" }[path.extname(found)];
      response.writeHead(200, type === undefined ? {} : { "Content-Type": type }).end(readFileSync(found));
    });
    await new Promise<void>((resolve) => void site.listen(0, "127.0.0.1", resolve));
    page = await browser.newPage();
    // Some of its versions leave this to the way they are built.
    await page.evaluateOnNewDocument(`globalThis.__SYNAPSE_ADMIN_VERSION__ = "test";`);
    await page.setViewport({ width: 1600, height: 1200 });
    page.on("response", (response) => {
      const url = response.url();
      if (!url.startsWith(homeserver)) return;
      const call = `${response.request().method()} ${url.slice(homeserver.length)}`;
      calls.push(call);
      if (response.status() >= 400) trouble.push(`${response.status()} ${call}`);
    });
    page.on("requestfailed", (request) => {
      if (request.url().startsWith(homeserver) && request.failure()?.errorText !== "net::ERR_ABORTED")
        trouble.push(`${request.failure()?.errorText} ${request.url()}`);
    });
    page.on("pageerror", (error) => trouble.push(`page: ${error instanceof Error ? error.message : String(error)}`));
    close = () => listeners.close();
  });
  after(async () => {
    await browser?.close();
    site?.close();
    await close?.();
    await server?.close();
  });
  beforeEach(() => {
    trouble = [];
    calls = [];
  });
  afterEach(() => assert.deepEqual(trouble, []));

  /** Users, rooms, media, reports, tokens and other servers to look at. */
  async function furnish(): Promise<void> {
    admin = await server.register("admin", { admin: true });
    alice = await server.register("alice");
    const as = server.as(alice);
    roomId = (
      (await as.post("/_matrix/client/v3/createRoom", { preset: "public_chat", name: "Tea room", topic: "Cups" }).expect(200)).body as { room_id: string }
    ).room_id;
    const sent = await as.put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/1`, { msgtype: "m.text", body: "milk first" }).expect(200);
    await as.post(`/_matrix/client/v3/rooms/${roomId}/report/${(sent.body as { event_id: string }).event_id}`, { score: -50, reason: "heresy" }).expect(200);
    await as.request("post", "/_matrix/media/v3/upload?filename=cup.txt").set("Content-Type", "text/plain").send("a cup").expect(200);
    await as
      .post("/_matrix/client/v3/pushers/set", {
        kind: "http",
        app_id: "tea.app",
        app_display_name: "Tea",
        device_display_name: "Pot",
        pushkey: "k",
        lang: "en",
        data: { url: "https://push.invalid/_matrix/push/v1/notify" },
      })
      .expect(200);
    await server.as(admin).post("/_synapse/admin/v1/registration_tokens/new", { token: "teatime", uses_allowed: 3 }).expect(200);
    await as.put(`/_matrix/client/v3/directory/list/room/${roomId}`, { visibility: "public" }).expect(200);
    await server.ctx.transaction("destinations", async (txn) => {
      await execute(txn, "INSERT INTO destinations (destination, retry_last_ts, retry_interval, failure_ts) VALUES ('far.example', 1000, 60000, 1000)");
      await execute(txn, "INSERT INTO destination_rooms (destination, room_id, stream_ordering) VALUES ('far.example', $1, 5)", [roomId]);
    });
    await server.server.followers.runOnce();
  }

  const shows = async (text: string): Promise<void> => {
    const seen = (): Promise<string> => page.evaluate("document.body.innerText") as Promise<string>;
    const inputs = (): Promise<string> =>
      page.evaluate(`[...document.querySelectorAll("input, textarea")].map((one) => one.value).join("\\n")`) as Promise<string>;
    for (let tries = 0; tries < 100; tries++) {
      if (`${await seen()}\n${await inputs()}`.includes(text)) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.fail(`${page.url()} does not show ${text}, but:\n${(await seen()).slice(0, 1500)}\n${calls.join("\n")}`);
  };
  const open = async (place: string, ...texts: string[]): Promise<void> => {
    await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/#${place}`);
    for (const text of texts) await shows(text);
  };
  const type = async (name: string, text: string): Promise<void> => {
    const field = (await page.waitForSelector(`[name="${name}"]`, { timeout: 20_000 }))!;
    await field.click({ clickCount: 3 });
    await field.type(text);
  };
  const click = async (label: string): Promise<void> => {
    const selector = `::-p-xpath(//button[normalize-space(.)="${label}" or @aria-label="${label}"] | //a[normalize-space(.)="${label}" or @aria-label="${label}"])`;
    const found = await page.waitForSelector(selector, { timeout: 20_000, visible: true });
    await found!.evaluate((element) => (element as unknown as { click(): void }).click());
  };
  const called = async (call: string): Promise<void> => {
    for (let tries = 0; tries < 100; tries++) {
      if (calls.some((one) => one.startsWith(call))) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.fail(`${call} was not asked for, but:\n${calls.join("\n")}`);
  };
  const user = (id: string): string => encodeURIComponent(id);

  it("lets an admin in", async () => {
    await open("/login");
    await type("base_url", homeserver);
    await type("username", "admin");
    await type("password", "correct horse battery staple");
    await called("GET /_synapse/admin/v1/server_version");
    await click("Sign in");
    await shows("@alice:test");
  });

  it("lists, shows, makes and changes users", async () => {
    await open("/users", "@admin:test", "@alice:test");
    const place = `/users/${user("@alice:test")}`;
    await open(place, "@alice:test", "alice");
    await open(`${place}/threepid`, "3PIDs");
    await open(`${place}/devices`, alice.deviceId);
    await open(`${place}/connections`);
    await called("GET /_synapse/admin/v1/whois/");
    await open(`${place}/media`, "cup.txt");
    await open(`${place}/rooms`, "Tea room");
    await open(`${place}/pushers`, "tea.app");
    await open(place, "alice");
    await type("displayname", "Alice in Wonderland");
    await click("Save");
    await called("PUT /_synapse/admin/v2/users/");
    await open("/users", "Alice in Wonderland");
    await open("/users/create");
    await type("id", "queen");
    await type("displayname", "Queen of Hearts");
    await type("password", "off with her head");
    await click("Save");
    await called("PUT /_synapse/admin/v2/users/");
    await open("/users", "@queen:test", "Queen of Hearts");
  });

  it("lists and shows rooms", async () => {
    await open("/rooms", "Tea room");
    const place = `/rooms/${encodeURIComponent(roomId)}/show`;
    await open(place, roomId, "Tea room", "@alice:test");
    await open(`${place}/detail`, "1");
    await open(`${place}/members`, "@alice:test");
    await open(`${place}/permission`, "Public");
    await open(`${place}/state`, "m.room.topic");
    await open(`${place}/forward_extremities`, "$");
    await open("/room_directory", "Tea room");
  });

  it("shows reports, media statistics, registration tokens and other servers", async () => {
    await open("/reports", "Tea room");
    const { event_reports: reports } = (await server.as(admin).get("/_synapse/admin/v1/event_reports").expect(200)).body as { event_reports: { id: number }[] };
    await open(`/reports/${reports[0]!.id}/show`, "heresy");
    await open(`/reports/${reports[0]!.id}/show/detail`, "milk first");
    await open("/user_media_statistics", "@alice:test");
    await open("/registration_tokens", "teatime");
    await open("/registration_tokens/teatime", "teatime");
    await open("/registration_tokens/create");
    await type("token", "supper");
    await click("Save");
    await called("POST /_synapse/admin/v1/registration_tokens/new");
    await open("/registration_tokens", "supper");
    await open("/destinations", "far.example");
    await open("/destinations/far.example/show", "far.example");
    await open("/destinations/far.example/show/rooms", "Tea room");
  });

  it("closes accounts and deletes rooms", async () => {
    await open(`/users/${user("@queen:test")}`, "Queen of Hearts");
    await page.waitForSelector(`button[aria-label*="rase"], button.ra-delete-button`, { timeout: 20_000 });
    await page.evaluate(`document.querySelector('button[aria-label*="rase"], button.ra-delete-button').click()`);
    await click("Confirm");
    await called("POST /_synapse/admin/v1/deactivate/");
    await open(`/rooms/${encodeURIComponent(roomId)}/show`, "Tea room");
    await click("Delete");
    await click("Confirm");
    await called("DELETE /_synapse/admin/");
  });
});
