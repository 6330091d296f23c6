import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { gramsOf, gramsToFind, hasUnspaced, normaliseText } from "./character-grams.ts";

describe("character grams", () => {
  it("take only such scripts apart", () => {
    assert.deepEqual(gramsOf("東京都 and 大阪"), ["東", "京", "東京", "都", "京都", "大", "阪", "大阪"]);
    assert.deepEqual(gramsOf("plain words"), []);
    for (const text of ["中文", "カタカナー", "한국어", "ภาษาไทย", "ខ្មែរ", "မြန်မာ"]) assert.ok(hasUnspaced(text), text);
    for (const text of ["English", "Ελληνικά", "русский", "עברית", "123", "🙂"]) assert.ok(!hasUnspaced(text), text);
  });

  it("of a piece are among those of any text that holds it", () => {
    for (const piece of ["京都", "東京", "都", "京", "東京都"]) {
      const grams = new Set(gramsOf("私は東京都に住む"));
      assert.ok(
        gramsToFind(piece).every((gram) => grams.has(gram)),
        piece,
      );
    }
    assert.deepEqual(gramsToFind("東京都"), ["東京", "京都"]);
    assert.deepEqual(gramsToFind("都"), ["都"]);
  });

  it("do not tell widths, cases and compositions apart, nor cut characters beyond 16 bits", () => {
    assert.equal(normaliseText("ｶﾞＡＢ"), "ガab");
    assert.equal(normaliseText("한"), "한");
    assert.deepEqual(gramsOf("𠮷野"), ["𠮷", "野", "𠮷野"]);
  });
});
