import assert from "node:assert/strict";
import {
  byteLengthWithin,
  getDomain,
  localpartOf,
  isCompliantUserId,
  isEventId,
  isRoomAlias,
  isRoomId,
  isServerName,
  isUserId,
  isValidLocalpart,
  parseServerName,
  parseUserId,
} from "./ids.ts";
import { KNOWN_ROOM_VERSIONS, SUPPORTED_ROOM_VERSIONS, roomVersion } from "./room-versions.ts";

describe("server names", () => {
  for (const good of [
    "matrix.org",
    "matrix.org:8888",
    "1.2.3.4",
    "1.2.3.4:1234",
    "[1234:5678::abcd]",
    "[1234:5678::abcd]:5678",
    "[::]",
    "[::1]",
    "[::ffff:1.2.3.4]",
    "localhost",
    "A-b.C",
    "[1:2:3:4:5:6:7:8]",
    "[1:2:3:4:5:6:1.2.3.4]",
  ]) {
    it(`accepts ${good}`, () => assert.equal(isServerName(good), true));
  }
  for (const bad of [
    "",
    ":80",
    "a b",
    "a:",
    "a:123456",
    "a:8x",
    "[::1",
    "::1",
    "[1:2:3]",
    "[1::2::3]",
    "[:1]",
    "[1.2.3.4]",
    "[::1.2.3.256]",
    "[1:2:3:4:5:6:7:8:9]",
    "[12345::]",
    "[::1]x",
    "exam_ple",
    "münchen.de",
    "a\n",
    "a/b",
    "[]",
    "x".repeat(256),
  ]) {
    it(`refuses ${JSON.stringify(bad).slice(0, 40)}`, () => assert.equal(isServerName(bad), false));
  }
  it("gives host and port", () => {
    assert.deepEqual(parseServerName("[::1]:80"), { host: "::1", port: 80, ipv6: true });
    assert.deepEqual(parseServerName("example.org"), { host: "example.org", port: undefined, ipv6: false });
  });
});

describe("identifiers", () => {
  it("accepts historical user ids", () => {
    for (const id of ["@alice:example.org", "@Alice:example.org:8448", "@:example.org", "@ü 🎉:example.org", "@a@b:[::1]"])
      assert.equal(isUserId(id), true, id);
  });
  it("refuses what never was a user id", () => {
    for (const id of [
      "alice:example.org",
      "@alice",
      "@alice:",
      "@a\0b:example.org",
      "@a:b c",
      `@${"a".repeat(255)}:b`,
      `@${"ü".repeat(126)}:ab`,
      5,
      null,
      undefined,
    ])
      assert.equal(isUserId(id), false, String(id));
  });
  it("tells compliant user ids from historical ones", () => {
    assert.equal(isCompliantUserId("@A!b:example.org"), true);
    assert.equal(isCompliantUserId("@:example.org"), false);
    assert.equal(isCompliantUserId("@a b:example.org"), false);
  });
  it("knows the localparts that may be registered", () => {
    assert.equal(isValidLocalpart("a-b_c.d=e/f+9"), true);
    for (const bad of ["", "A", "a b", "é", "a:b"]) assert.equal(isValidLocalpart(bad), false);
  });
  it("accepts room ids with a domain and as a hash", () => {
    assert.equal(isRoomId("!abc:example.org"), true);
    assert.equal(isRoomId("!" + "a".repeat(43)), true);
    for (const bad of ["!abc", "!" + "a".repeat(42) + "+", "#a:b", "!abc:", ""]) assert.equal(isRoomId(bad), false, bad);
  });
  it("checks aliases and event ids", () => {
    assert.equal(isRoomAlias("#a b:example.org"), true);
    assert.equal(isRoomAlias("#a"), false);
    assert.equal(isEventId("$anything"), true);
    for (const bad of ["$", "x", "", "$" + "a".repeat(255)]) assert.equal(isEventId(bad), false);
  });
  it("splits at the first colon", () => {
    assert.equal(getDomain("@a:b:80"), "b:80");
    assert.equal(getDomain("!hash"), "");
    assert.equal(localpartOf("@a:b:80"), "a");
    assert.deepEqual(parseUserId("@a:b:80"), { localpart: "a", domain: "b:80" });
    assert.equal(parseUserId("#a:b"), undefined);
  });
  it("counts bytes, not characters", () => {
    assert.equal(byteLengthWithin("é".repeat(127), 255), true);
    assert.equal(byteLengthWithin("é".repeat(128), 255), false);
    assert.equal(byteLengthWithin("a".repeat(255), 255), true);
  });
});

describe("room versions", () => {
  it("are the eighteen that Synapse 1.160 defines, fifteen of them without an option", () => {
    assert.equal(KNOWN_ROOM_VERSIONS.length, 18);
    assert.equal(SUPPORTED_ROOM_VERSIONS.length, 15);
    assert.equal(roomVersion("13"), undefined);
    assert.equal(roomVersion("__proto__"), undefined);
  });
  it("inherit the flags of the version they derive from", () => {
    const flags = (id: string): unknown[] => {
      const v = roomVersion(id)!;
      return [
        v.eventFormat,
        v.stateResolution,
        v.roomIdIsCreateHash,
        v.implicitCreator,
        v.strictCanonicalJson,
        v.integerPowerLevels,
        v.enforceKeyValidity,
        v.updatedRedaction,
        v.knocking,
        v.restrictedJoins,
        v.knockRestrictedJoins,
        v.ownedState,
      ];
    };
    const [no, yes] = [false, true];
    assert.deepEqual(flags("1"), [1, 1, no, no, no, no, no, no, no, no, no, no]);
    assert.deepEqual(flags("5"), [3, 2, no, no, no, no, yes, no, no, no, no, no]);
    assert.deepEqual(flags("9"), [3, 2, no, no, yes, no, yes, no, yes, yes, no, no]);
    assert.deepEqual(flags("org.matrix.msc3757.10"), [3, 2, no, no, yes, yes, yes, no, yes, yes, yes, yes]);
    assert.deepEqual(flags("12"), [4, 3, yes, yes, yes, yes, yes, yes, yes, yes, yes, no]);
    assert.deepEqual(flags("org.matrix.msc4242.12"), [5, 3, yes, yes, yes, yes, yes, yes, yes, yes, yes, no]);
  });
});
