import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, it } from "mocha";
import { silentLogger } from "../../lib/log.ts";
import { systemRandom } from "../../lib/random.ts";
import { MediaIncomplete, MediaStore, MediaTooLarge } from "./media-store.ts";

const FILE = { origin: undefined, fileId: "abcdefgh" };

describe("media store", () => {
  let root: string;
  let store: MediaStore;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "media-store-"));
    store = new MediaStore(root, [], systemRandom, silentLogger);
  });
  afterEach(() => rm(root, { recursive: true }));

  const files = async (): Promise<string[]> => {
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  };

  const read = async (): Promise<Buffer> => {
    const content = await store.read(FILE, AbortSignal.abort());
    if (content === undefined || Buffer.isBuffer(content)) return content ?? Buffer.from("nothing");
    return Buffer.concat((await content.toArray()) as Buffer[]);
  };

  for (const length of [0, 1, 200_000, 1_048_576, 5_000_000]) {
    it(`writes ${length} bytes as they come, however many at a time, and gives them back`, async () => {
      const bytes = randomBytes(length);
      const chunks = Array.from({ length: Math.ceil(length / 65_000) }, (_, i) => bytes.subarray(i * 65_000, (i + 1) * 65_000));
      const stored = await store.write(FILE, Readable.from(chunks), { maxBytes: 5_000_000, exactly: length });
      assert.deepEqual([stored.length, stored.sha256], [length, createHash("sha256").update(bytes).digest("hex")]);
      assert.deepEqual(stored.bytes, length <= 200_000 ? bytes : undefined);
      assert.deepEqual(await readFile(join(root, "local_content/ab/cd/efgh")), bytes);
      assert.deepEqual(await read(), bytes);
      assert.deepEqual(await read(), bytes, "again, from memory");
      assert.deepEqual(await files(), ["efgh"]);
    });
  }

  it("leaves nothing of what is too long, of another length, or breaks off", async () => {
    const endless = Readable.from(
      (function* () {
        for (;;) yield randomBytes(100_000);
      })(),
    );
    await assert.rejects(store.write(FILE, endless, { maxBytes: 3_000_000 }), MediaTooLarge);
    assert.equal(endless.destroyed, true);
    await assert.rejects(store.write(FILE, Readable.from([Buffer.from("ab")]), { maxBytes: 10, exactly: 3 }), MediaIncomplete);
    const broken = Readable.from(
      (function* () {
        yield randomBytes(2_000_000);
        throw new Error("gone");
      })(),
    );
    await assert.rejects(store.write(FILE, broken, { maxBytes: 3_000_000 }), MediaIncomplete);
    const gone = new Readable({ read: () => {} });
    gone.destroy();
    await assert.rejects(store.write(FILE, gone, { maxBytes: 3_000_000 }), MediaIncomplete);
    assert.deepEqual(await files(), []);
    assert.equal((await read()).toString(), "nothing");
  });

  it("holds a bounded part of what comes in at once, and writes all of it", async () => {
    const contents = Array.from({ length: 60 }, () => randomBytes(900_000));
    const streams = contents.map((bytes) => {
      const stream = new Readable({ read: () => {} });
      for (let at = 0; at < bytes.length; at += 60_000) stream.push(bytes.subarray(at, at + 60_000));
      return stream;
    });
    const writing = streams.map((stream, i) => store.write({ origin: undefined, fileId: `abcd${i}` }, stream, { maxBytes: 900_000, exactly: 900_000 }));
    const held = (): number => (store as unknown as { gathered: number }).gathered;
    for (const end = Date.now() + 15_000; (await files()).length < 20 || held() > 36_000_000; await setTimeout(20)) assert.ok(Date.now() < end);
    // One of those that are written already, and one that is not.
    streams[0]!.destroy();
    streams[59]!.destroy();
    for (const stream of streams) if (!stream.destroyed) stream.push(null);
    const outcomes = await Promise.allSettled(writing);
    assert.deepEqual(
      outcomes.flatMap(({ status }, i) => (status === "rejected" ? [i] : [])),
      [0, 59],
    );
    assert.equal((await files()).length, 58);
    assert.deepEqual(await readFile(join(root, "local_content/ab/cd/30")), contents[30]);
    assert.equal(held(), 0);
  });

  it("replaces a file that a server left behind when it ended", async () => {
    await store.write(FILE, Readable.from([Buffer.from("a part")]), { maxBytes: 100 });
    await store.write(FILE, Readable.from([Buffer.from("the "), Buffer.from("whole")]), { maxBytes: 100 });
    assert.equal(String(await read()), "the whole");
    assert.deepEqual(await files(), ["efgh"]);
  });

  it("replaces a thumbnail that is there already", async () => {
    const thumbnail = { ...FILE, thumbnail: { width: 32, height: 32, type: "image/png", method: "crop" } };
    await store.writeBytes(thumbnail, Buffer.from("old"));
    const content = async (): Promise<string> => String(await store.read(thumbnail, AbortSignal.abort()));
    assert.equal(await content(), "old");
    await store.writeBytes(thumbnail, Buffer.from("new"));
    assert.equal(await content(), "new");
    assert.deepEqual(await files(), ["32-32-image-png-crop"]);
  });
});
