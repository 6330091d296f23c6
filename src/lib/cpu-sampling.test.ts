import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "./clock.ts";
import { cpuParts, watchCpu } from "./cpu-sampling.ts";
import { inBlock, noUsage, runInRequest } from "./request-context.ts";

describe("CPU time by samples", () => {
  const busy = (ms: number): void => {
    const until = systemClock.monotonic() + ms;
    while (systemClock.monotonic() < until);
  };

  it("is ascribed to the request whose code ran, not to one that waits", async () => {
    const end = watchCpu({ everyMs: 20, windowMs: 10 });
    const working = noUsage();
    const waiting = noUsage();
    const block = noUsage();
    let done = false;
    try {
      const wait = runInRequest({ id: "waiting", usage: waiting }, async () => {
        while (!done) await systemClock.sleep(5);
      });
      const work = runInRequest({ id: "working", usage: working }, async () => {
        for (const until = systemClock.monotonic() + 600; systemClock.monotonic() < until; await turn()) busy(2);
      });
      await runInRequest({ id: "blocks", usage: block }, () =>
        inBlock("b", async () => {
          for (const until = systemClock.monotonic() + 600; systemClock.monotonic() < until; await turn()) busy(1);
        }),
      );
      await work;
      done = true;
      await wait;
    } finally {
      end();
    }
    // The thread was busy for 0.6 s, two thirds of it for the one and a third for the other.
    assert.ok(working.cpuSeconds > 0.05 && working.cpuSeconds < 2, `${working.cpuSeconds}`);
    assert.ok(block.cpuSeconds > 0.02 && block.cpuSeconds < 2, `${block.cpuSeconds}`);
    assert.ok(waiting.cpuSeconds < working.cpuSeconds / 4, `${waiting.cpuSeconds}`);
    const { user, system } = cpuParts(1);
    assert.ok(Math.abs(user + system - 1) < 1e-9 && user > 0);
  });
});
