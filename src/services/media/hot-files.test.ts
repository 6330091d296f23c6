import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { HotFiles, WHOLE_BYTES } from "./hot-files.ts";

describe("files kept in memory", () => {
  it("keeps what fits and lets go of what was used least recently", () => {
    const files = new HotFiles();
    for (let i = 0; i < 40; i++) {
      files.keep(`file ${i}`, Buffer.allocUnsafe(WHOLE_BYTES));
      files.get("file 0");
    }
    const kept = Array.from({ length: 40 }, (_, i) => i).filter((i) => files.get(`file ${i}`) !== undefined);
    assert.ok(kept.includes(0) && kept.includes(39) && !kept.includes(1), String(kept));
    assert.ok(kept.length * WHOLE_BYTES <= 32 * 1024 * 1024);
    files.forget("file 0");
    assert.equal(files.get("file 0"), undefined);
  });

  it("keeps no more tiny files than it has room for their entries", () => {
    const files = new HotFiles();
    for (let i = 0; i < 20_000; i++) files.keep(`file ${i}`, Buffer.alloc(1));
    assert.equal(files.get("file 0"), undefined);
    assert.notEqual(files.get("file 19999"), undefined);
  });

  it("has files read whole only while clients hold back no more than it bears", () => {
    const files = new HotFiles();
    assert.equal(files.hasRoom(WHOLE_BYTES + 1), false);
    const clients = Array.from({ length: 64 }, () => new AbortController());
    for (const { signal } of clients) {
      assert.equal(files.hasRoom(WHOLE_BYTES), true);
      files.hold(Buffer.allocUnsafe(WHOLE_BYTES), signal);
    }
    assert.equal(files.hasRoom(WHOLE_BYTES), false);
    clients[0]!.abort();
    assert.equal(files.hasRoom(WHOLE_BYTES), true);
  });

  it("counts bytes that several clients share once, until the last has them", () => {
    const files = new HotFiles();
    const shared = Buffer.allocUnsafe(64 * 1024 * 1024);
    const [a, b] = [new AbortController(), new AbortController()];
    files.hold(shared, a.signal);
    files.hold(shared, b.signal);
    files.hold(shared, AbortSignal.abort());
    a.abort();
    assert.equal(files.hasRoom(1), false);
    b.abort();
    assert.equal(files.hasRoom(WHOLE_BYTES), true);
  });
});
