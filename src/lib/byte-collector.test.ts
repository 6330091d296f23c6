import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { ByteCollector } from "./byte-collector.ts";

describe("a collector of bytes", () => {
  it("gives pieces of all sizes back in their order", () => {
    const collector = new ByteCollector();
    const pieces = [1, 0, 5, 20_000, 3, 70_000, 16_383, 16_384, 60_000, 2, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000];
    const all = pieces.map((length, index) => Buffer.alloc(length, index + 1));
    for (const piece of all) collector.add(piece);
    assert.equal(
      collector.size,
      pieces.reduce((sum, length) => sum + length),
    );
    assert.ok(collector.bytes().equals(Buffer.concat(all)));
    collector.add(Buffer.from("more"));
    assert.ok(collector.bytes().equals(Buffer.concat([...all, Buffer.from("more")])));
    assert.equal(new ByteCollector().bytes().length, 0);
  });

  it("holds a few buffers, however many pieces of one byte come, also between large ones", () => {
    const collector = new ByteCollector();
    for (let count = 0; count < 1_000_000; count++) collector.add(Buffer.from("x"));
    assert.equal(collector.bytes().length, 1_000_000);
    assert.ok(collector.buffers <= 1 + Math.ceil(1_000_000 / 65_536), String(collector.buffers));
    const mixed = new ByteCollector();
    const large = Buffer.alloc(20_000);
    for (let count = 0; count < 100; count++) for (const piece of [Buffer.from("x"), large]) mixed.add(piece);
    const memories = new Set((mixed as unknown as { kept: Buffer[] }).kept.filter(({ length }) => length < 20_000).map(({ buffer }) => buffer));
    mixed.bytes();
    assert.ok(memories.size <= 2, `${memories.size} slabs for 100 bytes`);
  });
});
