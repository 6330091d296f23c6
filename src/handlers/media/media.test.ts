import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import sharp from "sharp";
import { imageBomb } from "../../testing/image-bomb.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

describe("media repository", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
    bob = await server.register("bob");
  });
  after(() => server.close());

  const upload = async (body: Buffer, type: string, name?: string): Promise<string> => {
    const response = await server
      .as(alice)
      .request("post", `/_matrix/media/v3/upload${name === undefined ? "" : `?filename=${encodeURIComponent(name)}`}`)
      .set("Content-Type", type)
      .send(body)
      .expect(200);
    return (response.body as { content_uri: string }).content_uri.replace("mxc://test/", "");
  };
  const picture = (width: number, height: number): Promise<Buffer> =>
    sharp({ create: { width, height, channels: 3, background: "#3366cc" } })
      .png()
      .toBuffer();

  it("gives back what was uploaded, with its type and name", async () => {
    const id = await upload(Buffer.from("hello"), "text/plain", "grüße.txt");
    const response = await server.as(bob).get(`/_matrix/client/v1/media/download/test/${id}`).expect(200);
    assert.equal(response.text, "hello");
    assert.equal(response.headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(response.headers["content-disposition"], "inline; filename*=utf-8''gr%C3%BC%C3%9Fe.txt");
  });

  it("names a file as the request wishes", async () => {
    const id = await upload(Buffer.from("hello"), "text/plain", "a.txt");
    const { headers } = await server.as(bob).get(`/_matrix/client/v1/media/download/test/${id}/b.txt`).expect(200);
    assert.equal(headers["content-disposition"], "inline; filename=b.txt");
  });

  it("shows media to everybody by the old routes where the admin leaves it so", async () => {
    const open = await startTestServer({ config: { enable_authenticated_media: false } });
    try {
      const client = open.as(await open.register("carol"));
      const { body } = await client
        .request("post", "/_matrix/media/v3/upload")
        .set("Content-Type", "image/png")
        .send(await picture(100, 100))
        .expect(200);
      const path = String(body.content_uri).slice("mxc://".length);
      await open.anonymous.get(`/_matrix/media/v3/download/${path}`).expect(200).expect("content-type", "image/png");
      await open.anonymous.get(`/_matrix/media/v3/download/${path}/x.png`).expect(200).expect("content-disposition", "inline; filename=x.png");
      const { body: small } = await open.anonymous.get(`/_matrix/media/v3/thumbnail/${path}?width=32&height=32&method=crop`).expect(200);
      assert.equal((await sharp(small as Buffer).metadata()).width, 32);
    } finally {
      await open.close();
    }
  });

  it("shows new media to requests with a token only", async () => {
    const id = await upload(Buffer.from("secret"), "text/plain");
    await server.as(bob).get(`/_matrix/client/v1/media/download/test/${id}/`).expect(200);
    await server.anonymous.get(`/_matrix/media/v3/download/test/${id}`).expect(404);
    await server.anonymous.get(`/_matrix/client/v1/media/download/test/${id}`).expect(401);
  });

  it("makes the configured thumbnails of an image, never larger than it", async () => {
    const id = await upload(await picture(1000, 700), "image/png");
    const response = await server.as(alice).get(`/_matrix/client/v1/media/thumbnail/test/${id}?width=800&height=600&method=scale`).expect(200);
    const { width, height } = await sharp(response.body as Buffer).metadata();
    assert.deepEqual([width, height], [800, 560]);
    const crop = await server.as(alice).get(`/_matrix/client/v1/media/thumbnail/test/${id}?width=32&height=32&method=crop`).expect(200);
    const small = await sharp(crop.body as Buffer).metadata();
    assert.deepEqual([small.width, small.height], [32, 32]);
  });

  it("CVE-2024-53863: never decodes what is not an image of its declared type", async () => {
    const svg = await upload(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>'), "image/png");
    await server.as(alice).get(`/_matrix/client/v1/media/thumbnail/test/${svg}?width=32&height=32`).expect(400);
    const lied = await upload(await picture(50, 50), "image/jpeg");
    await server.as(alice).get(`/_matrix/client/v1/media/thumbnail/test/${lied}?width=32&height=32`).expect(400);
  });

  it("decodes no image of more pixels than it may, however small its file is", async () => {
    const id = await upload(imageBomb(), "image/png");
    const before = process.memoryUsage.rss();
    await server.as(alice).get(`/_matrix/client/v1/media/thumbnail/test/${id}?width=32&height=32`).expect(400);
    assert.ok(process.memoryUsage.rss() - before < 1e9);
  });

  it("CVE-2021-41281: ids and server names cannot leave the store", async () => {
    for (const path of ["test/..%2f..%2fetc", "test/%2e%2e", "%2e%2e/abcdefgh", "test/a%00b", "test/a%5cb", "test/" + "x".repeat(5000)]) {
      const { status } = await server.as(alice).get(`/_matrix/client/v1/media/download/${path}`);
      assert.ok(status === 404 || status === 400, `${path}: ${status}`);
    }
  });

  it("fills a reserved id once, and only by who reserved it", async () => {
    const { body } = await server.as(alice).post("/_matrix/media/v1/create").expect(200);
    const id = (body as { content_uri: string }).content_uri.replace("mxc://test/", "");
    await server.as(bob).get(`/_matrix/client/v1/media/download/test/${id}?timeout_ms=0`).expect(504);
    const put = (user: TestUser) => server.as(user).request("put", `/_matrix/media/v3/upload/test/${id}`).set("Content-Type", "text/plain").send("later");
    await put(bob).expect(403);
    await put(alice).expect(200);
    const again = await put(alice).expect(409);
    assert.equal((again.body as { errcode: string }).errcode, "M_CANNOT_OVERWRITE_MEDIA");
    await server.as(bob).get(`/_matrix/client/v1/media/download/test/${id}`).expect(200);
  });

  it("refuses uploads over the limit before reading them", async () => {
    const response = await server
      .as(alice)
      .request("post", "/_matrix/media/v3/upload")
      .set("Content-Length", String(60 * 1024 * 1024))
      .set("Content-Type", "text/plain")
      .send();
    assert.equal(response.status, 413);
    assert.equal((response.body as { errcode: string }).errcode, "M_TOO_LARGE");
  });

  it("tuwunel 1.9.0: odd cases of a content type do not escape the inline list, and every answer has CSP and nosniff", async () => {
    const id = await upload(Buffer.from("<script>1</script>"), "TEXT/html");
    const response = await server.as(alice).get(`/_matrix/client/v1/media/download/test/${id}`).expect(200);
    assert.equal(response.headers["content-disposition"], "attachment");
    assert.match(response.headers["content-security-policy"] as string, /^sandbox/);
    assert.equal(response.headers["x-content-type-options"], "nosniff");
  });
});
