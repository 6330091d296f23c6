import assert from "node:assert/strict";
import { systemRandom } from "../../lib/random.ts";
import { isRefreshToken, newAccessToken, newLoginToken, newRefreshToken } from "./tokens.ts";

const fixed = (letters: string): typeof systemRandom => ({ ...systemRandom, letters: () => letters });

describe("token formats", () => {
  it("have the checksum that Synapse computes", () => {
    assert.equal(newAccessToken(fixed("abcdefghijklmnopqrst"), "@alice:test"), "syt_YWxpY2U_abcdefghijklmnopqrst_1TMI8I");
    assert.equal(newLoginToken(fixed("abcdefghijklmnopqrst")), "syl_abcdefghijklmnopqrst_2LvTf9");
    assert.equal(newRefreshToken(fixed("A".repeat(20)), "@ä:test"), "syr_w6Q_AAAAAAAAAAAAAAAAAAAA_0zU7BU");
  });

  it("tell a refresh token from one with a wrong letter, prefix or part", () => {
    const token = newRefreshToken(systemRandom, "@alice:test");
    assert.equal(isRefreshToken(token), true);
    for (const wrong of [
      token.slice(0, -1),
      `${token}x`,
      token.replace("syr_", "syt_"),
      `${token}_`,
      token.replace("_", "__"),
      "",
      newAccessToken(systemRandom, "@alice:test"),
      token.replace("YWxpY2U", "YWxpY2é"),
    ]) {
      assert.equal(isRefreshToken(wrong), false, wrong);
    }
  });

  it("are random letters each time (CVE-2019-11842)", () => {
    const tokens = new Set(Array.from({ length: 1000 }, () => newAccessToken(systemRandom, "@alice:test")));
    assert.equal(tokens.size, 1000);
    for (const token of tokens) assert.match(token, /^syt_YWxpY2U_[A-Za-z]{20}_[0-9A-Za-z]{6}$/);
  });
});
