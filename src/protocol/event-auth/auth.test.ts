// More than 500 lines: the authorisation rules in the specification's order, with one vocabulary of events.
import assert from "node:assert/strict";
import type { Json, JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { realEvents } from "../../testing/real-events.ts";
import { stateKeyOf, type MatrixEvent, type StateKey } from "../event/event.ts";
import { makeEventFromJson } from "../event/format.ts";
import { signingKeyFromSeed, signJson } from "../event/sign.ts";
import { creatorsOf, memberKey, PowerLevels } from "../power-levels.ts";
import { KNOWN_ROOM_VERSIONS, roomVersion, type RoomVersion } from "../room-versions.ts";
import { checkAuthEvents, checkPrevStateEvents } from "./auth-events.ts";
import { authTypesForEvent, requiredSigners } from "./auth-types.ts";
import { checkStateDependentAuth } from "./check.ts";
import { redactionApplies, redactionRight } from "./redaction.ts";
import type { AuthResult } from "./result.ts";

const CREATOR = "@creator:hs";
const ALICE = "@alice:hs";
const BOB = "@bob:other";

interface RoomOptions {
  readonly create?: JsonObject;
  readonly joinRule?: string | undefined;
  readonly levels?: JsonObject | undefined;
  readonly members?: Readonly<Record<string, string>>;
}

/** A room in which events are judged. CREATOR and ALICE are joined; BOB is not, unless `members` says so. */
class Room {
  readonly create: MatrixEvent;
  readonly state = new Map<StateKey, MatrixEvent>();
  private count = 0;

  constructor(
    readonly version: RoomVersion,
    options: RoomOptions = {},
  ) {
    const defaultLevels = { users: version.creatorsHavePower ? { [ALICE]: 50 } : { [CREATOR]: 100, [ALICE]: 50 } };
    this.create = this.make({
      type: "m.room.create",
      state_key: "",
      sender: CREATOR,
      content: { creator: CREATOR, room_version: version.id, ...options.create },
    });
    this.put(this.create);
    const levels = "levels" in options ? options.levels : defaultLevels;
    if (levels !== undefined) this.put(this.make({ type: "m.room.power_levels", state_key: "", content: levels }));
    const joinRule = "joinRule" in options ? options.joinRule : "invite";
    if (joinRule !== undefined) this.put(this.make({ type: "m.room.join_rules", state_key: "", content: { join_rule: joinRule } }));
    for (const [userId, membership] of Object.entries({ [CREATOR]: "join", [ALICE]: "join", ...options.members }))
      this.put(this.make({ type: "m.room.member", state_key: userId, sender: userId, content: { membership } }));
  }

  make(fields: JsonObject): MatrixEvent {
    const { version } = this;
    const isCreate = fields.type === "m.room.create";
    const roomId = version.roomIdIsCreateHash ? (isCreate ? undefined : this.create.roomId) : "!room:hs";
    return makeEventFromJson(
      {
        sender: CREATOR,
        content: {},
        depth: 1,
        origin_server_ts: this.count,
        auth_events: [],
        prev_events: [],
        hashes: {},
        signatures: {},
        ...(roomId !== undefined && { room_id: roomId }),
        ...(version.eventFormat === 1 && { event_id: `$${this.count++}:hs` }),
        ...fields,
      },
      version,
    );
  }

  put(event: MatrixEvent): MatrixEvent {
    this.state.set(stateKeyOf(event.type, event.stateKey!), event);
    return event;
  }

  judge(fields: JsonObject): AuthResult {
    return checkStateDependentAuth(this.make(fields), this.state);
  }
}

const verdict = (result: AuthResult): string => (result.allowed ? "allowed" : result.rule);
const member = (sender: string, state_key: string, membership: string, more: JsonObject = {}): JsonObject => ({
  type: "m.room.member",
  sender,
  state_key,
  content: { membership, ...more },
});
const latest = (versions: readonly string[] = KNOWN_ROOM_VERSIONS.map((version) => version.id)): RoomVersion[] => versions.map((id) => roomVersion(id)!);
const stable = latest(["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]);
const from = (first: number, last = 12): RoomVersion[] => stable.slice(first - 1, last);

/** Each line: in these versions, in such a room, this event comes to that: "allowed", or the rule (by the numbers of version 12). */
const cases: [versions: RoomVersion[], room: RoomOptions, event: JsonObject, expected: string][] = [
  // 4: federation
  [stable, { create: { "m.federate": false }, members: { [BOB]: "join" } }, { type: "x", sender: BOB }, "4"],
  [stable, { create: { "m.federate": false } }, { type: "x", sender: ALICE }, "allowed"],
  [stable, { create: { "m.federate": false } }, member(ALICE, BOB, "invite"), "4"],
  [stable, { create: { "m.federate": true }, members: { [BOB]: "join" } }, { type: "x", sender: BOB }, "allowed"],
  // Aliases have rules of their own until v5
  [from(1, 5), {}, { type: "m.room.aliases", sender: BOB, state_key: "other" }, "allowed"],
  [from(1, 5), {}, { type: "m.room.aliases", sender: BOB, state_key: "hs" }, "v1 4.2"],
  [from(1, 5), {}, { type: "m.room.aliases", sender: BOB }, "v1 4.1"],
  [from(6), {}, { type: "m.room.aliases", sender: BOB, state_key: "other" }, "6"],
  // 5.1
  [stable, {}, { type: "m.room.member", sender: ALICE, content: { membership: "join" } }, "5.1"],
  [stable, {}, { type: "m.room.member", sender: ALICE, state_key: ALICE, content: {} }, "5.1"],
  [stable, {}, { type: "m.room.member", sender: ALICE, state_key: ALICE, content: { membership: 5 } }, "5.1"],
  // 5.3: joins
  [stable, { joinRule: "public" }, member(ALICE, BOB, "join"), "5.3.2"],
  [stable, { joinRule: "public", members: { [BOB]: "ban" } }, member(BOB, BOB, "join"), "5.3.3"],
  [stable, { joinRule: "public" }, member(BOB, BOB, "join"), "allowed"],
  [stable, { joinRule: "invite" }, member(BOB, BOB, "join"), "5.3.4"],
  [stable, { joinRule: undefined }, member(BOB, BOB, "join"), "5.3.4"],
  [stable, { joinRule: "invite", members: { [BOB]: "invite" } }, member(BOB, BOB, "join"), "allowed"],
  [stable, { joinRule: "invite" }, member(ALICE, ALICE, "join"), "allowed"],
  [from(7), { joinRule: "knock", members: { [BOB]: "invite" } }, member(BOB, BOB, "join"), "allowed"],
  [from(7), { joinRule: "knock", members: { [BOB]: "knock" } }, member(BOB, BOB, "join"), "5.3.4"],
  [from(1, 6), { joinRule: "knock", members: { [BOB]: "invite" } }, member(BOB, BOB, "join"), "5.3.7"],
  [stable, { joinRule: "private", members: { [BOB]: "invite" } }, member(BOB, BOB, "join"), "5.3.7"],
  // 5.3.5: restricted joins
  [from(8), { joinRule: "restricted", members: { [BOB]: "invite" } }, member(BOB, BOB, "join"), "allowed"],
  [from(8), { joinRule: "restricted" }, member(BOB, BOB, "join"), "5.3.5.2"],
  [from(8), { joinRule: "restricted" }, member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE }), "allowed"],
  [
    from(8),
    { joinRule: "restricted", levels: { invite: 51, users: { [ALICE]: 50 } } },
    member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE }),
    "5.3.5.2",
  ],
  [from(8), { joinRule: "restricted" }, member(BOB, BOB, "join", { join_authorised_via_users_server: "@gone:hs" }), "5.3.5.2"],
  [from(8), { joinRule: "restricted" }, member(BOB, BOB, "join", { join_authorised_via_users_server: 5 }), "5.3.5.2"],
  [from(1, 7), { joinRule: "restricted", members: { [BOB]: "invite" } }, member(BOB, BOB, "join"), "5.3.7"],
  [from(10), { joinRule: "knock_restricted" }, member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE }), "allowed"],
  [from(8, 9), { joinRule: "knock_restricted" }, member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE }), "5.3.7"],
  // 5.4: invites
  [stable, {}, member(BOB, "@x:hs", "invite"), "5.4.2"],
  [stable, { members: { [BOB]: "ban" } }, member(ALICE, BOB, "invite"), "5.4.3"],
  [stable, { members: { [BOB]: "join" } }, member(ALICE, BOB, "invite"), "5.4.3"],
  [stable, {}, member(ALICE, BOB, "invite"), "allowed"],
  [stable, { levels: { invite: 51, users: { [ALICE]: 50 } } }, member(ALICE, BOB, "invite"), "5.4.5"],
  [stable, {}, member(ALICE, BOB, "invite", { third_party_invite: {} }), "5.4.1.2"],
  // 5.5: leaving, kicking, unbanning
  [stable, {}, member(ALICE, ALICE, "leave"), "allowed"],
  [stable, { members: { [BOB]: "invite" } }, member(BOB, BOB, "leave"), "allowed"],
  [stable, { members: { [BOB]: "ban" } }, member(BOB, BOB, "leave"), "5.5.2"],
  [stable, {}, member(BOB, BOB, "leave"), "5.5.2"],
  [from(7), { members: { [BOB]: "knock" } }, member(BOB, BOB, "leave"), "allowed"],
  [from(1, 6), { members: { [BOB]: "knock" } }, member(BOB, BOB, "leave"), "5.5.2"],
  [stable, { members: { [BOB]: "join" } }, member(ALICE, BOB, "leave"), "allowed"],
  [stable, { members: { [BOB]: "join" } }, member(BOB, ALICE, "leave"), "5.5.5"],
  [stable, { levels: { users: { [ALICE]: 50, [BOB]: 50 } }, members: { [BOB]: "join" } }, member(ALICE, BOB, "leave"), "5.5.5"],
  [stable, { levels: { ban: 51, users: { [ALICE]: 50 } }, members: { [BOB]: "ban" } }, member(ALICE, BOB, "leave"), "5.5.3"],
  [stable, { members: { [BOB]: "ban" } }, member(ALICE, BOB, "leave"), "allowed"],
  // 5.6: bans
  [stable, {}, member(BOB, ALICE, "ban"), "5.6.1"],
  [stable, {}, member(ALICE, BOB, "ban"), "allowed"],
  [stable, {}, member(ALICE, CREATOR, "ban"), "5.6.3"],
  [stable, { members: { [BOB]: "join" } }, member(BOB, "@x:hs", "ban"), "5.6.3"],
  // 5.7: knocks
  [from(7), { joinRule: "knock" }, member(BOB, BOB, "knock"), "allowed"],
  [from(7), { joinRule: "invite" }, member(BOB, BOB, "knock"), "5.7.1"],
  [from(7), { joinRule: "knock" }, member(ALICE, BOB, "knock"), "5.7.2"],
  [from(7), { joinRule: "knock", members: { [BOB]: "ban" } }, member(BOB, BOB, "knock"), "5.7.4"],
  [from(7), { joinRule: "knock", members: { [BOB]: "invite" } }, member(BOB, BOB, "knock"), "5.7.4"],
  [from(7), { joinRule: "knock", members: { [BOB]: "join" } }, member(BOB, BOB, "knock"), "5.7.4"],
  [from(7), { joinRule: "knock", members: { [BOB]: "knock" } }, member(BOB, BOB, "knock"), "allowed"],
  [from(10), { joinRule: "knock_restricted" }, member(BOB, BOB, "knock"), "allowed"],
  [from(7, 9), { joinRule: "knock_restricted" }, member(BOB, BOB, "knock"), "5.7.1"],
  [from(1, 6), { joinRule: "knock" }, member(BOB, BOB, "knock"), "5.8"],
  // 5.8
  [stable, {}, member(ALICE, ALICE, "sit"), "5.8"],
  // 6
  [stable, {}, { type: "m.room.message", sender: BOB }, "6"],
  [stable, { members: { [BOB]: "invite" } }, { type: "m.room.message", sender: BOB }, "6"],
  // 7
  [stable, { levels: { invite: 51, state_default: 0, users: { [ALICE]: 50 } } }, { type: "m.room.third_party_invite", state_key: "t", sender: ALICE }, "7.1"],
  [
    stable,
    { levels: { invite: 50, state_default: 99, users: { [ALICE]: 50 } } },
    { type: "m.room.third_party_invite", state_key: "t", sender: ALICE },
    "allowed",
  ],
  // 8
  [stable, { members: { [BOB]: "join" } }, { type: "m.room.message", sender: BOB }, "allowed"],
  [stable, { members: { [BOB]: "join" } }, { type: "m.room.topic", state_key: "", sender: BOB }, "8"],
  [stable, { levels: { events: { x: 60 }, users: { [ALICE]: 50 } } }, { type: "x", sender: ALICE }, "8"],
  [stable, { levels: { events_default: 60, users: { [ALICE]: 50 } } }, { type: "constructor", sender: ALICE }, "8"],
  [stable, { levels: undefined }, { type: "m.room.topic", state_key: "", sender: ALICE }, "8"],
  [stable, { levels: undefined }, { type: "m.room.topic", state_key: "", sender: CREATOR }, "allowed"],
  [stable, { levels: undefined }, { type: "m.room.message", sender: ALICE }, "allowed"],
  [from(12), { levels: { state_default: 1000 } }, { type: "m.room.topic", state_key: "", sender: CREATOR }, "allowed"],
  [from(12), { levels: { state_default: 1000 }, create: { additional_creators: [ALICE] } }, { type: "m.room.topic", state_key: "", sender: ALICE }, "allowed"],
  [from(11, 11), { levels: { state_default: 1000, users: { [CREATOR]: 100 } } }, { type: "m.room.topic", state_key: "", sender: CREATOR }, "8"],
  // Levels as strings and floats, as old rooms have them
  [from(1, 9), { levels: { state_default: " +0050 ", users: { [ALICE]: "50" } } }, { type: "m.room.topic", state_key: "", sender: ALICE }, "allowed"],
  [
    from(1, 9),
    { levels: { state_default: (parseJson("[50.9]") as Json[])[0]!, users: { [ALICE]: 50 } } },
    { type: "m.room.topic", state_key: "", sender: ALICE },
    "allowed",
  ],
  // 9
  [stable, {}, { type: "x", state_key: BOB, sender: ALICE }, "9"],
  [stable, {}, { type: "x", state_key: ALICE, sender: ALICE }, "allowed"],
  [stable, {}, { type: "x", state_key: `${ALICE}_suffix`, sender: ALICE }, "9"],
  [latest(["org.matrix.msc3757.10", "org.matrix.msc3757.11"]), {}, { type: "x", state_key: `${ALICE}_suffix`, sender: ALICE }, "allowed"],
  [latest(["org.matrix.msc3757.10", "org.matrix.msc3757.11"]), {}, { type: "x", state_key: `${BOB}_suffix`, sender: ALICE }, "allowed"],
  [latest(["org.matrix.msc3757.10", "org.matrix.msc3757.11"]), {}, { type: "x", state_key: `${CREATOR}_suffix`, sender: ALICE }, "9"],
  [latest(["org.matrix.msc3757.10", "org.matrix.msc3757.11"]), {}, { type: "x", state_key: "@nobody", sender: ALICE }, "9"],
  // 10: power levels
  [from(10), {}, { type: "m.room.power_levels", state_key: "", content: { ban: "50" } }, "10.1"],
  [from(10), {}, { type: "m.room.power_levels", state_key: "", content: { kick: null } }, "10.1"],
  [from(1, 9), {}, { type: "m.room.power_levels", state_key: "", content: { users: { [CREATOR]: "100", [ALICE]: 50 }, ban: "50" } }, "allowed"],
  [from(10), {}, { type: "m.room.power_levels", state_key: "", content: { events: [] } }, "10.2"],
  [from(10), {}, { type: "m.room.power_levels", state_key: "", content: { notifications: { room: "50" } } }, "10.2"],
  [stable, {}, { type: "m.room.power_levels", state_key: "", content: { users: { nobody: 0 } } }, "10.3"],
  [stable, {}, { type: "m.room.power_levels", state_key: "", content: { users: { [ALICE]: {} } } }, "10.3"],
  [stable, {}, { type: "m.room.power_levels", state_key: "", content: { users: [] } }, "10.3"],
  [from(10), {}, { type: "m.room.power_levels", state_key: "", content: { users: { [ALICE]: "50" } } }, "10.3"],
  [from(12), {}, { type: "m.room.power_levels", state_key: "", content: { users: { [CREATOR]: 100 } } }, "10.4"],
  [from(12), { create: { additional_creators: [ALICE] } }, { type: "m.room.power_levels", state_key: "", content: { users: { [ALICE]: 1 } } }, "10.4"],
  [stable, { levels: undefined }, { type: "m.room.power_levels", state_key: "", content: { users: { [ALICE]: 1000 } } }, "allowed"],
  [
    stable,
    { levels: { users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 }, ban: 51 } },
    "10.6",
  ],
  [
    stable,
    { levels: { ban: 51, users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 }, ban: 50 } },
    "10.6",
  ],
  [
    stable,
    { levels: { ban: 51, users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 } } },
    "10.6",
  ],
  [
    stable,
    { levels: { ban: 51, users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 }, ban: 51, kick: 50 } },
    "allowed",
  ],
  [
    stable,
    { levels: { events: { x: 51 }, users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 } } },
    "10.7",
  ],
  [
    stable,
    { levels: { users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { events: { x: 51 }, users: { [ALICE]: 50 } } },
    "10.7",
  ],
  [
    from(6),
    { levels: { users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { notifications: { room: 51 }, users: { [ALICE]: 50 } } },
    "10.7",
  ],
  [
    from(1, 5),
    { levels: { users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { notifications: { room: 51 }, users: { [ALICE]: 50 } } },
    "allowed",
  ],
  [
    stable,
    { levels: { users: { [ALICE]: 50, [BOB]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 } } },
    "10.9",
  ],
  [
    stable,
    { levels: { users: { [ALICE]: 50, [BOB]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 0, [BOB]: 50 } } },
    "allowed",
  ],
  [
    stable,
    { levels: { users: { [ALICE]: 50 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50, [BOB]: 51 } } },
    "10.10",
  ],
  [
    stable,
    { levels: { users: { [ALICE]: 50, [BOB]: 60 } } },
    { type: "m.room.power_levels", sender: ALICE, state_key: "", content: { users: { [ALICE]: 50 } } },
    "10.10",
  ],
  // 11: redactions
  [from(1, 2), { members: { [BOB]: "join" } }, { type: "m.room.redaction", sender: BOB, redacts: "$x:elsewhere" }, "v1 11.3"],
  [from(1, 2), { members: { [BOB]: "join" } }, { type: "m.room.redaction", sender: BOB, redacts: "$x:hs" }, "allowed"],
  [from(1, 2), {}, { type: "m.room.redaction", sender: ALICE, redacts: "$x:elsewhere" }, "allowed"],
  [from(3), { members: { [BOB]: "join" } }, { type: "m.room.redaction", sender: BOB, redacts: "$x", content: { redacts: "$x" } }, "allowed"],
];

describe("authorisation by state (CVE-2022-31152)", () => {
  for (const [versions, options, event, expected] of cases) {
    const room = Object.keys(options).length === 0 ? "" : ` in ${JSON.stringify(options)}`;
    it(`${expected}: ${JSON.stringify(event)}${room} [${versions[0]!.id}..${versions.at(-1)!.id}]`, () => {
      for (const version of versions) assert.equal(verdict(new Room(version, options).judge(event)), expected, `room version ${version.id}`);
    });
  }

  it("lets the creator join after the create event alone (rule 5.3.1)", () => {
    for (const version of stable) {
      const room = new Room(version, { joinRule: undefined, levels: undefined });
      room.state.delete(memberKey(CREATOR));
      const prev = [room.version.eventFormat === 1 ? [room.create.eventId, {}] : room.create.eventId] as Json[];
      assert.equal(verdict(room.judge({ ...member(CREATOR, CREATOR, "join"), prev_events: prev })), "allowed", version.id);
      assert.equal(verdict(room.judge({ ...member(CREATOR, CREATOR, "join"), prev_events: [...prev, ...prev] })), "5.3.4", version.id);
      assert.equal(verdict(room.judge({ ...member(ALICE, BOB, "join"), prev_events: prev })), "5.3.2", version.id);
    }
  });

  it("knows the creator by content.creator until version 10, by the sender after", () => {
    for (const [id, expected] of [
      ["10", 100],
      ["11", 0],
    ] as const) {
      const room = new Room(roomVersion(id)!, { levels: undefined, create: { creator: ALICE } });
      assert.equal(PowerLevels.of(room.state).user(ALICE), expected);
    }
  });

  it("lets nobody but the creator kick and ban in a room without power levels (CVE-2018-12423)", () => {
    for (const version of stable) {
      const room = new Room(version, { levels: undefined, members: { [BOB]: "join" } });
      for (const act of [member(BOB, ALICE, "ban"), member(BOB, ALICE, "leave"), member(BOB, CREATOR, "leave")])
        assert.notEqual(verdict(room.judge(act)), "allowed", version.id);
      for (const act of [member(CREATOR, BOB, "ban"), member(CREATOR, BOB, "leave")]) assert.equal(verdict(room.judge(act)), "allowed", version.id);
    }
  });

  it("refuses everything without a create event", () => {
    const room = new Room(roomVersion("11")!);
    const event = room.make({ type: "x", sender: ALICE });
    assert.equal(checkStateDependentAuth(event, new Map()).allowed, false);
  });

  it("accepts the events of real rooms by the events that they name", () => {
    const { events } = realEvents();
    const byId = new Map(events.map((event) => [event.eventId, event]));
    let judged = 0;
    for (const event of events) {
      const auth = event.authEventIds.map((id) => byId.get(id));
      if (auth.includes(undefined)) continue;
      const state = new Map(auth.map((each) => [stateKeyOf(each!.type, each!.stateKey!), each!]));
      assert.deepEqual(checkAuthEvents(event, byId), { allowed: true }, event.eventId);
      assert.deepEqual(checkStateDependentAuth(event, state), { allowed: true }, event.eventId);
      judged++;
    }
    assert.ok(judged > 110);
  });
});

describe("third-party invites", () => {
  const key = signingKeyFromSeed("0", Buffer.alloc(32, 9));
  const signed = signJson({ mxid: BOB, token: "tok", sender: ALICE }, "id.example", key);
  const invite = (change: JsonObject = {}, sender = ALICE): JsonObject =>
    member(sender, BOB, "invite", { third_party_invite: { display_name: "b", signed: { ...signed, ...change } } });
  const judge = (event: JsonObject, content: JsonObject = { public_keys: [{ public_key: key.base64 }] }, members: Record<string, string> = {}): string => {
    const room = new Room(roomVersion("11")!, { members });
    room.put(room.make({ type: "m.room.third_party_invite", state_key: "tok", sender: ALICE, content }));
    return verdict(room.judge(event));
  };

  it("are allowed by a signature of a key that the invite names, in either place", () => {
    assert.equal(judge(invite()), "allowed");
    assert.equal(judge(invite(), { public_key: key.base64 }), "allowed");
    assert.equal(judge(invite(), { public_key: "AAAA", public_keys: [null, {}, { public_key: 5 }, { public_key: key.base64 + "=" }] as Json[] }), "allowed");
  });
  it("are refused for each thing that is amiss", () => {
    assert.equal(judge(invite(), undefined, { [BOB]: "ban" }), "5.4.1.1");
    assert.equal(judge(member(ALICE, BOB, "invite", { third_party_invite: { signed: 5 } })), "5.4.1.2");
    assert.equal(judge(member(ALICE, BOB, "invite", { third_party_invite: null })), "5.4.1.2");
    assert.equal(judge(invite({ token: 5 })), "5.4.1.3");
    assert.equal(judge(invite({ mxid: null })), "5.4.1.3");
    assert.equal(judge(invite({ signatures: [] })), "5.4.1.3");
    assert.equal(judge(invite({ mxid: "@x:other" })), "5.4.1.4");
    assert.equal(judge(invite({ token: "other" })), "5.4.1.5");
    assert.equal(judge(invite({}, CREATOR)), "5.4.1.6");
    assert.equal(judge(invite({ sender: "@y:hs" })), "5.4.1.8");
    assert.equal(judge(invite(), { public_keys: [] }), "5.4.1.8");
    assert.equal(judge(invite({ signatures: { x: { "rsa:1": "AAAA" }, y: 5 } })), "5.4.1.8");
  });
  it("do not cost minutes, whatever they hold", () => {
    const keys = Array.from({ length: 600 }, (_, i) => ({ public_key: signingKeyFromSeed("x", Buffer.alloc(32, i % 250)).base64 }));
    const signatures = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`ed25519:${i}`, "A".repeat(86)]));
    const started = performance.now();
    assert.equal(judge(invite({ signatures: { x: signatures } }), { public_keys: keys }), "5.4.1.8");
    assert.ok(performance.now() - started < 1000);
  });
});

