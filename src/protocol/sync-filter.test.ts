import assert from "node:assert/strict";
import fc from "fast-check";
import type { Json, JsonObject } from "../lib/json.ts";
import { compileEventFilter, compileSyncFilter, eventFilterProblem, filterProblem, type Filterable } from "./sync-filter.ts";

const message: Filterable = { type: "m.room.message", sender: "@a:b", roomId: "!r:b", content: { body: "x" } };
const accepts = (definition: JsonObject, event: Partial<Filterable> = {}): boolean =>
  compileEventFilter(definition, undefined, -1, { msc3874: true }).accepts({ ...message, ...event });

describe("event filters", () => {
  for (const [definition, yes, no] of [
    [{}, [{}], []],
    [{ types: ["m.room.*"] }, [{}, { type: "m.room." }], [{ type: "m.roomx" }]],
    [{ types: ["*.message"] }, [{}], [{ type: "m.room.messages" }]],
    [{ types: ["m.*.message", "x"] }, [{}, { type: "x" }], [{ type: "X" }]],
    [{ types: [] }, [], [{}]],
    [{ not_types: ["m.room.*"] }, [{ type: "x" }], [{}]],
    [{ types: ["m.room.message"], not_types: ["*"] }, [], [{}]],
    [{ senders: ["@a:b"] }, [{}], [{ sender: "@c:b" }, { sender: undefined }]],
    [{ senders: ["@*"] }, [], [{}]],
    [{ not_senders: ["@a:b"] }, [{ sender: "@c:b" }, { sender: undefined }], [{}, { sender: undefined, content: { user_id: "@a:b" } }]],
    [{ rooms: ["!r:b"] }, [{}, { roomId: undefined }], [{ roomId: "!x:b" }]],
    [{ not_rooms: ["!r:b"] }, [{ roomId: "!x:b" }], [{}]],
    [{ contains_url: true }, [{ content: { url: "mxc://" } }], [{}, { content: { url: 5 } }, { content: "x" }]],
    [{ contains_url: false }, [{}, { content: null }], [{ content: { url: "" } }]],
    [{ "org.matrix.labels": ["a"] }, [{ content: { "org.matrix.labels": ["b", "a"] } }], [{}, { content: { "org.matrix.labels": "a" } }]],
    [{ "org.matrix.not_labels": ["a"] }, [{}], [{ content: { "org.matrix.labels": ["a"] } }]],
    [{ "org.matrix.msc3874.rel_types": ["m.thread"] }, [{ content: { "m.relates_to": { rel_type: "m.thread", event_id: "$x" } } }], [{}]],
    [{ "org.matrix.msc3874.not_rel_types": ["m.thread"] }, [{}], [{ content: { "m.relates_to": { rel_type: "m.thread", event_id: "$x" } } }]],
  ] as unknown as [JsonObject, Partial<Filterable>[], Partial<Filterable>[]][]) {
    it(`${JSON.stringify(definition)} let through what they should`, () => {
      for (const event of yes) assert.equal(accepts(definition, event), true, JSON.stringify(event));
      for (const event of no) assert.equal(accepts(definition, event), false, JSON.stringify(event));
    });
  }

  it("know when nothing can pass", () => {
    for (const definition of [{ types: [] }, { senders: [] }, { rooms: [] }, { not_types: ["*"] }, { not_senders: ["*"] }, { not_rooms: ["*"] }, { limit: 0 }])
      assert.equal(compileEventFilter(definition).blocksAll, true, JSON.stringify(definition));
    assert.equal(compileEventFilter({ types: ["*"] }).blocksAll, false);
  });

  it("bound their limit", () => {
    assert.equal(compileEventFilter({}).limit, 10);
    assert.equal(compileEventFilter({ limit: 500 }, undefined, 100).limit, 100);
    assert.equal(compileEventFilter({ limit: -1 }, undefined, 100).limit, 100);
    assert.equal(compileEventFilter({ limit: 500 }).limit, 500);
    assert.equal(compileEventFilter({ limit: 2.7 }).limit, 2);
  });

  it("tell what relations to ask the database for", () => {
    assert.equal(compileEventFilter({}).relatedBy, undefined);
    assert.deepEqual(compileEventFilter({ related_by_rel_types: ["m.thread"] }).relatedBy, { senders: [], relTypes: ["m.thread"] });
  });

  it("take time linear in the type", () => {
    const started = performance.now();
    assert.equal(accepts({ types: ["*a".repeat(1000) + "b"] }, { type: "a".repeat(60_000) }), false);
    assert.ok(performance.now() - started < 500);
  });
});

