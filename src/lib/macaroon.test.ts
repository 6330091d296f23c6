import assert from "node:assert/strict";
import { mintMacaroon, parseMacaroon, verifyMacaroon } from "./macaroon.ts";

describe("macaroon", () => {
  const key = Buffer.from("secret key");
  // Made by pymacaroons 0.13: Macaroon(location="example.org", identifier="key", key="secret key"), caveats "gen = 1", "user_id = @ä:example.org".
  const foreign =
    "MDAxOWxvY2F0aW9uIGV4YW1wbGUub3JnCjAwMTNpZGVudGlmaWVyIGtleQowMDEwY2lkIGdlbiA9IDEKMDAyMmNpZCB1c2VyX2lkID0gQMOkOmV4YW1wbGUub3JnCjAwMmZzaWduYXR1cmUgvP-VraIh4ibJFol14g-A1Lfg1nWQdea1d8c_Q1oQDDcK";

  it("writes what pymacaroons writes", () => {
    assert.equal(mintMacaroon(key, "example.org", "key", ["gen = 1", "user_id = @ä:example.org"]), foreign);
  });

  it("reads and verifies what pymacaroons wrote", () => {
    const macaroon = parseMacaroon(foreign)!;
    assert.deepEqual(macaroon.caveats, ["gen = 1", "user_id = @ä:example.org"]);
    assert.equal(
      verifyMacaroon(macaroon, key, () => true),
      true,
    );
    assert.equal(
      verifyMacaroon(macaroon, Buffer.from("other key"), () => true),
      false,
    );
    assert.equal(
      verifyMacaroon(macaroon, key, (caveat) => caveat === "gen = 1"),
      false,
    );
  });

  it("refuses a macaroon with a caveat taken off or changed", () => {
    const { location, identifier, caveats, signature } = parseMacaroon(foreign)!;
    for (const changed of [caveats.slice(0, 1), ["gen = 2", caveats[1]!], [...caveats, "admin = true"]]) {
      assert.equal(
        verifyMacaroon({ location, identifier, caveats: changed, signature }, key, () => true),
        false,
      );
    }
  });

  it("takes any other text for no macaroon", () => {
    const bytes = Buffer.from(foreign, "base64url");
    const texts = [
      "",
      "x",
      "syt_YWxpY2U_abcdefghijklmnopqrst_000000",
      "%00",
      foreign.slice(0, -4),
      `${foreign}AAAA`,
      Buffer.concat([bytes, bytes]).toString("base64url"),
    ];
    for (let size = 1; size < bytes.length; size += 7) texts.push(bytes.subarray(0, size).toString("base64url"));
    for (const text of texts) assert.equal(parseMacaroon(text), undefined, text);
  });
});