describe("auth events", () => {
  const version = roomVersion("10")!;
  const room = new Room(version);
  const all = new Map([...room.state.values()].map((event) => [event.eventId, event]));
  const ids = (...keys: StateKey[]): string[] => keys.map((key) => room.state.get(key)!.eventId);
  const CREATE = stateKeyOf("m.room.create", "");
  const LEVELS = stateKeyOf("m.room.power_levels", "");
  const check = (auth_events: string[], more = all): string => verdict(checkAuthEvents(room.make({ type: "x", sender: ALICE, auth_events }), more));

  it("that are those of the selection are accepted", () => assert.equal(check(ids(CREATE, LEVELS, memberKey(ALICE))), "allowed"));
  it("that are named twice are refused (3.1)", () => {
    const other = room.make({ type: "m.room.power_levels", state_key: "", content: { ban: 1 } });
    assert.equal(check([...ids(CREATE, LEVELS), other.eventId], new Map([...all, [other.eventId, other]])), "3.1");
    assert.equal(check(ids(CREATE, CREATE)), "3.1");
  });
  it("that the event has no use for are refused (3.2)", () => {
    assert.equal(check(ids(CREATE, memberKey(CREATOR))), "3.2");
    const text = room.make({ type: "m.room.message" });
    assert.equal(check([...ids(CREATE), text.eventId], new Map([...all, [text.eventId, text]])), "3.2");
  });
  it("that were rejected are refused (3.3)", () => {
    const bad = room.make({ type: "m.room.power_levels", state_key: "", content: { kick: 1 } });
    bad.rejectedReason = "auth_error";
    assert.equal(check([...ids(CREATE), bad.eventId], new Map([...all, [bad.eventId, bad]])), "3.3");
  });
  it("without the create event are refused", () => assert.equal(check(ids(LEVELS)), "2"));
  it("of another room are refused (3.5)", () => {
    const foreign = room.make({ type: "m.room.power_levels", state_key: "", room_id: "!other:hs" });
    assert.equal(check([...ids(CREATE), foreign.eventId], new Map([...all, [foreign.eventId, foreign]])), "3.5");
  });
  it("that nobody has are refused", () => assert.equal(check([...ids(CREATE), "$unknown"]), "3"));

  it("of version 12 imply the create event, which must be accepted (rule 2)", () => {
    const v12 = new Room(roomVersion("12")!);
    const events = new Map([...v12.state.values()].map((event) => [event.eventId, event]));
    const event = v12.make({ type: "x", sender: ALICE, auth_events: [v12.state.get(memberKey(ALICE))!.eventId] });
    assert.equal(verdict(checkAuthEvents(event, events)), "allowed");
    v12.create.rejectedReason = "auth_error";
    assert.equal(verdict(checkAuthEvents(event, events)), "2");
    events.delete(v12.create.eventId);
    assert.equal(verdict(checkAuthEvents(event, events)), "3");
  });

  it("are selected by type and membership", () => {
    const select = (fields: JsonObject, id = "11"): string[] => {
      const keys = authTypesForEvent(roomVersion(id)!, new Room(roomVersion(id)!).make(fields));
      return keys.map((key) => key.replace("\0", "|").replace("m.room.", "")).sort();
    };
    assert.deepEqual(select({ type: "m.room.create", state_key: "" }), []);
    assert.deepEqual(select({ type: "x", sender: ALICE }), ["create|", `member|${ALICE}`, "power_levels|"]);
    assert.deepEqual(select(member(ALICE, BOB, "invite")), ["create|", "join_rules|", `member|${ALICE}`, `member|${BOB}`, "power_levels|"]);
    assert.deepEqual(select(member(ALICE, BOB, "ban")), ["create|", `member|${ALICE}`, `member|${BOB}`, "power_levels|"]);
    assert.ok(select(member(ALICE, BOB, "invite", { third_party_invite: { signed: { token: "t" } } })).includes("third_party_invite|t"));
    assert.ok(select(member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE })).includes(`member|${ALICE}`));
    assert.ok(!select(member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE }), "7").includes(`member|${ALICE}`));
    assert.deepEqual(select(member(BOB, BOB, "join", { join_authorised_via_users_server: {} })).length, 4);
  });
});

