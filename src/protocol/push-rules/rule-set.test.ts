import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Json, JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { MatrixEvent } from "../event/event.ts";
import { PowerLevels } from "../power-levels.ts";
import { roomVersion } from "../room-versions.ts";
import { actionsOfRow, isHighlight, storedActions } from "./actions.ts";
import { NO_PUSH_FEATURES, type PushFeatures } from "./base-rules.ts";
import { compileCondition, type PushUser } from "./conditions.ts";
import { PushEvent, type PushEventFacts } from "./push-event.ts";
import { RuleSet, ruleSetKey, type StoredRule } from "./rule-set.ts";
import { ruleFromRequest } from "./rules.ts";

const fixture = JSON.parse(readFileSync(new URL("../testdata/base-push-rules.json", import.meta.url), "utf8")) as Record<string, JsonObject>;
const ALL: PushFeatures = { msc1767: true, msc3381Polls: true, msc3664: true, msc4028: true, msc4210: true, msc4306: true };
const alice: PushUser = { userId: "@alice:example.org", displayName: "Alice Smith" };

function event(content: JsonObject, over: JsonObject = {}, version = "11"): MatrixEvent {
  return new MatrixEvent(
    { type: "m.room.message", sender: "@bob:example.org", room_id: "!r:x", content, depth: 1, origin_server_ts: 1, auth_events: [], prev_events: [], ...over },
    roomVersion(version)!,
    "$e",
  );
}
function levels(content: JsonObject): PowerLevels {
  return new PowerLevels(undefined, event(content, { type: "m.room.power_levels", state_key: "" }));
}
const push = (content: JsonObject, over: JsonObject = {}, facts: Partial<PushEventFacts> = {}, version?: string): PushEvent =>
  new PushEvent(event(content, over, version), { memberCount: 5, ...facts });
const row = (rule_id: string, priority_class: number, conditions: Json, actions: Json, priority = 0): StoredRule => ({
  rule_id,
  priority_class,
  priority,
  conditions,
  actions,
});

describe("push rules for clients", () => {
  it("without own rules are those that Synapse shows, for every set of options", () => {
    assert.deepEqual(new RuleSet([], new Map(), NO_PUSH_FEATURES).forClient(alice.userId), fixture.none);
    assert.deepEqual(new RuleSet([], new Map(), ALL).forClient(alice.userId), fixture.all);
    assert.deepEqual(new RuleSet([], new Map(), { ...ALL, msc4210: false }).forClient(alice.userId), fixture.but_msc4210);
  });

  it("with own rules, changed and switched rules are those that Synapse shows", () => {
    const rows = [
      row("global/underride/low", 1, [], ["notify"]),
      row("global/override/mine", 5, [{ kind: "event_match", key: "type", pattern: "x" }], ["notify", { set_tweak: "sound", value: "a" }]),
      row("global/content/word", 4, [{ kind: "event_match", key: "content.body", pattern: "word*" }], ["dont_notify"]),
      row("global/room/!a/b:c", 3, [{ kind: "event_match", key: "room_id", pattern: "!a/b:c" }], []),
      row("global/sender/@b:c", 2, [{ kind: "event_match", key: "user_id", pattern: "@b:c" }], ["notify"]),
      row("global/underride/.m.rule.message", -1, [], []),
    ];
    const enabled = new Map([
      ["global/override/.m.rule.master", true],
      ["global/room/!a/b:c", false],
    ]);
    assert.deepEqual(new RuleSet(rows, enabled, NO_PUSH_FEATURES).forClient(alice.userId), fixture.own);
  });

  it("are listed by priority, highest first", () => {
    const rows = [row("global/override/a", 5, [], [], 1), row("global/override/b", 5, [], [], 3), row("global/override/c", 5, [], [], 2)];
    const shown = new RuleSet(rows, new Map(), NO_PUSH_FEATURES).forClient(alice.userId) as { global: { override: { rule_id: string }[] } };
    assert.deepEqual(
      shown.global.override.slice(0, 4).map((rule) => rule.rule_id),
      [".m.rule.master", "b", "c", "a"],
    );
  });
});

