import assert from "node:assert/strict";
import fc from "fast-check";
import { parseJson } from "../../lib/lossless-json.ts";
import { stringify, type Json, type JsonObject } from "../../lib/json.ts";
import { KNOWN_ROOM_VERSIONS, roomVersion } from "../room-versions.ts";
import { buildEvent, hashAndSign, pduFields, type NewEvent } from "./build.ts";
import { byteLimitProblem, makeEventFromJson, MAX_DEPTH, parsePdu, parseStoredEvent } from "./format.ts";
import { contentHashMatches, eventIdOf } from "./hash.ts";
import { signingKeyFromSeed, verifyEventJson } from "./sign.ts";
import { storedEventJson } from "./serialise.ts";

const key = signingKeyFromSeed("a_test", Buffer.alloc(32, 1));
const hash = "a".repeat(43);

function message(version: string, over: Partial<NewEvent> = {}): NewEvent {
  return {
    roomVersion: roomVersion(version)!,
    roomId: "!room:hs",
    type: "m.room.message",
    sender: "@a:hs",
    content: { body: "hé", msgtype: "m.text" },
    originServerTs: 1_700_000_000_000,
    depth: 5,
    prevEventIds: ["$p"],
    authEventIds: ["$c", "$m"],
    ...over,
  };
}

describe("building events", () => {
  for (const version of KNOWN_ROOM_VERSIONS) {
    it(`makes valid, hashed and signed events of room version ${version.id}`, () => {
      const event = buildEvent(
        message(version.id, { roomId: version.roomIdIsCreateHash ? "!" + hash : "!room:hs", eventId: "$1:hs", unsigned: { replaces_state: "$old" } }),
        "hs",
        [key],
      );
      const received = parsePdu(parseJson(stringify(event.json)), version);
      assert.equal(received.problem, undefined);
      assert.equal(received.event!.eventId, event.eventId);
      assert.equal(event.eventId, version.eventFormat === 1 ? "$1:hs" : eventIdOf(event.json, version));
      assert.ok(contentHashMatches(event.json));
      assert.ok(verifyEventJson(event.json, version, "hs", key));
      assert.deepEqual(event.json.unsigned, { age_ts: 1_700_000_000_000, replaces_state: "$old" });
      assert.equal("origin" in event.json, false);
    });
  }

  it("chooses the alphabet of the event id by room version", () => {
    assert.match(buildEvent(message("3"), "hs", [key]).eventId, /^\$[A-Za-z0-9+/]{43}$/);
    assert.match(buildEvent(message("4"), "hs", [key]).eventId, /^\$[A-Za-z0-9_-]{43}$/);
  });

  it("refers to events with their hashes in room versions 1 and 2", () => {
    const event = buildEvent(message("1", { eventId: "$1:hs", referenceHash: (id) => (id === "$p" ? "HASH" : undefined) }), "hs", [key]);
    assert.deepEqual(event.json.prev_events, [["$p", { sha256: "HASH" }]]);
    assert.deepEqual(event.json.auth_events, [
      ["$c", {}],
      ["$m", {}],
    ]);
    assert.deepEqual(event.authEventIds, ["$c", "$m"]);
  });

  it("writes redacts where the room version has it", () => {
    const old = pduFields(message("10", { type: "m.room.redaction", content: { reason: "x" }, redacts: "$e" }));
    assert.equal(old.redacts, "$e");
    assert.deepEqual(old.content, { reason: "x" });
    const now = pduFields(message("11", { type: "m.room.redaction", content: { reason: "x" }, redacts: "$e" }));
    assert.equal(now.redacts, undefined);
    assert.deepEqual(now.content, { reason: "x", redacts: "$e" });
  });

  it("names a version 12 room after its create event, which other events imply", () => {
    const create = buildEvent(
      message("12", { roomId: undefined, type: "m.room.create", stateKey: "", content: { room_version: "12" }, prevEventIds: [], authEventIds: [], depth: 1 }),
      "hs",
      [key],
    );
    assert.equal("room_id" in create.json, false);
    assert.equal(create.roomId, "!" + create.eventId.slice(1));
    assert.deepEqual(create.authEventIds, []);
    const event = buildEvent(message("12", { roomId: create.roomId, authEventIds: ["$m", create.eventId] }), "hs", [key]);
    assert.deepEqual(event.json.auth_events, ["$m"]);
    assert.deepEqual(event.authEventIds, ["$m", create.eventId]);
  });

  it("keeps the auth events of state DAG rooms beside the event", () => {
    const event = buildEvent(message("org.matrix.msc4242.12", { roomId: "!" + hash, prevStateEventIds: ["$s"] }), "hs", [key]);
    assert.deepEqual(event.json.prev_state_events, ["$s"]);
    assert.equal("auth_events" in event.json, false);
    assert.deepEqual(event.authEventIds, ["$c", "$m"]);
    assert.deepEqual(event.prevStateEventIds, ["$s"]);
  });

  it("caps the depth at 2^63-1", () => assert.equal(buildEvent(message("5", { depth: MAX_DEPTH + 1n }), "hs", [key]).json.depth, MAX_DEPTH));

  it("signs with every key that is given and keeps others' signatures", () => {
    const second = signingKeyFromSeed("b", Buffer.alloc(32, 2));
    const event = hashAndSign({ ...pduFields(message("11")), signatures: { other: { "ed25519:x": "y" } } }, roomVersion("11")!, "hs", [key, second]);
    assert.deepEqual(Object.keys((event.json.signatures as JsonObject).hs as JsonObject), ["ed25519:a_test", "ed25519:b"]);
    assert.deepEqual((event.json.signatures as JsonObject).other, { "ed25519:x": "y" });
  });
});

