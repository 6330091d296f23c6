import assert from "node:assert/strict";
import { matchRules } from "./invite-rules.ts";

describe("invite rules (MSC4155)", () => {
  it("look at users before servers, and at what allows before what ignores and blocks", () => {
    const rules = {
      allowed_users: ["@good:evil.org"],
      ignored_users: ["@dull:*"],
      blocked_users: ["@dull:evil.org"],
      blocked_servers: ["evil.org", "*.evil.org"],
      ignored_servers: ["boring.?rg"],
    };
    const expected = {
      "@good:evil.org": "allow",
      "@dull:evil.org": "ignore",
      "@other:evil.org": "block",
      "@x:sub.evil.org": "block",
      "@x:boring.org": "ignore",
      "@x:example.org": "allow",
    };
    for (const [inviter, rule] of Object.entries(expected)) assert.equal(matchRules(rules, inviter), rule, inviter);
  });

  it("match whole names in any case", () => {
    assert.equal(matchRules({ blocked_servers: ["EVIL.org"] }, "@x:evil.org"), "block");
    assert.equal(matchRules({ blocked_servers: ["evil"] }, "@x:evil.org"), "allow");
    assert.equal(matchRules({ blocked_users: ["@x"] }, "@x:evil.org"), "allow");
  });

  it("malformed, empty and overlong patterns do not count, and none takes long", () => {
    assert.equal(matchRules({ blocked_users: "@x:evil.org", blocked_servers: [5, null, "", "*".repeat(256)] as never }, "@x:evil.org"), "allow");
    const started = process.hrtime.bigint();
    matchRules({ blocked_users: Array.from({ length: 50 }, () => "*a".repeat(120)) }, `@${"a".repeat(200)}b:evil.org`);
    assert.ok(process.hrtime.bigint() - started < 500_000_000n);
  });
});