describe("the predefined rules", () => {
  const rules = new RuleSet([], new Map(), NO_PUSH_FEATURES);
  const act = (e: PushEvent, user = alice): string =>
    rules
      .evaluate(e, user)
      .map((action) => (typeof action === "string" ? action : Object.values(action as JsonObject).join("=")))
      .join(" ");
  const room = levels({ users: { "@bob:example.org": 50 } });

  for (const [what, e, expected] of [
    ["a message in a group", push({ body: "hi" }), "notify highlight=false"],
    ["a message between two", push({ body: "hi" }, {}, { memberCount: 2 }), "notify sound=default highlight=false"],
    ["a notice", push({ body: "hi", msgtype: "m.notice" }), ""],
    ["my localpart", push({ body: "hey ALICE!" }), "notify highlight sound=default"],
    ["my display name", push({ body: "is alice smith here" }), "notify highlight sound=default"],
    ["part of my name", push({ body: "malice" }), "notify highlight=false"],
    ["a mention of me", push({ body: "x", "m.mentions": { user_ids: ["@alice:example.org"] } }), "notify highlight sound=default"],
    ["a mention of another by my name", push({ body: "alice", "m.mentions": { user_ids: ["@carol:example.org"] } }), "notify highlight=false"],
    ["mentions that are malformed", push({ body: "alice", "m.mentions": "x" }), "notify highlight=false"],
    ["@room by who may", push({ body: "@room hi" }, {}, { levels: room }), "notify highlight"],
    ["@room by who may not", push({ body: "@room hi" }, {}, { levels: levels({}) }), "notify highlight=false"],
    ["@room of an outlier", push({ body: "@room hi" }), "notify highlight=false"],
    ["a room mention by who may", push({ body: "x", "m.mentions": { room: true } }, {}, { levels: room }), "notify highlight"],
    ["a room mention that is no boolean", push({ body: "x", "m.mentions": { room: 1 } }, {}, { levels: room }), "notify highlight=false"],
    ["my invite", push({ membership: "invite" }, { type: "m.room.member", state_key: "@alice:example.org" }), "notify highlight=false sound=default"],
    ["another's invite", push({ membership: "invite" }, { type: "m.room.member", state_key: "@x:y" }), ""],
    ["a reaction", push({}, { type: "m.reaction" }), ""],
    ["an edit", push({ body: "* hi", "m.relates_to": { rel_type: "m.replace", event_id: "$x" } }), ""],
    [
      "an edit that mentions me",
      push({ "m.relates_to": { rel_type: "m.replace" }, "m.mentions": { user_ids: ["@alice:example.org"] } }),
      "notify highlight sound=default",
    ],
    ["a tombstone", push({}, { type: "m.room.tombstone", state_key: "" }), "notify highlight"],
    ["a call", push({}, { type: "m.call.invite" }), "notify sound=ring highlight=false"],
    ["an encrypted event", push({}, { type: "m.room.encrypted" }), "notify highlight=false"],
    ["a jitsi widget", push({ type: "jitsi" }, { type: "im.vector.modular.widgets", state_key: "w" }), "notify highlight=false"],
    ["an unknown event", push({}, { type: "org.x" }), ""],
    ["a body that is no string", push({ body: 5 }), "notify highlight=false"],
  ] as const) {
    it(`say ${expected === "" ? "nothing" : `"${expected}"`} for ${what}`, () => assert.equal(act(e), expected));
  }

  it("do nothing at all under the master rule", () => {
    const silent = new RuleSet([], new Map([["global/override/.m.rule.master", true]]), NO_PUSH_FEATURES);
    assert.deepEqual(silent.evaluate(push({ body: "alice" }), alice), []);
  });

  it("do not search texts with MSC4210", () => {
    assert.equal(new RuleSet([], new Map(), { ...NO_PUSH_FEATURES, msc4210: true }).evaluate(push({ body: "alice" }), alice).length, 2);
  });

  it("in rooms with extensible events are those made for them (MSC3932)", () => {
    const set = new RuleSet([], new Map(), { ...NO_PUSH_FEATURES, msc1767: true });
    const version = "org.matrix.msc1767.10";
    assert.deepEqual(set.evaluate(push({ body: "x" }, {}, {}, version), alice), []);
    assert.equal(set.evaluate(push({}, { type: "m.message" }, {}, version), alice)[0], "notify");
    const markup = { "org.matrix.msc1767.markup": [{ mimetype: "text/html", body: "no" }, { body: "Hello ALICE" }] };
    assert.equal(set.evaluate(push(markup, { type: "m.message" }, {}, version), alice).length, 3);
  });

  it("follow thread subscriptions (MSC4306) but for mentions", () => {
    const set = new RuleSet([], new Map(), { ...NO_PUSH_FEATURES, msc4306: true });
    const unsubscribed = { ...alice, threadSubscription: false };
    assert.deepEqual(set.evaluate(push({ body: "x" }), unsubscribed), []);
    assert.equal(set.evaluate(push({ body: "alice" }), unsubscribed).length, 3);
    assert.deepEqual(set.evaluate(push({ body: "x" }), { ...alice, threadSubscription: true }), ["notify", { set_tweak: "sound", value: "default" }]);
    assert.equal(set.evaluate(push({ body: "x" }), alice).length, 2);
  });
});