describe("PDUs from other servers", () => {
  const V5 = roomVersion("5")!;
  const V11 = roomVersion("11")!;
  const V12 = roomVersion("12")!;
  const good = (): JsonObject => ({
    type: "m.x",
    sender: "@a:b",
    room_id: "!r:b",
    content: {},
    depth: 1,
    origin_server_ts: 1,
    auth_events: ["$a"],
    prev_events: ["$p"],
    hashes: { sha256: "x" },
    signatures: {},
  });

  it("are accepted as they are", () => assert.equal(parsePdu(good(), V11).problem, undefined));

  const bad: [what: string, change: JsonObject][] = [
    ["a depth that is a string", { depth: "1" }],
    ["a depth that is a float", { depth: parseJson("1.0") }],
    ["a negative depth", { depth: -1 }],
    ["a depth over 2^63-1", { depth: MAX_DEPTH + 1n }],
    ["a depth of null", { depth: null }],
    ["no depth", { depth: undefined }],
    ["a type that is no string", { type: 1 }],
    ["no type", { type: undefined }],
    ["a sender without domain", { sender: "@a" }],
    ["a sender that is no user id", { sender: "a:b" }],
    ["a state key that is no string", { state_key: null }],
    ["content that is no object", { content: [] }],
    ["no content", { content: undefined }],
    ["no hashes", { hashes: undefined }],
    ["signatures that are a list", { signatures: [] }],
    ["no room id", { room_id: undefined }],
    ["a room id that is no string", { room_id: 1 }],
    ["no prev_events", { prev_events: undefined }],
    ["prev_events of the wrong kind", { prev_events: [["$p", {}]] }],
    ["21 prev_events", { prev_events: Array.from({ length: 21 }, () => "$p") }],
    ["11 auth_events", { auth_events: Array.from({ length: 11 }, () => "$p") }],
    ["an explicit event id", { event_id: "$x" }],
    ["no time", { origin_server_ts: undefined }],
    ["a time that is a string", { origin_server_ts: "1" }],
    ["a type over 255 characters", { type: "x".repeat(256) }],
    ["a lone surrogate", { content: { a: "\ud800" } }],
    ["65 kilobytes", { content: { a: "x".repeat(65_536) } }],
  ];
  for (const [what, change] of bad) {
    it(`are dropped for ${what}`, () => {
      for (const version of [V5, V11]) assert.equal(typeof parsePdu({ ...good(), ...change }, version).problem, "string");
    });
  }
  for (const nothing of [null, [], "x", 5] as Json[]) it(`are dropped when they are ${stringify(nothing)}`, () => assert.ok(parsePdu(nothing, V11).problem));

  it("may have a depth of 2^63-1 and floats before version 6, not after", () => {
    for (const change of [{ depth: MAX_DEPTH }, { content: { a: parseJson("1.5") } }]) {
      assert.equal(parsePdu({ ...good(), ...change }, V5).problem, undefined);
      assert.notEqual(parsePdu({ ...good(), ...change }, V11).problem, undefined);
    }
    assert.equal(parsePdu({ ...good(), depth: MAX_DEPTH }, V5).event!.depth, MAX_DEPTH);
  });

  it("are let through up to 255 code points, and told apart when over 255 bytes", () => {
    const json = { ...good(), type: "é".repeat(200) };
    assert.equal(parsePdu(json, V5).problem, undefined);
    assert.equal(byteLimitProblem(json), "'type' too large");
    assert.equal(byteLimitProblem(good()), undefined);
  });

  it("must not list or repeat the create event of a version 12 room", () => {
    const v12 = { ...good(), room_id: "!" + hash };
    assert.equal(parsePdu(v12, V12).problem, undefined);
    assert.match(parsePdu({ ...v12, auth_events: ["$" + hash] }, V12).problem!, /create event/);
    assert.match(parsePdu({ ...v12, type: "m.room.create", state_key: "" }, V12).problem!, /room ID/);
    assert.equal(parsePdu({ ...v12, type: "m.room.create", state_key: "", room_id: undefined }, V12).problem, undefined);
  });

  it("need hashed references in version 1", () => {
    const v1 = { ...good(), event_id: "$x:b", auth_events: [["$a", { sha256: "x" }]], prev_events: [] };
    assert.deepEqual(parsePdu(v1, roomVersion("1")!).event!.authEventIds, ["$a"]);
    assert.ok(parsePdu({ ...v1, event_id: undefined }, roomVersion("1")!).problem);
    assert.ok(parsePdu({ ...v1, prev_events: ["$p"] }, roomVersion("1")!).problem);
  });

  it("lose from unsigned what other servers have no say in", () => {
    const unsigned = { age: 500, age_ts: 3, replaces_state: "$x", prev_content: {}, redacted_because: {}, invite_room_state: [], transaction_id: "t" };
    assert.deepEqual(parsePdu({ ...good(), unsigned }, V11, 10_000).event!.unsigned, { age_ts: 9500 });
    assert.deepEqual(parsePdu({ ...good(), unsigned }, V11).event!.unsigned, {});
    assert.deepEqual(parsePdu({ ...good(), type: "m.room.member", unsigned }, V11).event!.unsigned, { invite_room_state: [] });
    assert.deepEqual(parsePdu({ ...good(), unsigned: "x" }, V11).event!.unsigned, {});
  });

  it("never make the parser throw", () => {
    const value = fc.oneof(fc.jsonValue(), fc.constant(undefined));
    const pdu = fc.record(
      Object.fromEntries(Object.entries(good()).map(([name, item]) => [name, fc.oneof({ weight: 4, arbitrary: fc.constant(item) }, value)])),
    );
    fc.assert(
      fc.property(pdu, fc.constantFrom(...KNOWN_ROOM_VERSIONS), (json, version) => {
        const result = parsePdu(json as Json, version, 1);
        assert.ok(result.event !== undefined || typeof result.problem === "string");
      }),
      { numRuns: 300 },
    );
  });
});

