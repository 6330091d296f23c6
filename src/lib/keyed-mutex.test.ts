import assert from "node:assert/strict";
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

  it("runs at once what nothing stands before", () => {
    let ran = false;
    void new KeyedMutex().exclusively("a", () => {
      ran = true;
      return Promise.resolve();
    });
    assert.equal(ran, true);
  });
});
