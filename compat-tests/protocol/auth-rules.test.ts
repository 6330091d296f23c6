import assert from "node:assert/strict";
import fc from "fast-check";
import type { JsonObject } from "../../src/lib/json.ts";
import { authTypesForEvent } from "../../src/protocol/event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../../src/protocol/event-auth/check.ts";
import { stateKeyOf } from "../../src/protocol/event/event.ts";
import { makeEventFromJson } from "../../src/protocol/event/format.ts";
import { roomVersion, SUPPORTED_ROOM_VERSIONS } from "../../src/protocol/room-versions.ts";
import { askSynapse, forOracle } from "./oracle.ts";

const CREATOR = "@creator:a";
const users = [CREATOR, "@alice:a", "@bob:b", "@carol:c"];
const user = fc.constantFrom(...users);
const mostly = (main: fc.Arbitrary<unknown>, ...others: fc.Arbitrary<unknown>[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary: main }, ...others.map((arbitrary) => ({ weight: 1, arbitrary })));
const level = mostly(fc.constantFrom(0, 25, 49, 50, 51, 99, 100), fc.constantFrom("50", " 100 ", "+25", -1));
const levels = (keys: fc.Arbitrary<string>): fc.Arbitrary<unknown> => fc.dictionary(keys, level, { maxKeys: 4 });
const powerLevels = fc.record(
  {
    users: levels(user),
    events: levels(fc.constantFrom("m.room.name", "m.room.power_levels", "m.room.message", "constructor")),
    notifications: levels(fc.constant("room")),
    ...Object.fromEntries(["users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"].map((name) => [name, level])),
  },
  { requiredKeys: [] },
);
const membership = fc.constantFrom("join", "invite", "leave", "ban", "knock");
const scenario = fc.record({
  version: fc.constantFrom(...SUPPORTED_ROOM_VERSIONS),
  create: fc.record(
    { creator: fc.constant(CREATOR), "m.federate": mostly(fc.constant(true), fc.constant(false)), additional_creators: fc.constantFrom([], ["@alice:a"]) },
    { requiredKeys: ["creator"] },
  ),
  joinRule: mostly(fc.constantFrom("public", "invite", "knock", "restricted", "knock_restricted"), fc.constant("private")),
  levels: fc.option(powerLevels, { freq: 8 }),
  members: fc.dictionary(user, fc.oneof(fc.constant("join"), membership), { minKeys: 1 }),
  event: fc.oneof(
    fc.record({
      type: fc.constant("m.room.member"),
      sender: user,
      state_key: user,
      content: fc.record({ membership: mostly(membership, fc.constant("x")), join_authorised_via_users_server: user }, { requiredKeys: ["membership"] }),
    }),
    fc.record({ type: fc.constant("m.room.power_levels"), sender: user, state_key: fc.constant(""), content: powerLevels }),
    fc.record({
      type: fc.constantFrom("m.room.name", "x", "m.room.aliases", "m.room.third_party_invite", "constructor"),
      sender: user,
      state_key: fc.constantFrom("", "a", "b", "@bob:b", "@alice:a", "@bob:b_x", "@alice:a_", "@x"),
      content: fc.constant({}),
    }),
    fc.record({
      type: fc.constantFrom("m.room.message", "m.room.redaction"),
      sender: user,
      content: fc.constantFrom({}, { redacts: "$x:b" }),
      redacts: fc.constantFrom("$x:b", "$x:a"),
    }),
  ),
  isFirst: mostly(fc.constant(false), fc.constant(true)),
  isSmallChange: fc.boolean(),
});

describe("the authorisation rules", function () {
  this.timeout(600_000);

  it("let through and refuse the same events as Synapse's", () => {
    const cases = fc.sample(scenario, { numRuns: 10_000, seed: 1 }).map((given) => {
      const version = roomVersion(given.version)!;
      let count = 0;
      let roomId: string | undefined = version.roomIdIsCreateHash ? undefined : "!r:a";
      const make = (fields: object): ReturnType<typeof makeEventFromJson> => {
        const json = {
          depth: 1,
          origin_server_ts: 1,
          auth_events: [],
          prev_events: [],
          hashes: {},
          signatures: {},
          unsigned: {},
          ...(roomId !== undefined && { room_id: roomId }),
          ...(version.eventFormat === 1 && { event_id: `$${count++}:b` }),
          ...fields,
        } as JsonObject;
        return makeEventFromJson(json, version);
      };
      const create = make({ type: "m.room.create", state_key: "", sender: CREATOR, content: given.create });
      roomId = create.roomId;
      const state = [create, make({ type: "m.room.join_rules", state_key: "", sender: CREATOR, content: { join_rule: given.joinRule } })];
      if (given.levels !== null) state.push(make({ type: "m.room.power_levels", state_key: "", sender: CREATOR, content: given.levels }));
      for (const [userId, value] of Object.entries(given.members))
        state.push(make({ type: "m.room.member", state_key: userId, sender: userId, content: { membership: value } }));
      // Half of the new power levels differ from the old ones in one property.
      const content =
        given.event.type === "m.room.power_levels" && given.isSmallChange && given.levels !== null
          ? { ...given.levels, ...Object.fromEntries(Object.entries(given.event.content).slice(0, 1)) }
          : given.event.content;
      const prev = version.eventFormat === 1 ? [create.eventId, {}] : create.eventId;
      return { version, state, event: make({ ...given.event, content, prev_events: given.isFirst ? [prev] : [] }) };
    });
    const answers = askSynapse<{ allowed: boolean; types: string[] }>(
      "authorise",
      cases.map(({ version, state, event }) => ({
        version: version.id,
        events: [...state, event].map(forOracle),
        state: state.map((each) => each.eventId),
        event: event.eventId,
      })),
    );
    let allowed = 0;
    for (const [index, { version, state, event }] of cases.entries()) {
      const byKey = new Map(state.map((each) => [stateKeyOf(each.type, each.stateKey!), each]));
      const result = checkStateDependentAuth(event, byKey);
      const what = () => JSON.stringify({ version: version.id, event: event.json, state: state.map((each) => each.json), result });
      assert.equal(result.allowed, answers[index]!.allowed, what());
      assert.deepEqual(authTypesForEvent(version, event).sort(), answers[index]!.types, what());
      if (result.allowed) allowed++;
    }
    assert.ok(allowed > 500 && allowed < cases.length - 500);
  });
});
