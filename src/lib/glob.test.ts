import assert from "node:assert/strict";
import { matchesGlob } from "./glob.ts";

describe("globs", () => {
  it("match whole texts, in any letter case", () => {
    for (const [glob, text, expected] of [
      ["*", "", true],
      ["", "", true],
      ["", "a", false],
      ["a?c", "AbC", true],
      ["a?c", "ac", false],
      ["#*:example.org", "#room:EXAMPLE.org", true],
      ["*b*b", "abcb", true],
      ["*b*bb", "abcb", false],
      ["[a]", "a", false],
      ["a.c", "abc", false],
      ["?", "😀", true],
    ] as const)
      assert.equal(matchesGlob(glob, text), expected, `${glob} ${text}`);
  });
  it("are fast whatever the pattern", () => {
    const started = performance.now();
    assert.equal(matchesGlob("*a".repeat(50) + "b", "a".repeat(65_536)), false);
    assert.ok(performance.now() - started < 2_000);
  });
});
