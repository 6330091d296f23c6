import assert from "node:assert/strict";
import { directoryQueries, words } from "./words.ts";

describe("words of the user directory", () => {
  it("splits user ids and keeps joined words together", () => {
    assert.deepEqual(words("@alice:example.com"), ["alice", "example.com"]);
    assert.deepEqual(words("jean-luc p.card"), ["jean-luc", "p.card"]);
    assert.deepEqual(words("- _ . !?"), []);
  });
  it("finds words in scripts without spaces", () => {
    assert.ok(words("日本語テスト").length > 1);
  });
  it("quotes what would be tsquery syntax, and searches at most ten words", () => {
    assert.equal(directoryQueries("O'Neil").exact, "'o''neil'");
    assert.equal(directoryQueries("a b c d e f g h i j k l").exact.split("&").length, 10);
    assert.equal(directoryQueries("ＡＢ").prefix, "'ab':*");
  });
});