describe("sync filters", () => {
  it("apply the room filter to all that is in rooms, and to nothing else", () => {
    const filter = compileSyncFilter({ room: { rooms: ["!r:b"], timeline: { not_types: ["x"] } } }, 100);
    assert.equal(filter.timeline.accepts(message), true);
    assert.equal(filter.timeline.accepts({ ...message, type: "x" }), false);
    for (const part of [filter.timeline, filter.state, filter.ephemeral, filter.roomAccountData])
      assert.equal(part.accepts({ ...message, roomId: "!x:b" }), false);
    assert.equal(filter.accountData.accepts({ type: "m.direct" }), true);
    assert.equal(filter.acceptsRoom("!x:b"), false);
  });

  it("read each option where it belongs", () => {
    const filter = compileSyncFilter(
      {
        event_format: "federation",
        event_fields: ["content.body"],
        room: { include_leave: true, state: { lazy_load_members: true, include_redundant_members: true }, timeline: { unread_thread_notifications: true } },
      },
      100,
    );
    assert.deepEqual(
      [filter.eventFormat, filter.eventFields, filter.includeLeave, filter.lazyLoadMembers, filter.includeRedundantMembers, filter.unreadThreadNotifications],
      ["federation", [["content", "body"]], true, true, true, true],
    );
    const none = compileSyncFilter({ room: { timeline: { lazy_load_members: true }, state: { unread_thread_notifications: true } } }, 100);
    assert.deepEqual(
      [none.eventFormat, none.eventFields, none.includeLeave, none.lazyLoadMembers, none.includeRedundantMembers, none.unreadThreadNotifications],
      ["client", undefined, false, false, false, false],
    );
  });

  it("know when no room can pass", () => {
    assert.equal(compileSyncFilter({ room: { rooms: [] } }, 100).blocksAllRooms, true);
    assert.equal(compileSyncFilter({ room: {} }, 100).blocksAllRooms, false);
  });

  it("never throw over a filter that was stored malformed", () => {
    const broken = fc.dictionary(
      fc.constantFrom("room", "presence", "account_data", "event_fields", "event_format"),
      fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom("timeline", "state", "rooms", "types", "limit", "senders"), fc.jsonValue())),
    );
    fc.assert(fc.property(broken, (definition) => void compileSyncFilter(definition as JsonObject, 100).timeline.accepts(message)));
  });
});

describe("filter definitions", () => {
  for (const [definition, problem] of [
    [{}, undefined],
    [{ room: { timeline: { limit: 10, types: ["*"] }, unknown: 5 }, other: null }, undefined],
    [5, "filter"],
    [{ room: [] }, "room"],
    [{ room: { timeline: { limit: "10" } } }, "room.timeline.limit"],
    [{ room: { rooms: ["x"] } }, "room.rooms"],
    [{ room: { state: { senders: ["nobody"] } } }, "room.state.senders"],
    [{ presence: { types: "x" } }, "presence.types"],
    [{ event_format: "xml" }, "event_format"],
    [{ event_fields: [1] }, "event_fields"],
    [{ room: { include_leave: null } }, "room.include_leave"],
  ] as [Json, string | undefined][]) {
    it(`${JSON.stringify(definition)} ${problem === undefined ? "are fine" : `fail at ${problem}`}`, () => assert.equal(filterProblem(definition), problem));
  }
  it("of /messages are checked by themselves", () => {
    assert.equal(eventFilterProblem({ contains_url: true }), undefined);
    assert.equal(eventFilterProblem({ contains_url: "yes" }), "contains_url");
  });
});
