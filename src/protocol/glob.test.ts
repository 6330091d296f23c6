import assert from "node:assert/strict";
import fc from "fast-check";
import { compileGlob, compileWordGlob, compileWords } from "./glob.ts";
import { ServerAcl } from "./server-acl.ts";

const MANY = 60_000;

describe("globs", () => {
  for (const [pattern, yes, no] of [
    ["abc", ["abc", "ABC"], ["abcd", "xabc", ""]],
    ["a*", ["a", "abc", "a\nb"], ["ba", ""]],
    ["*c", ["c", "abc"], ["cb"]],
    ["a*b*c", ["abc", "axxbxxc", "abbbc"], ["acb", "ab", "abcd"]],
    ["*", ["", "x"], []],
    ["a?c", ["abc", "a😀c"], ["ac", "abbc"]],
    ["?", ["x", "😀"], ["", "xx"]],
    ["a?*", ["ab", "abc"], ["a"]],
    ["*.example.org", ["a.example.org"], ["example.org", "a.example.org.evil"]],
    ["a.c", ["a.c"], ["abc"]],
    ["ab*ba", ["abba", "abxba"], ["aba"]],
    ["[a]{2}\\", ["[a]{2}\\"], ["aa"]],
    ["", [""], ["x"]],
  ] as const) {
    it(`${JSON.stringify(pattern)} matches whole texts`, () => {
      const glob = compileGlob(pattern);
      for (const text of yes) assert.equal(glob.matches(text), true, text);
      for (const text of no) assert.equal(glob.matches(text), false, text);
    });
  }

  // The second list holds what Synapse's matcher for content.body says no to.
  for (const [pattern, yes, no] of [
    ["foo", ["foo", "a foo b", "(FOO)", "foo.", "x\nfoo\ny", "foofoo foo"], ["foobar", "barfoo", "foo_", "food foot", ""]],
    ["@room", ["@room", "hi @room!", "x@room"], ["@rooms"]],
    ["foo*", ["foobar", "foo"], ["barfoo"]],
    ["f?o", ["fxo", "a f😀o b"], ["fo", "fxoo"]],
    ["cake*lie", ["the cake is a lie.", "cakelie"], ["cake is a lier", "shortcakelie"]],
    ["élan", ["un élan vital", "ÉLAN"], ["élans", "vélan"]],
    ["日本", ["日本", "x 日本 y"], ["日本語"]],
    ["😀", ["a😀b", "😀"], []],
    ["!", ["hey!", "a!b"], ["hey"]],
    ["*", ["", "anything"], []],
  ] as const) {
    it(`${JSON.stringify(pattern)} matches at the edges of words`, () => {
      const glob = compileWordGlob(pattern);
      for (const text of yes) assert.equal(glob.matches(text), true, text);
      for (const text of no) assert.equal(glob.matches(text), false, text);
    });
  }

  it("can stand for themselves", () => {
    assert.equal(compileWords("a*?").matches("x a*? y"), true);
    assert.equal(compileWords("a*?").matches("xa*? aa*?b a*?"), true);
    assert.equal(compileWords("a*").matches("abc"), false);
  });

  it("agree with regular expressions on small patterns and texts", () => {
    const small = fc.string({ unit: fc.constantFrom("a", "b", " "), maxLength: 8 });
    const glob = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 6 });
    fc.assert(
      fc.property(glob, small, (pattern, text) => {
        const body = pattern.replaceAll("*", "[^]*").replaceAll("?", "[^]");
        assert.equal(compileGlob(pattern).matches(text), new RegExp(`^(?:${body})$`).test(text), "whole");
        assert.equal(compileWordGlob(pattern).matches(text), new RegExp(`(?:^|\\b|\\W)${body}(?:\\b|\\W|$)`).test(text), "word");
      }),
      { numRuns: 5000 },
    );
  });

  it("CVE-2021-29471: take time linear in the text, whatever the pattern", () => {
    const text = "a".repeat(MANY);
    const started = performance.now();
    for (const pattern of [
      "*a".repeat(200) + "b",
      "*a?".repeat(200) + "b",
      "a".repeat(2000),
      "?".repeat(2000) + "b*a",
      "a*".repeat(1000) + "b",
      "a?".repeat(1000),
    ]) {
      assert.equal(compileGlob(pattern).matches(text), false);
      assert.equal(compileWordGlob(pattern + "x").matches(text + " x"), false, pattern.slice(0, 10));
    }
    assert.ok(performance.now() - started < 5000);
  });
});

describe("server ACLs", () => {
  it("deny before they allow, and deny what nothing allows", () => {
    const acl = new ServerAcl({ allow: ["*.org", "evil.org"], deny: ["evil.org", "*.evil.org"] });
    assert.equal(acl.allows("good.org"), true);
    assert.equal(acl.allows("GOOD.ORG"), true);
    assert.equal(acl.allows("evil.org"), false);
    assert.equal(acl.allows("a.evil.org"), false);
    assert.equal(acl.allows("good.com"), false);
    assert.equal(new ServerAcl({}).allows("good.org"), false);
  });
  it("do not look at the port, but for entries that name one", () => {
    const acl = new ServerAcl({ allow: ["*.org", "local:80"], deny: ["evil.org"] });
    assert.equal(acl.allows("evil.org:8448"), false);
    assert.equal(acl.allows("good.org:8448"), true);
    assert.equal(acl.allows("local:80"), true);
    assert.equal(acl.allows("local:81"), false);
  });
  it("cost little, however many and crooked their entries (CVE-2023-45129)", () => {
    const crooked = Array.from({ length: 2_000 }, (_, index) => `${"*?".repeat(8)}${index}*.example.*?*`);
    const started = performance.now();
    const acl = new ServerAcl({ allow: ["*"], deny: [...crooked, `${"*a?".repeat(80)}b`, 5, null, {}, "evil.org"] });
    for (let index = 0; index < 50; index++) assert.equal(acl.allows(`${"a".repeat(200)}${index}.org`), true);
    assert.equal(acl.allows("evil.org"), false);
    assert.ok(performance.now() - started < 5000);
  });
  it("keep IP literals out when told so", () => {
    const acl = new ServerAcl({ allow: ["*"], allow_ip_literals: false });
    for (const ip of ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[::1]:80"]) assert.equal(acl.allows(ip), false, ip);
    assert.equal(acl.allows("1.2.3.4.example.org"), true);
    assert.equal(new ServerAcl({ allow: ["*"], allow_ip_literals: "false" }).allows("1.2.3.4"), true);
  });
  it("ignore what is malformed", () => {
    assert.equal(new ServerAcl({ allow: ["*", 5, null], deny: "x" }).allows("x"), true);
    assert.equal(new ServerAcl({ allow: {}, deny: [] }).allows("x"), false);
  });
  it("CVE-2023-45129: with tens of kilobytes of globs are checked at once", () => {
    const acl = new ServerAcl({ allow: ["*"], deny: Array.from({ length: 5000 }, () => "*?*?*?x") });
    const started = performance.now();
    for (let i = 0; i < 10; i++) assert.equal(acl.allows("a".repeat(200) + ".org"), true);
    assert.ok(performance.now() - started < 2000);
  });
});
