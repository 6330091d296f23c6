import assert from "node:assert/strict";
import { LoadingCache } from "./loading-cache.ts";

describe("LoadingCache", () => {
  it("loads once for all who ask meanwhile", async () => {
    const cache = new LoadingCache<number>(10);
    let loads = 0;
    const load = (): Promise<number> => Promise.resolve(++loads);
    assert.deepEqual(await Promise.all([cache.get("a", load), cache.get("a", load)]), [1, 1]);
    assert.equal(await cache.get("a", load), 1);
  });

  it("does not keep what was being loaded when the key was invalidated", async () => {
    const cache = new LoadingCache<string>(10);
    let finish = (_value: string): void => {};
    const old = cache.get("a", () => new Promise((resolve) => (finish = resolve)));
    cache.invalidate("a");
    finish("old");
    assert.equal(await old, "old");
    assert.equal(await cache.get("a", () => Promise.resolve("new")), "new");
  });

  it("does not remember failures", async () => {
    const cache = new LoadingCache<string>(10);
    await assert.rejects(cache.get("a", () => Promise.reject(new Error("no"))));
    assert.equal(await cache.get("a", () => Promise.resolve("yes")), "yes");
  });

  it("loads what is missing of many in one call", async () => {
    const cache = new LoadingCache<string>(10);
    await cache.get("a", () => Promise.resolve("A"));
    const asked: string[][] = [];
    const loadMany = (keys: string[]): Promise<Map<string, string>> => {
      asked.push(keys);
      return Promise.resolve(new Map(keys.map((key) => [key, key.toUpperCase()])));
    };
    assert.deepEqual([...(await cache.getMany(["b", "a", "c", "b"], loadMany))].sort(), [
      ["a", "A"],
      ["b", "B"],
      ["c", "C"],
    ]);
    await cache.getMany(["a", "b"], loadMany);
    assert.deepEqual(asked, [["b", "c"]]);
  });

  it("counts what it drops for want of room, and nothing else", async () => {
    const cache = new LoadingCache<string>(2);
    for (const key of ["a", "b", "c"]) await cache.get(key, () => Promise.resolve(key));
    cache.invalidate("c");
    assert.equal(cache.reading.evictedBySize, 1);
  });
});
