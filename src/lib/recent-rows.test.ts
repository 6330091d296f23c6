import assert from "node:assert/strict";
import { describe, it } from "mocha";
import fc from "fast-check";
import { RecentRows } from "./recent-rows.ts";

describe("recent rows", () => {
  it("answer exactly what was recorded, or that they do not know", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.integer({ min: 11, max: 60 })), { maxLength: 80 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 6 }),
        (list, after, upTo, limit) => {
          const recent = new RecentRows<{ position: number }>(10, 3, 5);
          const all = new Map<string, Set<number>>();
          const seen = new Set<number>();
          for (const [key, position] of list) {
            if (seen.has(position)) continue;
            seen.add(position);
            recent.record(key, { position });
            all.set(key, (all.get(key) ?? new Set()).add(position));
          }
          for (const key of ["a", "b", "c", "d"]) {
            const answer = recent.latest(key, after, upTo, limit);
            if (answer === undefined) continue;
            const wanted = [...(all.get(key) ?? [])]
              .filter((position) => position > after && position <= upTo)
              .sort((x, y) => y - x)
              .slice(0, limit);
            assert.deepEqual(
              answer.map((row) => row.position),
              wanted,
            );
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("know nothing from before they began", () => {
    assert.equal(new RecentRows(10).latest("a", 9, 20, 5), undefined);
    assert.deepEqual(new RecentRows(10).latest("a", 10, 20, 5), []);
  });
});
