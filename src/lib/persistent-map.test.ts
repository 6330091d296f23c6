import assert from "node:assert/strict";
import fc from "fast-check";
import { PersistentMap } from "./persistent-map.ts";

describe("persistent map", () => {
  const key = fc.oneof(
    fc.string({ maxLength: 2 }),
    fc.integer({ min: 0, max: 500 }).map((n) => `m.room.member\u0000@u${n}:x`),
  );
  const change = fc.oneof(
    fc.tuple(fc.constant("set" as const), key, fc.integer({ min: 0, max: 5 })),
    fc.tuple(fc.constant("delete" as const), key, fc.constant(0)),
  );

  it("holds what a Map holds after any changes, and leaves older versions as they were", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 300 }), (changes) => {
        let map = PersistentMap.empty<string, number>();
        const model = new Map<string, number>();
        const versions: [PersistentMap<string, number>, Map<string, number>][] = [];
        for (const [what, k, v] of changes) {
          versions.push([map, new Map(model)]);
          if (what === "set") {
            map = map.set(k, v);
            model.set(k, v);
          } else {
            map = map.without([k]);
            model.delete(k);
          }
        }
        versions.push([map, model]);
        for (const [version, expected] of versions) {
          assert.equal(version.size, expected.size);
          assert.deepEqual(new Map(version), expected);
          for (const [k, v] of expected) assert.equal(version.get(k), v);
        }
        const [old, oldModel] = versions[Math.floor(versions.length / 2)]!;
        const differing = [...new Set([...model.keys(), ...oldModel.keys()])].filter((k) => model.get(k) !== oldModel.get(k));
        assert.deepEqual(map.changedKeys(old).sort(), differing.sort());
        map.compareWith(old, (k, own, others) => assert.deepEqual([own, others], [model.get(k), oldModel.get(k)]));
        const apart = PersistentMap.from(model);
        assert.deepEqual(apart.changedKeys(old).sort(), differing.sort());
        assert.deepEqual(apart.changedKeys(map), []);
      }),
      { numRuns: 200 },
    );
  });

  it("keeps keys with equal hashes apart", () => {
    // Found by search: pairs of strings with the same 32-bit hash.
    const byHash = new Map<number, string>();
    const fnv = (text: string): number => {
      let hash = 0x811c9dc5;
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
      return hash;
    };
    let pair: [string, string] | undefined;
    for (let i = 0; pair === undefined; i++) {
      const text = `k${i}`;
      const other = byHash.get(fnv(text));
      if (other !== undefined) pair = [other, text];
      byHash.set(fnv(text), text);
    }
    let map = PersistentMap.from<string, number>([
      [pair[0], 1],
      [pair[1], 2],
      ["x", 3],
    ]);
    assert.deepEqual([map.get(pair[0]), map.get(pair[1]), map.size], [1, 2, 3]);
    const before = map;
    map = map.without([pair[0]]);
    assert.deepEqual([map.get(pair[0]), map.get(pair[1]), map.size], [undefined, 2, 2]);
    assert.deepEqual(map.changedKeys(before), [pair[0]]);
  });

  it("is the same object when nothing changes", () => {
    const map = PersistentMap.from<string, number>([["a", 1]]);
    assert.equal(map.set("a", 1), map);
    assert.equal(map.without(["b"]), map);
    assert.equal(PersistentMap.from(map), map);
  });
});