describe("own push rules", () => {
  const evaluate = (rows: StoredRule[], e: PushEvent, enabled: [string, boolean][] = []): readonly Json[] =>
    new RuleSet(rows, new Map(enabled), NO_PUSH_FEATURES).evaluate(e, alice);

  it("go by kind: override, content, room, sender, underride", () => {
    const message = push({ body: "word" });
    const kinds = [
      row("global/override/o", 5, [], ["notify", { set_tweak: "k", value: "override" }]),
      row("global/content/c", 4, [{ kind: "event_match", key: "content.body", pattern: "word" }], ["notify", { set_tweak: "k", value: "content" }]),
      row("global/room/r", 3, [{ kind: "event_match", key: "room_id", pattern: "!r:x" }], ["notify", { set_tweak: "k", value: "room" }]),
      row("global/sender/s", 2, [{ kind: "event_match", key: "user_id", pattern: "@bob:example.org" }], ["notify", { set_tweak: "k", value: "sender" }]),
      row("global/underride/u", 1, [], ["notify", { set_tweak: "k", value: "underride" }]),
    ];
    const order = ["override", "content", "room", "sender", "underride"];
    for (let i = 0; i < order.length; i++) {
      assert.deepEqual(evaluate(kinds.slice(i).reverse(), message)[1], { set_tweak: "k", value: order[i] });
    }
  });

  it("may silence, by an empty list and by dont_notify", () => {
    for (const actions of [[], ["dont_notify"], ["coalesce"]])
      assert.deepEqual(evaluate([row("global/room/r", 3, [{ kind: "event_match", key: "room_id", pattern: "!r:x" }], actions)], push({ body: "x" })), []);
  });

  it("may change what a predefined rule does, and switch it off", () => {
    const changed = row("global/underride/.m.rule.message", -1, [], ["notify", { set_tweak: "sound", value: "x" }]);
    assert.deepEqual(evaluate([changed], push({ body: "x" })), changed.actions);
    assert.deepEqual(evaluate([changed], push({ body: "x" }), [["global/underride/.m.rule.message", false]]), []);
  });

  it("whose row cannot be read match nothing", () => {
    assert.deepEqual(evaluate([row("global/override/x", 5, "bad", ["notify"])], push({}, { type: "org.x" })), []);
    assert.deepEqual(evaluate([row("global/override/x", 5, [null], ["notify"])], push({}, { type: "org.x" })), []);
    assert.deepEqual(evaluate([row("global/postcontent/x", 6, [], ["notify"])], push({}, { type: "org.x" })), []);
    assert.deepEqual(evaluate([row("global/override/x", 5, [], "bad")], push({}, { type: "org.x" })), []);
  });

  it("are shared by users whose rows say the same", () => {
    const one = [row("global/room/r", 3, [], [])];
    assert.equal(
      ruleSetKey(
        one,
        new Map([
          ["a", true],
          ["b", false],
        ]),
      ),
      ruleSetKey(
        [...one],
        new Map([
          ["b", false],
          ["a", true],
        ]),
      ),
    );
    assert.notEqual(ruleSetKey(one, new Map()), ruleSetKey([], new Map()));
  });
});

