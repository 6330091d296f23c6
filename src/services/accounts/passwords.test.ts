import assert from "node:assert/strict";
import { testConfig } from "../../testing/config.ts";
import { checkPasswordPolicy, hashPassword, passwordMatches, passwordPolicy } from "./passwords.ts";

describe("passwords", () => {
  const plain = { config: testConfig() };
  const peppered = { config: testConfig({ password_config: { pepper: "pepper" } }) };

  it("match the hashes that Synapse makes: NFKC, pepper, 72 bytes", async () => {
    const hash = "$2b$04$7l393U3ZxP60i3WxDbYCuOfnPDP.qo57isM9o.CDymGR.aBiGBMQK"; // of "pässwörd ①ﬁ" with pepper, by Python's bcrypt
    assert.equal(await passwordMatches(peppered, "pässwörd ①ﬁ", hash), true);
    assert.equal(await passwordMatches(peppered, "pa\u0308ssw\u00f6rd 1fi", hash), true);
    assert.equal(await passwordMatches(plain, "pässwörd ①ﬁ", hash), false);
    const long = "$2b$04$lurFRbFqvfznLBNA7fBat.C2QZFhXYGFvl66ri4QfYEmMxsrCT6x2"; // of 80 times x
    assert.equal(await passwordMatches(plain, "x".repeat(80), long), true);
    assert.equal(await passwordMatches(plain, "x".repeat(72) + "y", long), true);
    assert.equal(await passwordMatches(plain, "x".repeat(71), long), false);
    assert.equal(await passwordMatches(plain, "a\0b", "$2b$04$cR0/EfzGLsF2KgQsPa5Da.4GOjELl70hLRC31xB3SekzXfK7hlyz6"), true);
  });

  it("are stored as $2b$ with the configured cost", async () => {
    const hash = await hashPassword(peppered, "secret");
    assert.match(hash, /^\$2b\$04\$/);
    assert.equal(await passwordMatches(peppered, "secret", hash), true);
  });

  it("never match an account without a hash, whatever stands in its place", async () => {
    for (const stored of [null, "", "*", "!", "x", "$2b$", "$argon2id$v=19$m=1"]) {
      for (const password of ["", "*", "!", "x", stored ?? "null"]) assert.equal(await passwordMatches(plain, password, stored), false);
    }
  });

  it("must keep the policy, where there is one", () => {
    const policy = { enabled: true, minimum_length: 8, require_digit: true, require_symbol: true, require_uppercase: true, require_lowercase: true };
    const strict = { config: testConfig({ password_config: { policy } }) };
    const broken: [string, string][] = [
      ["aA1!", "M_PASSWORD_TOO_SHORT"],
      ["abcdefgH!", "M_PASSWORD_NO_DIGIT"],
      ["abcdefgH1", "M_PASSWORD_NO_SYMBOL"],
      ["abcdefg1!", "M_PASSWORD_NO_UPPERCASE"],
      ["ABCDEFG1!", "M_PASSWORD_NO_LOWERCASE"],
    ];
    for (const [password, errcode] of broken) assert.throws(() => checkPasswordPolicy(strict, password), { status: 400, errcode });
    checkPasswordPolicy(strict, "abcdefG1!");
    checkPasswordPolicy(plain, "x");
    assert.deepEqual(passwordPolicy(strict), {
      "m.minimum_length": 8,
      "m.require_digit": true,
      "m.require_symbol": true,
      "m.require_uppercase": true,
      "m.require_lowercase": true,
    });
    assert.deepEqual(passwordPolicy(plain), {});
  });
});
