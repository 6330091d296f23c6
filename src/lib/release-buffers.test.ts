import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, it } from "mocha";
import { releaseBuffers } from "./release-buffers.ts";

describe("buffers that are released", () => {
  it("are empty, and their memory goes back without a garbage collection", async () => {
    const buffers = Array.from({ length: 32 }, () => Buffer.alloc(1024 * 1024));
    const before = process.memoryUsage().arrayBuffers;
    releaseBuffers(buffers);
    assert.deepEqual([...new Set(buffers.map(({ length }) => length))], [0]);
    const given = (): number => before - process.memoryUsage().arrayBuffers;
    for (let tries = 0; tries < 50 && given() < 30 * 1024 * 1024; tries++) await sleep(10);
    assert.ok(given() >= 30 * 1024 * 1024, `${given()} bytes went back`);
  });

  it("keep it where they share it with others", () => {
    const whole = Buffer.alloc(10_000, 1);
    const small = Buffer.from("of the pool");
    releaseBuffers([whole.subarray(1), whole.subarray(0, 9_999), small, Buffer.alloc(0)]);
    assert.equal(whole.length, 10_000);
    assert.equal(small.toString(), "of the pool");
  });
});