describe("conditions", () => {
  const check = (condition: Json, e: PushEvent, features = ALL, user = alice): boolean => compileCondition(condition, features)(e, user);

  it("event_property_is compares exactly, by type", () => {
    const e = push({ a: 1, b: true, c: null, s: "x", "d.e": { f: "y" } });
    for (const [key, value, yes] of [
      ["content.a", 1, true],
      ["content.a", true, false],
      ["content.a", "1", false],
      ["content.b", true, true],
      ["content.c", null, true],
      ["content.s", "X", false],
      ["content.d\\.e.f", "y", true],
      ["content.d.e.f", "y", false],
      ["content.none", null, false],
    ] as const) {
      assert.equal(check({ kind: "event_property_is", key, value }, e), yes, `${key} ${String(value)}`);
    }
    assert.equal(check({ kind: "event_property_is", key: "content.f", value: 1 }, push({ f: (parseJson("[1.0]") as Json[])[0]! })), false);
  });

  it("event_property_contains looks for the value in a list", () => {
    const e = push({ list: ["a", 1, null, { x: 1 }], text: "abc" });
    for (const [value, yes] of [
      ["a", true],
      [1, true],
      [null, true],
      ["A", false],
      ["b", false],
    ] as const)
      assert.equal(check({ kind: "event_property_contains", key: "content.list", value }, e), yes);
    assert.equal(check({ kind: "event_property_contains", key: "content.text", value: "a" }, e), false);
  });

  it("event_match matches strings alone, the body by words", () => {
    const e = push({ body: "cakes are lies", n: 5, name: "cakes are" });
    assert.equal(check({ kind: "event_match", key: "content.body", pattern: "ARE" }, e), true);
    assert.equal(check({ kind: "event_match", key: "content.body", pattern: "cake" }, e), false);
    assert.equal(check({ kind: "event_match", key: "content.name", pattern: "cakes" }, e), false);
    assert.equal(check({ kind: "event_match", key: "content.name", pattern: "cake*" }, e), true);
    assert.equal(check({ kind: "event_match", key: "content.n", pattern: "5" }, e), false);
  });

  it("room_member_count compares as it says", () => {
    const e = push({}, {}, { memberCount: 5 });
    for (const [is, yes] of [
      ["5", true],
      ["==5", true],
      ["<6", true],
      [">4", true],
      [">=5", true],
      ["<=5", true],
      [">5", false],
      ["=5", false],
      ["", false],
      ["x", false],
      ["<>5", false],
    ] as const)
      assert.equal(check({ kind: "room_member_count", is }, e), yes, is);
  });

  it("contains_display_name takes the name as it is", () => {
    const named = (displayName: string | undefined, body: string): boolean =>
      check({ kind: "contains_display_name" }, push({ body }), ALL, { userId: "@a:b", displayName });
    assert.equal(named("foo bar", "hello FOO BAR!"), true);
    assert.equal(named("*", "hello"), false);
    assert.equal(named("", "hello"), false);
    assert.equal(named(undefined, "hello"), false);
  });

  it("sender_notification_permission goes by power, 50 where nothing is said", () => {
    const may = (content: JsonObject): boolean => check({ kind: "sender_notification_permission", key: "room" }, push({}, {}, { levels: levels(content) }));
    assert.equal(may({ users: { "@bob:example.org": 49 } }), false);
    assert.equal(may({ users: { "@bob:example.org": 50 } }), true);
    assert.equal(may({ notifications: { room: 0 } }), true);
  });

  it("related_event_match looks at the related event, fallbacks only when asked", () => {
    const related = { event: event({}, { sender: "@alice:example.org" }), isFallback: false };
    const e = push({}, {}, { related: new Map([["m.in_reply_to", related]]) });
    const condition = { kind: "im.nheko.msc3664.related_event_match", rel_type: "m.in_reply_to", key: "sender", pattern: "@alice:*" };
    assert.equal(check(condition, e), true);
    assert.equal(check(condition, e, NO_PUSH_FEATURES), false);
    assert.equal(check({ ...condition, pattern: "@bob:*" }, e), false);
    assert.equal(check({ kind: condition.kind, rel_type: "m.in_reply_to" }, e), true);
    const fallback = push({}, {}, { related: new Map([["m.in_reply_to", { ...related, isFallback: true }]]) });
    assert.equal(check(condition, fallback), false);
    assert.equal(check({ ...condition, include_fallbacks: true }, fallback), true);
  });

  it("that are unknown or malformed never match", () => {
    for (const condition of [
      null,
      5,
      [],
      {},
      { kind: "x" },
      { kind: "event_match" },
      { kind: "event_match", key: "type" },
      { kind: "event_property_is", key: "type" },
      { kind: "event_property_is", key: "type", value: {} },
      { kind: "room_member_count" },
      { kind: "sender_notification_permission" },
    ] as Json[])
      assert.equal(check(condition, push({})), false);
  });
});

describe("rules from clients", () => {
  it("get the conditions of their kind", () => {
    assert.deepEqual(ruleFromRequest("room", "!r:x", { actions: [] }), { conditions: [{ kind: "event_match", key: "room_id", pattern: "!r:x" }], actions: [] });
    assert.deepEqual(ruleFromRequest("content", "x", { pattern: "p", actions: ["notify"] }), {
      conditions: [{ kind: "event_match", key: "content.body", pattern: "p" }],
      actions: ["notify"],
    });
  });
  it("are refused when something is missing or unknown", () => {
    for (const [kind, body] of [
      ["override", { actions: [] }],
      ["override", { conditions: [{}], actions: [] }],
      ["content", { actions: [] }],
      ["content", { pattern: 5, actions: [] }],
      ["room", {}],
      ["room", { actions: ["explode"] }],
      ["room", { actions: [{}] }],
      ["postcontent", { actions: [], conditions: [] }],
    ] as const) {
      assert.ok(ruleFromRequest(kind, "x", body as unknown as JsonObject).problem, JSON.stringify(body));
    }
  });
});

describe("stored actions", () => {
  it("are empty for the usual lists, and come back", () => {
    for (const actions of [
      ["notify", { set_tweak: "highlight", value: false }],
      ["notify", { set_tweak: "sound", value: "default" }, { set_tweak: "highlight" }],
    ]) {
      assert.equal(storedActions(actions), "");
      assert.deepEqual(actionsOfRow(undefined, isHighlight(actions)), actions);
    }
    const other = ["notify", { set_tweak: "highlight" }];
    assert.equal(storedActions(other), '["notify",{"set_tweak":"highlight"}]');
    assert.deepEqual(actionsOfRow(other, true), other);
  });
});
