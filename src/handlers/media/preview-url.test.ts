import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { after, before, beforeEach, describe, it } from "mocha";
import sharp from "sharp";
import { LaterThumbnails } from "../../services/media/later-thumbnails.ts";
import { query } from "../../storage/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { imageBomb } from "../../testing/image-bomb.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const BLOCKED = { url_preview_enabled: true, url_preview_ip_range_blacklist: ["127.0.0.0/8", "::1/128"], url_preview_ip_range_whitelist: ["127.0.0.2/32"] };

describe("previews of URLs", () => {
  let server: TestServer;
  let alice: TestUser;
  let web: Server;
  let base: string;
  const clock = new FakeClock();
  const pages = new Map<string, (req: IncomingMessage, res: ServerResponse) => void>();
  const asked: IncomingMessage[] = [];

  before(async () => {
    web = createServer((req, res) => {
      asked.push(req);
      const page = pages.get(req.url!.split("?")[0]!);
      if (page === undefined) res.writeHead(404).end();
      else page(req, res);
    }).listen(0, "0.0.0.0");
    await new Promise((resolve) => web.once("listening", resolve));
    base = `http://127.0.0.2:${(web.address() as AddressInfo).port}`;
    server = await startTestServer({
      clock,
      config: {
        ...BLOCKED,
        max_spider_size: "200K",
        url_preview_accept_language: ["de", "en;q=0.8"],
        url_preview_url_blacklist: [{ path: "*/private/*" }, { username: "*" }, { hostname: "^evil", scheme: "http" }],
      },
    });
    alice = await server.register("alice");
  });
  after(async () => {
    await server.close();
    web.closeAllConnections();
    await new Promise((resolve) => web.close(resolve));
  });
  beforeEach(() => {
    pages.clear();
    asked.length = 0;
  });

  const serve = (path: string, body: string | Buffer, type = "text/html", headers: Record<string, string> = {}): string => {
    pages.set(path, (_req, res) => res.writeHead(200, { "content-type": type, ...headers }).end(body));
    return base + path;
  };
  const request = (url: string, query = "") => server.as(alice).get(`/_matrix/client/v1/media/preview_url?url=${encodeURIComponent(url)}${query}`);
  const preview = async (url: string): Promise<Record<string, unknown>> => (await request(url).expect(200)).body as Record<string, unknown>;
  const picture = (): Promise<Buffer> =>
    sharp({ create: { width: 40, height: 30, channels: 3, background: "#3366cc" } })
      .png()
      .toBuffer();

  it("tells what a page says of itself, and gives its picture as media", async () => {
    serve("/a/picture.png", await picture(), "image/png");
    const url = serve(
      "/a/page",
      `<html><head><meta property="og:title" content="Caf&eacute; &amp; more"><meta property="og:image" content="picture.png"><meta name="twitter:title" content="no">
       <meta name="twitter:site" content="@site"><meta property="og:description" content="  Two   words "></head><body>text</body></html>`,
    );
    const og = await preview(url);
    const { "og:image": image, "matrix:image:size": size, ...rest } = og;
    assert.deepEqual(rest, {
      "og:site_name": "@site",
      "og:title": "Café & more",
      "og:description": "Two words",
      "og:image:type": "image/png",
      "og:image:width": 40,
      "og:image:height": 30,
    });
    assert.equal(size, (await picture()).length);
    const mediaPath = (image as string).replace("mxc://", "");
    await server.as(alice).get(`/_matrix/client/v1/media/download/${mediaPath}`).expect(200).expect("content-type", "image/png");
    await server.as(alice).get(`/_matrix/client/v1/media/thumbnail/${mediaPath}?width=32&height=32&method=crop`).expect(200);
    assert.match(mediaPath, /^test\/\d{4}-\d\d-\d\d_[A-Za-z]{16}$/);
  });

  it("has its rows when it is given, its thumbnails soon after, and neither rows nor files of its picture when they cannot be written", async () => {
    serve("/rows/picture.png", await picture(), "image/png");
    const html = `<title>t</title><meta property="og:image" content="picture.png"><body>text</body>`;
    const files = async (): Promise<string[]> => {
      const entries = await readdir(server.ctx.config.media.mediaStorePath, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    };
    const rows = (url: string): Promise<{ media_type: string; thumbnails: number; previews: number }[]> =>
      query(
        server.ctx.read,
        `SELECT m.media_type, (SELECT count(*) FROM local_media_repository_thumbnails AS t WHERE t.media_id = m.media_id) AS thumbnails,
           (SELECT count(*) FROM local_media_repository_url_cache AS c WHERE c.media_id = m.media_id) AS previews
         FROM local_media_repository AS m WHERE m.url_cache LIKE $1 ORDER BY m.media_type`,
        [`${url}%`],
      );
    const before = await files();
    const table = "local_media_repository_url_cache";
    await query(server.ctx.read, `ALTER TABLE ${table} ADD CONSTRAINT none CHECK (url NOT LIKE '%/rows/%')`);
    try {
      await request(serve("/rows/failing", html)).expect(500);
    } finally {
      await query(server.ctx.read, `ALTER TABLE ${table} DROP CONSTRAINT none`);
    }
    assert.deepEqual(await rows(`${base}/rows/`), [{ media_type: "text/html", thumbnails: 0, previews: 0 }]);
    assert.equal((await files()).length, before.length + 1, "the page, which has its row");

    await preview(serve("/rows/page", html));
    await server.ctx.media.later.settled();
    assert.deepEqual(await rows(`${base}/rows/p`), [
      { media_type: "image/png", thumbnails: 3, previews: 0 },
      { media_type: "text/html", thumbnails: 0, previews: 1 },
    ]);
  });

  it("falls back to title, largest image and text, leaving out menus and scripts", async () => {
    serve("/big.png", await picture(), "image/png");
    const url = serve(
      "/plain",
      `<title> A title </title><body><nav>Home About</nav><script>var x</script><p role="menu">menu</p><h1>Head</h1><img src="/small.png" width="5" height="5">
       <img src="/medium.png" width="20" height="20"><img src="/big.png" width="200" height="200"><p>First<br>second</p><footer>foot</footer>after</body>`,
    );
    const og = await preview(url);
    assert.equal(og["og:title"], "A title");
    assert.equal(og["og:description"], "Head\n\nFirst\n\nsecond\n\nafter");
    assert.ok((og["og:image"] as string).startsWith("mxc://test/"));
    assert.deepEqual(
      asked.map((req) => req.url),
      ["/plain", "/big.png"],
    );
  });

  it("cuts a long description at a word", async () => {
    const url = serve("/long", `<body><p>${"lorem ipsum ".repeat(100)}</p></body>`);
    const text = (await preview(url))["og:description"] as string;
    assert.ok(text.endsWith("…") && text.length <= 501 && text.length > 480, text);
    assert.match(text, /(lorem|ipsum)…$/);
  });

  it("reads pages in the encoding they declare, the one of the header, and none", async () => {
    const latin = Buffer.from("<title>Gr\xfc\xdfe</title><body>x</body>", "latin1");
    assert.equal((await preview(serve("/latin", latin, "text/html; charset=iso-8859-1")))["og:title"], "Grüße");
    assert.equal((await preview(serve("/undeclared", latin)))["og:title"], "Grüße");
    const russian = Buffer.concat([Buffer.from('<meta charset="koi8-r"><title>'), Buffer.from([0xf2, 0xd5, 0xd3]), Buffer.from("</title><body>x</body>")]);
    assert.equal((await preview(serve("/koi8", russian, "text/html; charset=utf-8")))["og:title"], "Рус");
    assert.equal((await preview(serve("/unknown", "<title>ü</title><body>x</body>", "text/html; charset=nonsense")))["og:title"], "ü");
  });

  it("gives an image as its own preview", async () => {
    const url = serve("/cat.png", await picture(), "image/png", { "content-disposition": 'inline; filename="cat.png"' });
    const og = await preview(url);
    assert.equal(og["og:description"], "cat.png");
    assert.deepEqual([og["og:image:width"], og["og:image:height"], og["og:image:type"]], [40, 30, "image/png"]);
  });

  it("asks the oEmbed address that a page names", async () => {
    serve(
      "/oembed",
      JSON.stringify({
        version: "1.0",
        type: "rich",
        title: "Tom &amp; Jerry",
        author_name: "Al",
        html: "<p>Content</p>",
        provider_name: "Site",
        cache_age: "60",
      }),
      "application/json",
    );
    const url = serve("/post", `<head><link rel="alternate" type="application/json+oembed" href="${base}/oembed"></head><body></body>`);
    const og = await preview(url);
    assert.deepEqual(og, { "og:url": url, "og:title": "Tom & Jerry", "og:site_name": "Site", "og:description": "Content" });
    const rows = await query<{ life: number }>(
      server.ctx.read,
      `SELECT expires_ts - download_ts AS life FROM local_media_repository_url_cache WHERE url = $1`,
      [url],
    );
    assert.equal(rows[0]!.life, 60_000);
  });

  it("reaches no address of the blocked ranges: written out, by name, or by a redirect", async () => {
    const port = (web.address() as AddressInfo).port;
    pages.set("/redirect", (_req, res) => res.writeHead(302, { location: `http://127.0.0.1:${port}/inside` }).end());
    serve("/inside", "<title>secret</title>");
    for (const host of ["127.0.0.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"]) {
      const { status } = await request(`http://${host}:${port}/inside`);
      assert.equal(status, 403, host);
    }
    await request(`http://localhost:${port}/inside`).expect(502);
    await request(`${base}/redirect`).expect(403);
    assert.deepEqual(
      asked.map((req) => req.url),
      ["/redirect"],
    );
  });

  it("does not fetch what the blocklist names, not after a redirect either (CVE-2023-32683)", async () => {
    pages.set("/to-private", (_req, res) => res.writeHead(301, { location: "/x/private/y" }).end());
    serve("/x/private/y", "<title>no</title>");
    await request(`${base}/x/private/y`).expect(403);
    await request(`${base}/to-private`).expect(403);
    await request(`http://user@127.0.0.2/`).expect(403);
    await request(`http://evil.example/`).expect(403);
    assert.equal(asked.length, 1);
  });

  it("answers errors without a 500 for addresses that are none, pages that are missing, too large or of other types", async () => {
    for (const url of ["", "nonsense", "ftp://127.0.0.2/x", "file:///etc/passwd", "data:text/html,<title>x</title>", "http://", "http://x\0y/"]) {
      const { status } = await request(url);
      assert.equal(status, 400, JSON.stringify(url));
    }
    await server.as(alice).get("/_matrix/client/v1/media/preview_url").expect(400);
    await request(`${base}/missing`).expect(502);
    await request(serve("/zip", "PK", "application/zip")).expect(502);
    const large = await request(serve("/large", "x".repeat(300_000))).expect(502);
    assert.equal((large.body as { errcode: string }).errcode, "M_TOO_LARGE");
    await request(serve("/bomb", gzipSync("x".repeat(5_000_000)), "text/html", { "content-encoding": "gzip" })).expect(502);
  });

  it("reads nothing of streams that are no pages, and of pages without end no more than it may (CVE-2022-41952)", async () => {
    const written = { stream: 0, page: 0 };
    const endless =
      (kind: keyof typeof written, type: string) =>
      (_req: IncomingMessage, res: ServerResponse): void => {
        res.writeHead(200, { "content-type": type });
        const chunk = Buffer.alloc(16 * 1024, "x");
        const more = (): void => {
          while (!res.destroyed && res.write(chunk)) written[kind] += chunk.length;
        };
        res.on("drain", more).on("close", () => closed.add(kind));
        more();
      };
    const closed = new Set<string>();
    pages.set("/radio", endless("stream", "audio/mpeg"));
    pages.set("/novel", endless("page", "text/html"));
    await request(`${base}/radio`).expect(502);
    await request(`${base}/novel`).expect(502);
    for (const end = Date.now() + 20_000; closed.size < 2; await new Promise((resolve) => setTimeout(resolve, 5)))
      assert.ok(Date.now() < end, [...closed].join());
    for (const bytes of Object.values(written)) assert.ok(bytes < 32 * 1024 * 1024, `${bytes} bytes were taken`);
  });

  it("follows redirects for a while only, and to nothing but web pages", async () => {
    pages.set("/round", (_req, res) => res.writeHead(302, { location: "/round" }).end());
    await request(`${base}/round`).expect(502);
    assert.ok(asked.length < 30, `${asked.length} requests`);
    for (const location of ["file:///etc/passwd", "ftp://127.0.0.2/x", "gopher://127.0.0.2/", "http://[", "//127.0.0.1/inside"]) {
      pages.set("/away", (_req, res) => res.writeHead(307, { location }).end());
      const { status } = await request(`${base}/away?${encodeURIComponent(location)}`);
      assert.ok([400, 403, 502].includes(status), `${location}: ${status}`);
    }
  });

  it("believes no body that is something else than it says, and none that breaks off", async () => {
    const page = "<title>t</title><body>x</body>";
    assert.equal((await preview(serve("/no-picture", page, "image/png")))["og:image:width"], undefined);
    const { status } = await request(serve("/no-page", await picture(), "text/html"));
    assert.ok(status === 200 || status === 502, String(status));
    await request(serve("/not-packed", page, "text/html", { "content-encoding": "gzip" })).expect(502);
    await request(serve("/cut", gzipSync(page).subarray(0, 20), "text/html", { "content-encoding": "gzip" })).expect(502);
    pages.set("/short", (_req, res) => {
      res.writeHead(200, { "content-type": "text/html", "content-length": "100000" }).write(page);
      setImmediate(() => res.destroy());
    });
    await request(`${base}/short`).expect(502);
    pages.set("/odd", (_req, res) => res.writeHead(200, { "content-type": 'text/html; charset="no such"' }).end(page));
    assert.equal((await preview(`${base}/odd`))["og:title"], "t");
    assert.equal((await preview(serve("/json", '{"html":', "application/json+oembed")).catch(() => ({})))["og:title" as never], undefined);
  });

  it("gives a page without its picture, where that is out of reach, endless or far larger than it looks", async () => {
    const port = (web.address() as AddressInfo).port;
    serve("/huge.png", imageBomb(), "image/png");
    pages.set("/endless.png", (_req, res) => {
      res.writeHead(200, { "content-type": "image/png" });
      const more = (): void => {
        while (!res.destroyed && res.write(Buffer.alloc(16 * 1024)));
      };
      res.on("drain", more);
      more();
    });
    for (const src of [`http://127.0.0.1:${port}/inside.png`, "file:///etc/passwd", `${base}/endless.png`, `${base}/private/x.png`]) {
      const og = await preview(serve(`/with-${src.length}`, `<title>t</title><meta property="og:image" content="${src}"><body>x</body>`));
      assert.equal(og["og:title"], "t", src);
      assert.equal(og["matrix:image:size"], undefined, src);
    }
    // A file of few bytes that says to be a picture of many: what it says is passed on, nothing is decoded.
    const og = await preview(serve("/with-huge", `<title>t</title><meta property="og:image" content="${base}/huge.png"><body>x</body>`));
    assert.equal(og["og:title"], "t");
    assert.ok(asked.every((req) => req.socket.localAddress !== "127.0.0.1"));
  });

  it("decompresses, and says who it is and which languages it prefers", async () => {
    const og = await preview(serve("/gzip", gzipSync("<title>packed</title><body>x</body>"), "text/html", { "content-encoding": "gzip" }));
    assert.equal(og["og:title"], "packed");
    assert.match(asked[0]!.headers["user-agent"]!, /bot/);
    assert.equal(asked[0]!.headers["accept-language"], "de, en;q=0.8");
  });

  it("fetches an address once however many ask, and again when its hour is over", async () => {
    const url = serve("/once", "<title>one</title><body>x</body>");
    await Promise.all([preview(url), preview(url), preview(url)]);
    assert.equal(asked.length, 1);
    clock.advance(61 * 60_000);
    serve("/once", "<title>two</title><body>x</body>");
    assert.equal((await preview(url))["og:title"], "two");
    assert.equal(asked.length, 2);
  });

  it("gives an older preview where a time in the past is asked for, from the database", async () => {
    const url = serve("/history", "<title>new</title><body>x</body>");
    await query(
      server.ctx.read,
      `INSERT INTO local_media_repository_url_cache (url, response_code, expires_ts, og, media_id, download_ts) VALUES ($1, 200, 2000, '{"og:title":"old"}', 'x', 1000)`,
      [url],
    );
    const { body } = await request(url, "&ts=1500").expect(200);
    assert.deepEqual(body, { "og:title": "old" });
    assert.equal(asked.length, 0);
  });

  it("CVE-2022-31052: drops overlong values and pages with too many tags, and survives deep nesting", async () => {
    const og = await preview(
      serve("/overlong", `<meta property="og:title" content="t"><meta property="og:video" content="${"x".repeat(1001)}"><body>x</body>`),
    );
    assert.equal(og["og:video"], undefined);
    const many = Array.from({ length: 60 }, (_, i) => `<meta property="og:k${i}" content="v">`).join("");
    assert.deepEqual(await preview(serve("/many", `<title>t</title>${many}<body>x</body>`)), { "og:title": "t", "og:description": "x" });
    assert.equal((await preview(serve("/deep", `<title>deep</title>${"<div>".repeat(30_000)}`)))["og:title"], "deep");
    assert.equal((await preview(serve("/misplaced", "<head><title>t</title><p>before</p></head><body>after</body>")))["og:description"], "before\n\nafter");
    assert.deepEqual(await preview(serve("/empty", "<html><body> </body></html>")), {});
  });

  it("has thumbnails of its picture as soon as they are asked for, also where a crash came before they were made", async () => {
    const thumbnail = async (uri: string): Promise<Buffer> => {
      const path = `/_matrix/client/v1/media/thumbnail/${uri.replace("mxc://", "")}?width=32&height=32&method=crop`;
      return (await server.as(alice).get(path).expect(200).expect("content-type", "image/png")).body as Buffer;
    };
    const uri = (await preview(serve("/asked.png", await picture(), "image/png")))["og:image"] as string;
    const made = await thumbnail(uri);
    await server.ctx.media.later.settled();
    assert.deepEqual(await thumbnail(uri), made);

    const { later } = server.ctx.media;
    later.add = () => Promise.resolve(); // the crash
    const unmade = (await preview(serve("/crash.png", await picture(), "image/png")))["og:image"] as string;
    later.add = LaterThumbnails.prototype.add.bind(later);
    assert.deepEqual(await thumbnail(unmade), made);
  });

  it("removes previews that are out of date with their pages, and pictures two days later", async () => {
    const url = serve("/expire.png", await picture(), "image/png");
    const mediaPath = ((await preview(url))["og:image"] as string).replace("mxc://", "");
    const count = async (table: string): Promise<number> => (await query<{ n: number }>(server.ctx.read, `SELECT count(*) AS n FROM ${table}`))[0]!.n;
    clock.advance(25 * 3_600_000);
    await server.server.jobs.runOnce("expire_url_cache_data");
    assert.equal(await count("local_media_repository_url_cache"), 0);
    await server.as(alice).get(`/_matrix/client/v1/media/download/${mediaPath}`).expect(200);
    clock.advance(48 * 3_600_000);
    await server.server.jobs.runOnce("expire_url_cache_data");
    assert.equal(await count("local_media_repository"), 0);
    assert.equal(await count("local_media_repository_thumbnails"), 0);
    await server.as(alice).get(`/_matrix/client/v1/media/download/${mediaPath}`).expect(404);
  });

  it("answers on the old path too, users only, and not where previews are off", async () => {
    await server.anonymous.get(`/_matrix/client/v1/media/preview_url?url=${base}`).expect(401);
    const url = serve("/old", "<title>old path</title><body>x</body>");
    const { body } = await server
      .as(alice)
      .get(`/_matrix/media/v3/preview_url?url=${encodeURIComponent(url)}`)
      .expect(200);
    assert.equal((body as Record<string, unknown>)["og:title"], "old path");
    const off = await startTestServer();
    try {
      const bob = await off.register("bob");
      const answer = await off.as(bob).get(`/_matrix/client/v1/media/preview_url?url=${base}`).expect(404);
      assert.equal((answer.body as { errcode: string }).errcode, "M_UNRECOGNIZED");
    } finally {
      await off.close();
    }
  });

  it("leaves no thumbnails unmade when the server stops", async () => {
    const pictures = await Promise.all([1, 2, 3].map(async (index) => serve(`/stop${index}.png`, await picture(), "image/png")));
    await Promise.all(pictures.map((url) => preview(url)));
    await server.server.close();
    const [made] = await query<{ n: number }>(
      server.database.database.read,
      `SELECT count(DISTINCT t.media_id) AS n FROM local_media_repository_thumbnails AS t JOIN local_media_repository AS m USING (media_id)
       WHERE m.url_cache LIKE '%/stop%'`,
    );
    assert.equal(made!.n, 3);
  });
});
