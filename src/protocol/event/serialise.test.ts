import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/json.ts";
import { roomVersion } from "../room-versions.ts";
import { MatrixEvent, type InternalMetadata } from "./event.ts";
import { redactEvent } from "./redact.ts";
import {
  clientEvent,
  clientEventText,
  federationPdu,
  parseEventFields,
  parseStrippedState,
  pickFields,
  strippedState,
  type ClientEventOptions,
} from "./serialise.ts";

function event(over: JsonObject = {}, internal: InternalMetadata = {}, version = "11"): MatrixEvent {
  const json = {
    type: "m.room.message",
    sender: "@a:hs",
    room_id: "!r:hs",
    content: { body: "x" },
    depth: 1,
    origin_server_ts: 1000,
    auth_events: [],
    prev_events: [],
    hashes: {},
    signatures: {},
    origin: "hs",
    prev_state: [],
    unsigned: { age_ts: 1000, invite_room_state: [1] },
    ...over,
  };
  return new MatrixEvent(json, roomVersion(version)!, "$e", internal);
}
const show = (e: MatrixEvent, options: Partial<ClientEventOptions> = {}): JsonObject => {
  const value = clientEvent(e, { now: 1500, ...options });
  // Both forms must say the same, on the first and on a later use.
  for (let i = 0; i < 2; i++) assert.deepEqual(JSON.parse(clientEventText(e, { now: 1500, ...options }).text), JSON.parse(JSON.stringify(value)));
  return value;
};

describe("events for clients", () => {
  it("leave out what only servers need", () => {
    assert.deepEqual(show(event()), {
      type: "m.room.message",
      sender: "@a:hs",
      room_id: "!r:hs",
      content: { body: "x" },
      origin_server_ts: 1000,
      event_id: "$e",
      unsigned: { age: 500 },
    });
  });
  it("leave out the room within a room", () => assert.equal("room_id" in show(event(), { format: "client-without-room" }), false));
  it("repeat parts of unsigned at top level in the old format", () => {
    const shown = show(event(), { format: "client-v1", strippedState: true, unsigned: { prev_content: { a: 1 } } });
    assert.equal(shown.user_id, "@a:hs");
    assert.equal(shown.age, 500);
    assert.deepEqual(shown.prev_content, { a: 1 });
    assert.deepEqual(shown.invite_room_state, [1]);
  });
  it("keep everything in federation format", () => assert.deepEqual(show(event(), { format: "federation" }).hashes, {}));

  it("show the transaction id to the sending device alone", () => {
    const sent = event({}, { txn_id: "t", device_id: "D", delay_id: "d" });
    const unsigned = (reader?: ClientEventOptions["reader"]): JsonObject => show(sent, reader ? { reader } : {}).unsigned as JsonObject;
    assert.equal(unsigned({ userId: "@a:hs", deviceId: "D" }).transaction_id, "t");
    assert.equal(unsigned({ userId: "@a:hs", deviceId: "D" })["org.matrix.msc4140.delay_id"], "d");
    assert.equal(unsigned({ userId: "@a:hs", deviceId: "E" }).transaction_id, undefined);
    assert.equal(unsigned({ userId: "@b:hs", deviceId: "D" }).transaction_id, undefined);
    assert.equal(unsigned({ userId: "@b:hs", deviceId: "D" })["org.matrix.msc4140.delay_id"], undefined);
    assert.equal(unsigned().transaction_id, undefined);
  });
  it("go by the access token, or the kind of user, where no device is stored", () => {
    const shown = (reader: Omit<NonNullable<ClientEventOptions["reader"]>, "userId">): unknown =>
      (show(event({}, { txn_id: "t", token_id: 5 }), { reader: { userId: "@a:hs", ...reader } }).unsigned as JsonObject).transaction_id;
    assert.equal(shown({ accessTokenId: 5 }), "t");
    assert.equal(shown({ accessTokenId: 6 }), undefined);
    assert.equal(shown({ isGuest: true }), "t");
    assert.equal(shown({ isAppService: true }), "t");
  });

  it("carry the redaction, which itself carries none", () => {
    const redaction = event({ type: "m.room.redaction", content: { redacts: "$e", reason: "r" } });
    const first = redactEvent(event(), redaction);
    const second = redactEvent(redaction, first);
    first.redactedBecause = second;
    const because = show(first).unsigned as JsonObject;
    assert.equal(because.redacted_by, "$e");
    const inner = because.redacted_because as JsonObject;
    assert.deepEqual(inner.unsigned, { age: 500 });
    assert.equal("hashes" in inner, false);
  });

  it("show redacts in both places, whatever the room version", () => {
    const now = show(event({ type: "m.room.redaction", content: { redacts: "$x" } }));
    assert.deepEqual([now.redacts, (now.content as JsonObject).redacts], ["$x", "$x"]);
    const old = event({ type: "m.room.redaction", content: {}, redacts: "$x" }, {}, "10");
    assert.deepEqual([show(old).redacts, (show(old).content as JsonObject).redacts], ["$x", "$x"]);
    assert.deepEqual(old.content, {});
  });

  it("name the room of a version 12 create event", () => {
    const create = event({ type: "m.room.create", state_key: "", room_id: undefined as never }, {}, "12");
    assert.equal(show(create).room_id, "!e");
  });

  it("add what the caller knows, without replacing what is there", () => {
    const unsigned = show(event(), { membership: "join", unsigned: { prev_sender: "@b:hs", age: 7 }, relations: { "m.thread": { count: 1 } } })
      .unsigned as JsonObject;
    assert.deepEqual(unsigned, { age: 500, membership: "join", prev_sender: "@b:hs", "m.relations": { "m.thread": { count: 1 } } });
  });

  it("show admins what was held back", () => {
    const marked = event({}, { soft_failed: true, policy_server_spammy: true });
    assert.equal((show(marked).unsigned as JsonObject)["io.element.synapse.soft_failed"], undefined);
    assert.equal((show(marked, { adminMetadata: true }).unsigned as JsonObject)["io.element.synapse.soft_failed"], true);
  });

  it("tell how long an event stays sticky", () => {
    const ttl = (duration: number, ts: number): unknown =>
      (show(event({ origin_server_ts: ts, msc4354_sticky: { duration_ms: duration } }), { stickyEvents: true }).unsigned as JsonObject)
        .msc4354_sticky_duration_ttl_ms;
    assert.equal(ttl(1000, 1000), 500);
    assert.equal(ttl(10 ** 9, 10 ** 9), 3_600_000);
    assert.equal(ttl(100, 1000), undefined);
    assert.equal(ttl(-1, 1000), undefined);
  });

  it("share their text without sharing what differs by reader", () => {
    const sent = event({}, { txn_id: "t", device_id: "D" });
    clientEventText(sent, { now: 1500, reader: { userId: "@a:hs", deviceId: "D" } });
    assert.equal(clientEventText(sent, { now: 2000, reader: { userId: "@b:hs" } }).text.includes('"t"'), false);
  });

  it("are cut to the fields asked for, aggregations always given", () => {
    const fields = parseEventFields(["content.body", "type", "nothing.at.all", "content.missing"]);
    assert.deepEqual(show(event(), { fields }), { content: { body: "x" }, type: "m.room.message" });
    assert.deepEqual(show(event(), { fields, relations: { a: {} } }).unsigned, { "m.relations": { a: {} } });
    assert.ok("unsigned" in show(event(), { fields: [] }));
  });
});