describe("create events", () => {
  const check = (id: string, over: JsonObject): string => {
    const version = roomVersion(id)!;
    const json: JsonObject = {
      type: "m.room.create",
      state_key: "",
      sender: CREATOR,
      content: { creator: CREATOR },
      depth: 1,
      origin_server_ts: 1,
      auth_events: [],
      prev_events: [],
      hashes: {},
      ...(!version.roomIdIsCreateHash && { room_id: "!r:hs" }),
      ...(version.eventFormat === 1 && { event_id: "$1:hs" }),
      ...over,
    };
    return verdict(checkAuthEvents(makeEventFromJson(json, version), new Map()));
  };
  for (const { id, roomIdIsCreateHash, implicitCreator, creatorsHavePower, eventFormat } of stable) {
    it(`are judged by rule 1 in room version ${id}`, () => {
      assert.equal(check(id, {}), "allowed");
      assert.equal(check(id, { prev_events: eventFormat === 1 ? [["$x:hs", {}]] : ["$x"] }), "1.1");
      assert.equal(check(id, { room_id: roomIdIsCreateHash ? "!r:hs" : "!r:other" }), "1.2");
      if (!roomIdIsCreateHash) assert.equal(check(id, { room_id: "!r" }), "1.2");
      assert.equal(check(id, { content: { creator: CREATOR, room_version: "99" } }), "1.3");
      assert.equal(check(id, { content: { creator: CREATOR, room_version: 5 } }), "1.3");
      assert.equal(check(id, { content: {} }), implicitCreator ? "allowed" : "v1 1.4");
      for (const creators of ["x", [5], ["nobody"], [`@${"a".repeat(255)}:hs`]])
        assert.equal(check(id, { content: { creator: CREATOR, additional_creators: creators } }), creatorsHavePower ? "1.4" : "allowed");
      assert.equal(check(id, { content: { creator: CREATOR, additional_creators: [ALICE] } }), "allowed");
    });
  }
});