describe("stored events", () => {
  const event = buildEvent(message("11"), "hs", [key]);
  const row = {
    event_id: event.eventId,
    json: parseJson(storedEventJson(event)),
    internal_metadata: { soft_failed: true },
    format_version: 3,
    room_version: "11",
  };

  it("come back as they were", () => {
    const read = parseStoredEvent({ ...row, stream_ordering: "17", outlier: true, rejection_reason: "auth_error" })!;
    assert.deepEqual(read.json, event.json);
    assert.equal(read.streamOrdering, 17);
    assert.equal(read.outlier, true);
    assert.equal(read.rejectedReason, "auth_error");
    assert.equal(read.internal.soft_failed, true);
    assert.equal(makeEventFromJson(read.json, read.roomVersion).eventId, event.eventId);
  });

  it("are passed over when their room version is unknown or of another format", () => {
    assert.equal(parseStoredEvent({ ...row, room_version: "99" }), undefined);
    assert.equal(parseStoredEvent({ ...row, room_version: "3" }), undefined);
    assert.equal(parseStoredEvent({ ...row, json: [] }), undefined);
  });

  it("without a format are of version 1, without a room of the oldest version of their format", () => {
    assert.equal(parseStoredEvent({ ...row, format_version: null, room_version: "2" })!.roomVersion.id, "2");
    assert.equal(parseStoredEvent({ ...row, format_version: null, room_version: null })!.roomVersion.id, "1");
    assert.equal(parseStoredEvent({ ...row, format_version: 3, room_version: null })!.roomVersion.id, "5");
    const create = { ...event.json, type: "m.room.create", content: { room_version: "9" } };
    assert.equal(parseStoredEvent({ ...row, json: create, room_version: null })!.roomVersion.id, "9");
  });
});
