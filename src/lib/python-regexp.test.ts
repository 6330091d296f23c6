import assert from "node:assert/strict";
import { pythonMatcher } from "./python-regexp.ts";

describe("pythonMatcher", () => {
  const matches = (pattern: string, text: string): boolean => pythonMatcher(pattern).test(text);
  it("matches from the start, not necessarily to the end", () => {
    assert.deepEqual(
      [matches("b", "ab"), matches("a|b", "ba"), matches("a|b", "xb"), matches("a", "ab"), matches("(?m)^b", "a\nb")],
      [false, true, false, true, false],
    );
  });
  it("reads Python's flags, groups and anchors", () => {
    assert.ok(matches("(?i)^[^@]+@example\\.org$", "A@EXAMPLE.org"));
    assert.ok(matches("(?P<a>.)(?P=a)\\Z", "xx"));
    assert.ok(!matches("\\Ax\\Z", "x\n"));
    assert.ok(matches("\\\\A", "\\A"));
  });
  it("says what it cannot read", () => {
    assert.throws(() => pythonMatcher("("), SyntaxError);
  });
});
