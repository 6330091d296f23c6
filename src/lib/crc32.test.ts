import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { crc32, crc32ByTable } from "./crc32.ts";

describe("CRC-32", () => {
  const text = Buffer.from("123456789");

  for (const [name, sum] of [
    ["of Node", crc32],
    ["by table", crc32ByTable],
  ] as const) {
    it(`is that of the standard, at once and in parts: ${name}`, () => {
      assert.equal(sum(text), 0xcbf43926);
      assert.equal(sum(text.subarray(4), sum(text.subarray(0, 4))), 0xcbf43926);
      assert.equal(sum(Buffer.alloc(0)), 0);
      assert.equal(sum(Buffer.alloc(32, 0xff)), 0xff6cab0b);
    });
  }
});