describe("prev_state_events (MSC4242)", () => {
  it("must be accepted state events of the room", () => {
    const room = new Room(roomVersion("org.matrix.msc4242.12")!);
    const good = room.state.get(memberKey(ALICE))!;
    const text = room.make({ type: "x" });
    const bad = room.make({ type: "x", state_key: "bad" });
    bad.rejectedReason = "auth_error";
    const events = new Map([good, text, bad].map((event) => [event.eventId, event]));
    const check = (...prev_state_events: string[]): string => verdict(checkPrevStateEvents(room.make({ type: "x", prev_state_events }), events));
    assert.equal(check(good.eventId), "allowed");
    assert.equal(check(text.eventId), "MSC4242 2.2");
    assert.equal(check(bad.eventId), "MSC4242 2.3");
    assert.equal(check("$unknown"), "MSC4242 2");
  });
});

describe("required signatures", () => {
  const signers = (id: string, fields: JsonObject): string[] => requiredSigners(new Room(roomVersion(id)!).make(fields));
  it("are the sender's, the event id's in old versions, the authorising server's for restricted joins", () => {
    assert.deepEqual(signers("11", { type: "x", sender: BOB }), ["other"]);
    assert.deepEqual(signers("1", { type: "x", sender: BOB }), ["other", "hs"]);
    assert.deepEqual(signers("8", member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE })), ["other", "hs"]);
    assert.deepEqual(signers("7", member(BOB, BOB, "join", { join_authorised_via_users_server: ALICE })), ["other"]);
    assert.deepEqual(signers("11", member(ALICE, BOB, "invite", { third_party_invite: {} })), []);
  });
});

