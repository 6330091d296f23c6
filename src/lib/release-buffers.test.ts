import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { releaseBuffers } from "./release-buffers.ts";

describe("buffers that are released", () => {
  it("are empty, and their memory goes back without a garbage collection", async () => {
    const bytes = 32 * 1024 * 1024;
    for (const _ of [1, 2, 3]) {
      const buffer = Buffer.alloc(bytes);
      const before = process.memoryUsage().arrayBuffers;
      releaseBuffers([buffer]);
      assert.equal(buffer.length, 0);
      await nextTurn();
      assert.ok(before - process.memoryUsage().arrayBuffers >= bytes);
    }
  });

  it("keep it where they share it with others", () => {
    const whole = Buffer.alloc(10_000, 1);
    const small = Buffer.from("of the pool");
    releaseBuffers([whole.subarray(1), whole.subarray(0, 9_999), small, Buffer.alloc(0)]);
    assert.equal(whole.length, 10_000);
    assert.equal(small.toString(), "of the pool");
  });
});
