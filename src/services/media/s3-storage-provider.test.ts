import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, beforeEach, describe, it } from "mocha";
import { systemClock } from "../../lib/clock.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");

/** A bucket over HTTP that wants requests signed (AWS Signature Version 4). */
class Bucket {
  readonly objects = new Map<string, Buffer>();
  readonly requests: { method: string; key: string; headers: IncomingMessage["headers"] }[] = [];
  /** Requests that are answered by 500 before it works again. */
  broken = 0;
  private constructor(private readonly server: Server) {}

  static async start(): Promise<Bucket> {
    const server = createServer();
    const bucket = new Bucket(server);
    server.on("request", (req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => void chunks.push(chunk));
      req.on("end", () => {
        const { status, body = Buffer.alloc(0) } = bucket.answer(req, Buffer.concat(chunks));
        res.writeHead(status, { "Content-Length": body.length, ETag: '"x"' }).end(body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return bucket;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(req: IncomingMessage, body: Buffer): { status: number; body?: Buffer } {
    const { pathname, searchParams } = new URL(req.url!, "http://bucket");
    const authorization = req.headers.authorization ?? "";
    const key = decodeURIComponent(pathname.replace(/^\/media-bucket\/?/, ""));
    this.requests.push({ method: req.method!, key, headers: req.headers });
    if (this.broken > 0) return (this.broken--, { status: 500 });
    if (!/^AWS4-HMAC-SHA256 Credential=the-key\/\d{8}\/eu-test-1\/s3\/aws4_request, SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}$/.test(authorization))
      return { status: 403, body: Buffer.from("<Error><Code>AccessDenied</Code></Error>") };
    if (!pathname.startsWith("/media-bucket")) return { status: 404, body: Buffer.from("<Error><Code>NoSuchBucket</Code></Error>") };
    if (req.method === "PUT") {
      this.objects.set(key, body);
      return { status: 200 };
    }
    if (req.method === "DELETE") {
      this.objects.delete(key);
      return { status: 204 };
    }
    if (key === "") {
      const prefix = searchParams.get("prefix") ?? "";
      const keys = [...this.objects.keys()].filter((known) => known.startsWith(prefix));
      const contents = keys.map((known) => `<Contents><Key>${known}</Key><Size>1</Size></Contents>`).join("");
      return {
        status: 200,
        body: Buffer.from(`<ListBucketResult><KeyCount>${keys.length}</KeyCount><IsTruncated>false</IsTruncated>${contents}</ListBucketResult>`),
      };
    }
    const object = this.objects.get(key);
    return object === undefined ? { status: 404, body: Buffer.from("<Error><Code>NoSuchKey</Code></Error>") } : { status: 200, body: object };
  }
}

describe("media in S3", function () {
  this.timeout(60_000);
  let bucket: Bucket;
  let server: TestServer;
  let alice: TestUser;
  let folder: string;

  const config = (options: object = {}, provider: object = {}): Record<string, unknown> => ({
    media_store_path: path.join(folder, "media"),
    media_storage_providers: [
      {
        module: "s3_storage_provider.S3StorageProviderBackend",
        store_local: true,
        store_remote: true,
        store_synchronous: true,
        ...provider,
        config: {
          bucket: "media-bucket",
          region_name: "eu-test-1",
          endpoint_url: bucket.endpoint,
          access_key_id: "the-key",
          secret_access_key: "the secret",
          prefix: "pre/",
          storage_class: "STANDARD_IA",
          threadpool_size: 20,
          ...options,
        },
      },
    ],
  });

  before(async () => {
    bucket = await Bucket.start();
    folder = await mkdtemp(path.join(tmpdir(), "myelin-s3-"));
    server = await startTestServer({ config: config() });
    alice = await server.register("alice");
  });
  after(async () => {
    await server?.close();
    await bucket?.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    bucket.requests.length = 0;
    bucket.broken = 0;
  });

  const upload = async (content: Buffer | string, type: string, at = server, user = alice): Promise<string> => {
    const { body } = await at.as(user).request("post", "/_matrix/media/v3/upload").set("Content-Type", type).send(content).expect(200);
    return (body.content_uri as string).split("/").at(-1)!;
  };
  const keyOf = (id: string): string => `pre/local_content/${id.slice(0, 2)}/${id.slice(2, 4)}/${id.slice(4)}`;
  const eventually = async (test: () => boolean): Promise<void> => {
    const end = systemClock.monotonic() + 20_000;
    while (!test()) {
      if (systemClock.monotonic() > end) throw new Error("It did not happen");
      await systemClock.sleep(20);
    }
  };

  it("is stored at its path in the media store, with the prefix and the storage class, signed", async () => {
    const id = await upload("Hello World", "text/plain");
    assert.equal(bucket.objects.get(keyOf(id))?.toString(), "Hello World");
    const put = bucket.requests.find(({ method }) => method === "PUT")!;
    assert.equal(put.headers["x-amz-storage-class"], "STANDARD_IA");
    assert.equal(put.headers["content-length"], "11");
  });

  it("comes back from there when the local file is gone", async () => {
    const id = await upload("away", "text/plain");
    await rm(path.join(folder, "media"), { recursive: true });
    const { text } = await server.as(alice).get(`/_matrix/client/v1/media/download/test/${id}`).expect(200);
    assert.equal(text, "away");
    bucket.objects.delete(keyOf(id));
    await server.as(alice).get(`/_matrix/client/v1/media/download/test/${id}`).expect(404);
  });

  it("has its thumbnails there too, and goes with them when it is deleted", async () => {
    const id = await upload(PNG, "image/png");
    const thumbnails = (): string[] => [...bucket.objects.keys()].filter((key) => key.startsWith("pre/local_thumbnails/"));
    assert.ok(thumbnails().length > 0);
    const admin = await server.register("admin", { admin: true });
    await server.as(admin).delete(`/_synapse/admin/v1/media/test/${id}`).expect(200);
    await eventually(() => thumbnails().length === 0 && !bucket.objects.has(keyOf(id)));
  });

  it("is sent again when the service fails for a moment; an upload that waits for it fails with it", async () => {
    bucket.broken = 2;
    const id = await upload("stubborn", "text/plain");
    assert.equal(bucket.objects.get(keyOf(id))?.toString(), "stubborn");
    bucket.broken = 100;
    await server.as(alice).request("post", "/_matrix/media/v3/upload").set("Content-Type", "text/plain").send("lost").expect(500);
    const left = (await readdir(path.join(folder, "media"), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
    const contents = await Promise.all(left.map((entry) => readFile(path.join(entry.parentPath, entry.name), "utf8")));
    assert.ok(!contents.includes("lost"));
  });

  it("may come later: uploads do not wait without store_synchronous", async () => {
    bucket.broken = 0;
    const later = await startTestServer({ config: config({}, { store_synchronous: false }) });
    try {
      const bob = await later.register("bob");
      const id = await upload("in a while", "text/plain", later, bob);
      await eventually(() => bucket.objects.has(keyOf(id)));
    } finally {
      await later.close();
    }
  });

  it("is not stored there without store_local, and is encrypted with the customer's key", async () => {
    const key = "k".repeat(32);
    const other = await startTestServer({ config: config({ sse_customer_key: key }) });
    const none = await startTestServer({ config: config({}, { store_local: false }) });
    try {
      const [bob, carol] = await Promise.all([other.register("bob"), none.register("carol")]);
      await upload("secret", "text/plain", other, bob);
      const put = bucket.requests.find(({ method }) => method === "PUT")!;
      assert.equal(put.headers["x-amz-server-side-encryption-customer-algorithm"], "AES256");
      assert.equal(put.headers["x-amz-server-side-encryption-customer-key"], Buffer.from(key).toString("base64"));
      assert.equal(put.headers["x-amz-server-side-encryption-customer-key-md5"], createHash("md5").update(key).digest("base64"));
      bucket.requests.length = 0;
      await upload("at home", "text/plain", none, carol);
      assert.equal(bucket.requests.length, 0);
    } finally {
      await Promise.all([other.close(), none.close()]);
    }
  });

  it("is not bothered with what previews keep for a while", async () => {
    const file = { origin: undefined, fileId: "2026-11-21_abcdefghij", urlCache: true };
    await server.ctx.media.files.writeBytes(file, Buffer.from("a page"));
    await server.ctx.media.files.delete(file);
    assert.equal(await server.ctx.media.files.read(file, AbortSignal.abort()), undefined);
    assert.equal(bucket.requests.length, 0);
  });

  it("says at start what its configuration lacks", async () => {
    await assert.rejects(startTestServer({ config: config({ bucket: undefined }) }), /media_storage_providers\[0\]\.config\.bucket/);
    await assert.rejects(startTestServer({ config: config({ storage_class: "GLACIER" }) }), /media_storage_providers\[0\]\.config\.storage_class/);
  });
});

describe("media in a storage provider of the admin's own", function () {
  this.timeout(60_000);

  it("is stored and fetched by it", async () => {
    const files = new Map<string, Buffer>();
    const folder = await mkdtemp(path.join(tmpdir(), "myelin-storage-"));
    const module = testModule(() => ({
      store_file: async (name: string, file: string) => void files.set(name, await readFile(file)),
      fetch: (name: string) => Promise.resolve(files.get(name)),
    }));
    const config = {
      media_store_path: path.join(folder, "media"),
      enable_local_media_storage: false,
      media_storage_providers: [{ module, config: {}, store_local: true }],
    };
    const server = await startTestServer({ config });
    try {
      const alice = server.as(await server.register("alice"));
      const { body } = await alice.request("post", "/_matrix/media/v3/upload").set("Content-Type", "text/plain").send("elsewhere").expect(200);
      const id = (body.content_uri as string).split("/").at(-1)!;
      assert.deepEqual([...files.keys()], [`local_content/${id.slice(0, 2)}/${id.slice(2, 4)}/${id.slice(4)}`]);
      assert.equal((await alice.get(`/_matrix/client/v1/media/download/test/${id}`).expect(200)).text, "elsewhere");
    } finally {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("without store_file is none", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "myelin-storage-"));
    await writeFile(path.join(folder, "bad.mjs"), "export default class { fetch() {} }");
    const config = { media_storage_providers: [{ module: path.join(folder, "bad.mjs"), config: {} }] };
    await assert.rejects(startTestServer({ config }), /no store_file/);
    await rm(folder, { recursive: true, force: true });
  });
});