describe("redactions", () => {
  const levels = (room: Room): PowerLevels => PowerLevels.of(room.state);
  it("are for those with power, or for one's own server", () => {
    const room = new Room(roomVersion("11")!);
    assert.equal(redactionRight(room.make({ type: "m.room.redaction", sender: ALICE }), levels(room)), "any");
    assert.equal(redactionRight(room.make({ type: "m.room.redaction", sender: BOB }), levels(room)), "own");
  });
  it("take effect on events of the same room, and of the same server where that was left to check", () => {
    const room = new Room(roomVersion("11")!);
    const target = room.make({ type: "m.room.message", sender: BOB });
    const redact = (sender: string, recheck: boolean, redacts = target.eventId, over: JsonObject = {}): boolean => {
      const redaction = makeEventFromJson(room.make({ type: "m.room.redaction", sender, content: { redacts }, ...over }).json, room.version, {
        recheck_redaction: recheck,
      });
      return redactionApplies(redaction, redacts === room.create.eventId ? room.create : target);
    };
    assert.equal(redact(ALICE, false), true);
    assert.equal(redact(ALICE, true), false);
    assert.equal(redact("@else:other", true), true);
    assert.equal(redact(ALICE, false, "$other"), false);
    assert.equal(redact(ALICE, false, target.eventId, { room_id: "!x:hs" }), false);
  });
  it("take no effect on the create event, which says what version the room has (Synapse 1.2.0, #5701)", () => {
    for (const { id } of KNOWN_ROOM_VERSIONS) {
      const room = new Room(roomVersion(id)!);
      const redacts = room.create.eventId;
      const { json } = room.make({ type: "m.room.redaction", sender: ALICE, content: { redacts }, redacts });
      assert.equal(redactionApplies(makeEventFromJson(json, room.version, {}), room.create), false, id);
    }
  });
});

describe("power levels", () => {
  it("list those with a level of their own", () => {
    const room = new Room(roomVersion("12")!, { create: { additional_creators: [BOB, CREATOR, 5] as Json[] } });
    assert.deepEqual(creatorsOf(room.create), [CREATOR, BOB]);
    assert.deepEqual(
      [...PowerLevels.of(room.state).users()],
      [
        [CREATOR, Infinity],
        [BOB, Infinity],
        [ALICE, 50],
      ],
    );
    assert.deepEqual([...PowerLevels.of(new Room(roomVersion("11")!, { levels: undefined }).state).users()], [[CREATOR, 100]]);
  });
  it("fall back to their defaults for what is malformed", () => {
    const levels = PowerLevels.of(
      new Room(roomVersion("5")!, {
        levels: { users: 5, users_default: "x", ban: {}, events: [], state_default: null, notifications: { room: "no" } } as JsonObject,
      }).state,
    );
    assert.deepEqual(
      [levels.user(ALICE), levels.level("ban"), levels.toSend("x", true), levels.toSend("x", false), levels.toNotify("room")],
      [0, 50, 50, 0, 50],
    );
  });
});