describe("event fields", () => {
  it("are split at dots that are not escaped", () => {
    assert.deepEqual(parseEventFields(["a.b", "a\\.b", "a\\\\.b", "a\\x.b", ""]), [["a", "b"], ["a.b"], ["a\\", "b"], ["a\\x", "b"], [""]]);
  });
  it("do not reach into prototypes, nor change what they read", () => {
    const object = { a: { b: 1, c: 2 } };
    assert.deepEqual(pickFields(object, [["__proto__", "x"], ["constructor"], ["a", "b"], ["a", "c"]]), { a: { b: 1, c: 2 } });
    const whole = { a: { b: 1 }, x: 1 };
    pickFields(whole, [["a"], ["a", "b"]]);
    assert.deepEqual(whole, { a: { b: 1 }, x: 1 });
  });
});

describe("events for servers", () => {
  it("carry their age in place of the time it is counted from", () => {
    assert.deepEqual(federationPdu(event({ unsigned: { age_ts: 1000, replaces_state: "$x", redacted_because: {} } }), 1700).unsigned, {
      age: 700,
      replaces_state: "$x",
    });
  });
});

describe("stripped state", () => {
  it("has four keys, and the whole create event in version 12", () => {
    assert.deepEqual(Object.keys(strippedState(event({ state_key: "" }))), ["type", "state_key", "content", "sender"]);
    const create = event({ type: "m.room.create", state_key: "" }, {}, "12");
    assert.equal(strippedState(create), create.json);
  });
  it("is read only where it is well-formed", () => {
    assert.deepEqual(parseStrippedState({ type: "t", state_key: "", sender: "@a:b", content: {} }), { type: "t", stateKey: "", sender: "@a:b", content: {} });
    for (const bad of [null, 5, [], {}, { type: "t", state_key: "", sender: "@a:b", content: [] }, { type: 1, state_key: "", sender: "", content: {} }])
      assert.equal(parseStrippedState(bad as never), undefined);
  });
});
