import assert from "node:assert/strict";
import { createHook } from "node:async_hooks";
import { KeyedMutex } from "./keyed-mutex.ts";

describe("a mutex for each key", () => {
  it("keeps the order within a key, also after a failure, and lets other keys go ahead", async () => {
    const mutex = new KeyedMutex();
    const order: string[] = [];
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    const first = mutex.exclusively("a", async () => {
      await gate;
      order.push("first");
      throw new Error("broken");
    });
    const second = mutex.exclusively("a", async () => {
      await Promise.resolve();
      order.push("second");
    });
    const third = mutex.exclusively("a", async () => {
      await Promise.resolve();
      return order.push("third");
    });
    await mutex.exclusively("b", () => Promise.resolve(order.push("other")));
    assert.deepEqual(order, ["other"]);
    open();
    await assert.rejects(first, /broken/);
    await second;
    assert.equal(await third, 4);
    assert.deepEqual(order, ["other", "first", "second", "third"]);
  });

  it("has a thousand wait at no cost: each is called once, in its turn, and nobody asks in between (CVE-2026-45078)", async () => {
    const mutex = new KeyedMutex();
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    const first = mutex.exclusively("a", () => gate);
    const turns: number[] = [];
    let steps = 0;
    const counted = (n: number): Promise<void> => {
      turns.push(n);
      return Promise.resolve();
    };
    const waiting = Array.from({ length: 1000 }, (_, n) => mutex.exclusively("a", () => counted(n)));
    const hook = createHook({ init: () => steps++ }).enable();
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    hook.disable();
    assert.ok(steps < 500, `${steps} things were begun by those who wait`);
    await mutex.exclusively("b", () => Promise.resolve());
    assert.deepEqual(turns, []);
    open();
    await Promise.all([first, ...waiting]);
    assert.deepEqual(
      turns,
      turns.map((_, n) => n),
    );
    assert.equal(turns.length, 1000);
  });

  it("runs at once what nothing stands before", () => {
    let ran = false;
    void new KeyedMutex().exclusively("a", () => {
      ran = true;
      return Promise.resolve();
    });
    assert.equal(ran, true);
  });
});
