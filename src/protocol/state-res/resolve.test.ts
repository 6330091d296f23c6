import assert from "node:assert/strict";
import fc from "fast-check";
import type { JsonObject } from "../../lib/json.ts";
import { authTypesForEvent } from "../event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../event-auth/check.ts";
import { pduFields } from "../event/build.ts";
import { stateKeyOf, type MatrixEvent, type StateKey, type StateMap } from "../event/event.ts";
import { makeEventFromJson } from "../event/format.ts";
import { roomVersion, type RoomVersion } from "../room-versions.ts";
import { type AuthEdges, authDifferenceOf, conflictedSubgraph } from "./auth-difference.ts";
import { conflictedIds, separate } from "./conflict.ts";
import { resolveState, resolving } from "./resolve.ts";
import { reverseTopologicalSort } from "./topological-sort.ts";

const CREATOR = "@creator:hs";
const ALICE = "@alice:hs";
const BOB = "@bob:hs";
const EVE = "@eve:hs";

type State = ReadonlyMap<StateKey, MatrixEvent>;

/** Events of one room, each authorised by the state that it is sent in; nothing else is checked. */
class Room {
  readonly events = new Map<string, MatrixEvent>();
  private roomId: string | undefined;
  private time = 1;

  constructor(readonly version: RoomVersion) {
    if (!version.roomIdIsCreateHash) this.roomId = "!r:hs";
  }

  /** The state after one more event. */
  after(state: State, sender: string, type: string, stateKey: string, content: JsonObject): State {
    const head = { type, sender, stateKey, content };
    const authEventIds = authTypesForEvent(this.version, head).flatMap((key) => state.get(key)?.eventId ?? []);
    const pdu = pduFields({
      ...head,
      roomVersion: this.version,
      roomId: this.roomId,
      originServerTs: this.time,
      depth: this.time,
      prevEventIds: [],
      authEventIds,
      eventId: `$${this.time++}:hs`,
    });
    const event = makeEventFromJson({ ...pdu, hashes: {}, signatures: {} }, this.version);
    this.roomId ??= event.roomId;
    this.events.set(event.eventId, event);
    return new Map([...state, [stateKeyOf(type, stateKey), event]]);
  }

  member(state: State, sender: string, target: string, membership: string): State {
    return this.after(state, sender, "m.room.member", target, { membership });
  }

  levels(state: State, sender: string, users: JsonObject, more: JsonObject = {}): State {
    return this.after(state, sender, "m.room.power_levels", "", { users: { ...(!this.version.creatorsHavePower && { [CREATOR]: 100 }), ...users }, ...more });
  }

  /** A public room with CREATOR at 100, ALICE at 50 and BOB joined. */
  start(): State {
    let state = this.after(new Map(), CREATOR, "m.room.create", "", { creator: CREATOR, room_version: this.version.id });
    state = this.member(state, CREATOR, CREATOR, "join");
    state = this.levels(state, CREATOR, { [ALICE]: 50 });
    state = this.after(state, CREATOR, "m.room.join_rules", "", { join_rule: "public" });
    for (const user of [ALICE, BOB]) state = this.member(state, user, user, "join");
    return state;
  }

  /** Resolves in every order of the states, with only what is asked for; all must come to the same. */
  resolve(states: readonly State[]): StateMap {
    const edges: AuthEdges = (id) => this.events.get(id)?.authEventIds ?? [];
    const results = permutations(states).map((order) => {
      const stateSets = order.map(idsOf);
      const separated = separate(stateSets, this.version);
      const difference = authDifferenceOf(this.version, separated, edges);
      if (this.version.stateResolution !== 1) assert.deepEqual(difference, wholeDifference(this.version, stateSets, edges));
      const authDifference = [...difference].reverse();
      const loaded = new Map<string, MatrixEvent | null>();
      const steps = resolving({ version: this.version, separated, authDifference, event: (id: string) => loaded.get(id) });
      let step = steps.next();
      for (; !step.done; step = steps.next()) for (const id of step.value) loaded.set(id, this.events.get(id) ?? null);
      return step.value;
    });
    const [first] = results;
    for (const other of results) assert.deepEqual([...other].sort(), [...first!].sort());
    return first!;
  }
}

const idsOf = (state: State): StateMap => new Map([...state].map(([key, event]) => [key, event.eventId]));

/** The auth difference by the words of the specification: whole auth chains, set by set. */
function wholeDifference(version: RoomVersion, stateSets: readonly StateMap[], edges: AuthEdges): Set<string> {
  const counts = new Map<string, number>();
  for (const set of stateSets) {
    const chain = new Set(set.values());
    for (const id of chain) for (const authId of edges(id)) chain.add(authId);
    for (const id of chain) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const difference = new Set([...counts].filter(([, count]) => count < stateSets.length).map(([id]) => id));
  const conflicted = conflictedIds(separate(stateSets, version));
  if (version.stateResolution === 3) for (const id of conflictedSubgraph(conflicted, edges)) difference.add(id);
  return difference;
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, index) => permutations([...items.slice(0, index), ...items.slice(index + 1)]).map((rest) => [item, ...rest]));
}

/** The state after what somebody tries to do, or the same state when it is not allowed. */
function attempt(room: Room, state: State, kind: string, sender: string, target: string, level: number): State {
  const next = (): State => {
    switch (kind) {
      case "levels":
        return room.levels(state, sender, { [ALICE]: 50, ...(target !== CREATOR && { [target]: level }) });
      case "rules":
        return room.after(state, sender, "m.room.join_rules", "", { join_rule: level === 0 ? "public" : "invite" });
      case "topic":
        return room.after(state, sender, "m.room.topic", "", { topic: `${sender} ${level}` });
      default:
        return room.member(state, kind === "join" ? target : sender, target, kind);
    }
  };
  const after = next();
  const event = [...after].find(([key, each]) => state.get(key) !== each)![1];
  return checkStateDependentAuth(event, state).allowed ? after : state;
}

const idAt = (state: State, type: string, key = ""): string | undefined => state.get(stateKeyOf(type, key))?.eventId;
const V1 = roomVersion("1")!;
const V2S = ["2", "6", "10", "11"].map((id) => roomVersion(id)!);
const V12 = roomVersion("12")!;
const SINCE_2 = [...V2S, V12];

describe("state resolution 2 and 2.1", () => {
  for (const version of SINCE_2) {
    describe(`in room version ${version.id}`, () => {
      it("keeps what is the same in all states", () => {
        const room = new Room(version);
        const base = room.start();
        assert.deepEqual([...room.resolve([base, base])].sort(), [...base].map(([key, event]) => [key, event.eventId]).sort());
      });

      it("takes the later of two topics by equals", () => {
        const room = new Room(version);
        const base = room.start();
        const first = room.after(base, ALICE, "m.room.topic", "", { topic: "1" });
        const second = room.after(base, ALICE, "m.room.topic", "", { topic: "2" });
        assert.equal(room.resolve([first, second]).get(stateKeyOf("m.room.topic", "")), idAt(second, "m.room.topic"));
      });

      it("lets a ban beat what the banned did meanwhile", () => {
        const room = new Room(version);
        const base = room.levels(room.start(), CREATOR, { [ALICE]: 50, [BOB]: 50 });
        const banned = room.member(base, CREATOR, BOB, "ban");
        let meanwhile = room.levels(base, BOB, { [ALICE]: 50, [BOB]: 50 }, { events: { x: 50 } });
        meanwhile = room.after(meanwhile, BOB, "m.room.topic", "", { topic: "bob was here" });
        const resolved = room.resolve([banned, meanwhile]);
        assert.equal(resolved.get(stateKeyOf("m.room.member", BOB)), idAt(banned, "m.room.member", BOB));
        assert.equal(resolved.get(stateKeyOf("m.room.power_levels", "")), idAt(base, "m.room.power_levels"));
        assert.equal(resolved.get(stateKeyOf("m.room.topic", "")), undefined);
      });

      it("lets a demotion beat what the demoted did meanwhile", () => {
        const room = new Room(version);
        const base = room.start();
        const demoted = room.levels(base, CREATOR, { [ALICE]: 0 });
        const topic = room.after(base, ALICE, "m.room.topic", "", { topic: "x" });
        const resolved = room.resolve([demoted, topic]);
        assert.equal(resolved.get(stateKeyOf("m.room.power_levels", "")), idAt(demoted, "m.room.power_levels"));
        assert.equal(resolved.get(stateKeyOf("m.room.topic", "")), undefined);
      });

      it("does not let anyone in who joined past a change of the join rules", () => {
        const room = new Room(version);
        const base = room.start();
        const closed = room.after(base, CREATOR, "m.room.join_rules", "", { join_rule: "invite" });
        const joined = room.member(base, EVE, EVE, "join");
        assert.equal(room.resolve([closed, joined]).get(stateKeyOf("m.room.member", EVE)), undefined);
        // But those who came before stay, and may go on.
        const again = room.after(base, BOB, "m.room.member", BOB, { membership: "join", displayname: "bob" });
        assert.equal(room.resolve([closed, again]).get(stateKeyOf("m.room.member", BOB)), idAt(again, "m.room.member", BOB));
      });

      it("orders by the power levels that events were sent under, before their time", () => {
        const room = new Room(version);
        const base = room.start();
        // Sent later, but under the older power levels.
        const newer = room.after(room.levels(base, CREATOR, { [ALICE]: 50 }, { ban: 60 }), ALICE, "m.room.topic", "", { topic: "newer levels" });
        const older = room.after(base, ALICE, "m.room.topic", "", { topic: "older levels" });
        assert.equal(room.resolve([newer, older]).get(stateKeyOf("m.room.topic", "")), idAt(newer, "m.room.topic"));
      });

      it("settles a fight of two of equal power by time, whoever brings the news", () => {
        const room = new Room(version);
        const base = room.levels(room.start(), CREATOR, { [ALICE]: 50, [BOB]: 50 }, { ban: 50 });
        const one = room.levels(base, ALICE, { [ALICE]: 50, [BOB]: 50 }, { ban: 50, kick: 40 });
        const two = room.levels(base, BOB, { [ALICE]: 50, [BOB]: 50 }, { ban: 50, kick: 30 });
        assert.equal(room.resolve([one, two]).get(stateKeyOf("m.room.power_levels", "")), idAt(two, "m.room.power_levels"));
      });

      it("keeps rejected events out", () => {
        const room = new Room(version);
        const base = room.start();
        const good = room.after(base, ALICE, "m.room.topic", "", { topic: "good" });
        const bad = room.after(base, ALICE, "m.room.topic", "", { topic: "bad" });
        bad.get(stateKeyOf("m.room.topic", ""))!.rejectedReason = "auth_error";
        assert.equal(room.resolve([good, bad]).get(stateKeyOf("m.room.topic", "")), idAt(good, "m.room.topic"));
        assert.equal(room.resolve([base, bad]).get(stateKeyOf("m.room.topic", "")), undefined);
      });

      it("resolves three states at once as it should", () => {
        const room = new Room(version);
        const base = room.start();
        const closed = room.after(base, CREATOR, "m.room.join_rules", "", { join_rule: "invite" });
        const joined = room.member(base, EVE, EVE, "join");
        const named = room.after(base, ALICE, "m.room.name", "", { name: "n" });
        const resolved = room.resolve([closed, joined, named]);
        assert.deepEqual(
          [resolved.get(stateKeyOf("m.room.member", EVE)), resolved.get(stateKeyOf("m.room.name", ""))],
          [undefined, idAt(named, "m.room.name")],
        );
      });

      it("passes over events that do not exist here", () => {
        const room = new Room(version);
        const base = room.start();
        const one = room.after(base, ALICE, "m.room.topic", "", { topic: "1" });
        const two = room.after(base, ALICE, "m.room.topic", "", { topic: "2" });
        room.events.delete(idAt(two, "m.room.topic")!);
        assert.equal(room.resolve([one, two]).get(stateKeyOf("m.room.topic", "")), idAt(one, "m.room.topic"));
      });
    });
  }

  const step = fc.tuple(
    fc.constantFrom("join", "leave", "invite", "ban", "levels", "rules", "topic"),
    fc.constantFrom(CREATOR, ALICE, BOB, EVE),
    fc.constantFrom(CREATOR, ALICE, BOB, EVE),
    fc.constantFrom(0, 50, 100),
  );
  const forks = fc.array(fc.array(step, { maxLength: 8 }), { minLength: 2, maxLength: 3 });
  for (const version of [V1, ...SINCE_2]) {
    it(`comes to the same in any order, however often a state is given, and each key's event is one of the candidates, in room version ${version.id}`, () => {
      fc.assert(
        fc.property(forks, (scripts) => {
          const room = new Room(version);
          const base = room.start();
          const states = scripts.map((script) =>
            script.reduce((state, [kind, sender, target, level]) => attempt(room, state, kind, sender, target, level), base),
          );
          const resolved = room.resolve(states);
          assert.deepEqual([...room.resolve([...states, states[0]!])].sort(), [...resolved].sort());
          const settled: State = new Map([...resolved].map(([key, id]) => [key, room.events.get(id)!]));
          assert.deepEqual([...room.resolve([settled, settled])].sort(), [...resolved].sort());
          for (const [key, id] of resolved) assert.equal(stateKeyOf(room.events.get(id)!.type, room.events.get(id)!.stateKey!), key);
        }),
        { numRuns: 40 },
      );
    });
  }

  it("goes through a chain of thousands of power levels without recursion", () => {
    const room = new Room(roomVersion("10")!);
    let state = room.start();
    const one = room.after(state, ALICE, "m.room.topic", "", { topic: "old" });
    for (let i = 0; i < 3000; i++) state = room.levels(state, CREATOR, { [ALICE]: 50 }, { ban: 50 + (i % 2) });
    const two = room.after(state, ALICE, "m.room.topic", "", { topic: "new" });
    const separated = separate([one, two].map(idsOf), room.version);
    const authDifference = authDifferenceOf(room.version, separated, (id) => room.events.get(id)!.authEventIds);
    const resolved = resolveState({ version: room.version, separated, authDifference, event: (id) => room.events.get(id) });
    assert.equal(resolved.get(stateKeyOf("m.room.topic", "")), idAt(two, "m.room.topic"));
  });

  for (const version of [V1, ...SINCE_2]) {
    it(`does little between two steps, however much is in conflict, in room version ${version.id}`, () => {
      const most = [40, 640].map((members) => {
        const room = new Room(version);
        const base = room.start();
        const branches = Array.from({ length: 8 }, (_, branch) => {
          const state = new Map(room.after(base, ALICE, "m.room.topic", "", { topic: String(branch) }));
          for (let index = 0; index < members / 8; index++)
            for (const [key, event] of room.member(base, `@${branch}_${index}:hs`, `@${branch}_${index}:hs`, "join")) if (!base.has(key)) state.set(key, event);
          for (const [key, event] of room.member(base, CREATOR, BOB, branch % 2 === 0 ? "ban" : "leave")) if (base.get(key) !== event) state.set(key, event);
          return state;
        });
        const separated = separate(branches.map(idsOf), version);
        const authDifference = authDifferenceOf(version, separated, (id) => room.events.get(id)!.authEventIds);
        let [lookups, greatest] = [0, 0];
        const event = (id: string): MatrixEvent | undefined => {
          greatest = Math.max(greatest, ++lookups);
          return room.events.get(id);
        };
        for (const _ of resolving({ version, separated, authDifference, event })) lookups = 0;
        return greatest;
      });
      assert.ok(most[1]! < 8000, `${most[1]} events were looked at without a pause`);
      assert.ok(most[1]! < 8 * most[0]!, `${most[0]} became ${most[1]}`);
    });
  }
});

describe("state resolution 1", () => {
  it("takes the power levels that the older ones allow", () => {
    const room = new Room(V1);
    const base = room.start();
    const good = room.levels(base, CREATOR, { [ALICE]: 60 });
    const bad = room.levels(base, BOB, { [BOB]: 100 });
    assert.equal(room.resolve([good, bad]).get(stateKeyOf("m.room.power_levels", "")), idAt(good, "m.room.power_levels"));
  });

  it("takes the deepest topic that is allowed", () => {
    const room = new Room(V1);
    const base = room.start();
    const one = room.after(base, ALICE, "m.room.topic", "", { topic: "1" });
    const two = room.after(base, ALICE, "m.room.topic", "", { topic: "2" });
    const forbidden = room.after(base, BOB, "m.room.topic", "", { topic: "3" });
    assert.equal(room.resolve([one, two, forbidden]).get(stateKeyOf("m.room.topic", "")), idAt(two, "m.room.topic"));
  });

  it("sees no conflict in what only some states have", () => {
    const room = new Room(V1);
    const base = room.start();
    const closed = room.after(base, CREATOR, "m.room.name", "", { name: "n" });
    const joined = room.member(base, EVE, EVE, "join");
    const resolved = room.resolve([closed, joined]);
    assert.equal(resolved.get(stateKeyOf("m.room.member", EVE)), idAt(joined, "m.room.member", EVE));
    assert.equal(resolved.get(stateKeyOf("m.room.name", "")), idAt(closed, "m.room.name"));
  });
});

describe("conflicts", () => {
  it("are keys that differ, and from version 2 on keys that are missing somewhere", () => {
    const a: StateMap = new Map([
      [stateKeyOf("x", ""), "$1"],
      [stateKeyOf("y", ""), "$2"],
    ]);
    const b: StateMap = new Map([[stateKeyOf("x", ""), "$1"]]);
    const conflicts = (version: RoomVersion, sets: readonly StateMap[]): unknown => [...conflictedIds(separate(sets, version))];
    assert.deepEqual(conflicts(V1, [a, b]), []);
    assert.deepEqual(conflicts(V1, [b, a]), []);
    assert.deepEqual(conflicts(V12, [a, b]), ["$2"]);
    assert.deepEqual(conflicts(V12, [b, a]), ["$2"]);
    assert.deepEqual(conflicts(V12, [a, a, a]), []);
    assert.deepEqual([...separate([b, a], V1).unconflicted].sort(), [...a]);
    assert.deepEqual([...separate([a, b], V12).unconflicted], [...b]);
  });

  it("say which of more states than one word has bits hold what", () => {
    const sets = Array.from({ length: 70 }, (_, index): StateMap => new Map(index === 69 ? [] : [[stateKeyOf("x", ""), `$${index % 3}`]]));
    const holders = separate(sets, V12).conflicted.get(stateKeyOf("x", ""))!;
    for (const [id, words] of holders)
      for (const [index, set] of sets.entries()) assert.equal(((words[index >>> 5]! >>> (index & 31)) & 1) === 1, set.get(stateKeyOf("x", "")) === id);
  });
});

describe("auth differences", () => {
  const edges: Record<string, string[]> = { c: [], p1: ["c"], p2: ["p1", "c"], m: ["p1", "c"], t1: ["p1", "m", "c"], t2: ["p2", "m", "c"] };
  const of = (id: string): string[] => edges[id] ?? [];
  const differenceOf = (...sets: string[][]): Set<string> =>
    authDifferenceOf(
      roomVersion("10")!,
      separate(
        sets.map((ids): StateMap => new Map(ids.map((id) => [stateKeyOf(id.slice(0, 1), ""), id]))),
        roomVersion("10")!,
      ),
      of,
    );
  it("are what is in some chains but not in all", () => {
    assert.deepEqual(differenceOf(["t1", "p1"], ["t2", "p2"]), new Set(["t1", "t2", "p2"]));
    assert.deepEqual(differenceOf(["t1"], ["t1"]), new Set());
    assert.deepEqual(differenceOf(["t1", "q"], ["t2", "q"]), new Set(["t1", "t2", "p2"]));
  });
  it("of chains that bite their tails come to an end", () => {
    const bitten: Record<string, string[]> = { x1: ["x2"], x2: ["x3", "y"], x3: ["x1"], z1: ["y"], y: ["y"] };
    const sets = [["x1"], ["z1"], ["x1", "z1"]].map((ids): StateMap => new Map(ids.map((id) => [stateKeyOf(id.slice(0, 1), ""), id])));
    const edges = (id: string): string[] => bitten[id] ?? [];
    assert.deepEqual(authDifferenceOf(V12, separate(sets, V12), edges), wholeDifference(V12, sets, edges));
  });
  it("of 2.1 hold the paths between conflicted events (CVE-2025-49090)", () => {
    assert.deepEqual(conflictedSubgraph(new Set(["t2", "p1"]), of), new Set(["t2", "p2", "m", "p1"]));
    assert.deepEqual(conflictedSubgraph(new Set(["t1", "t2"]), of), new Set(["t1", "t2"]));
  });
});

describe("reverse topological sort", () => {
  it("puts each node after those it points to, and else the smallest first", () => {
    const graph = fc.array(fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 15 })), { maxLength: 40 });
    fc.assert(
      fc.property(graph, (pairs) => {
        const nodes = new Map<number, number[]>();
        for (const [a, b] of pairs) {
          const [low, high] = [Math.min(a, b), Math.max(a, b)];
          if (!nodes.has(low)) nodes.set(low, []);
          if (!nodes.has(high)) nodes.set(high, []);
          // Edges go from odd-even mixed numbers to others, never in a circle: from the higher to the lower.
          if (low !== high) nodes.get(high)!.push(low);
        }
        const sorted = reverseTopologicalSort(nodes, (a, b) => b - a);
        assert.equal(sorted.length, nodes.size);
        const place = new Map(sorted.map((node, index) => [node, index]));
        for (const [node, targets] of nodes) for (const target of targets) assert.ok(place.get(target)! < place.get(node)!);
        // Among those that were free, the first by the comparison was taken.
        const done = new Set<number>();
        for (const node of sorted) {
          const free = [...nodes.keys()].filter((each) => !done.has(each) && nodes.get(each)!.every((target) => done.has(target)));
          assert.equal(node, Math.max(...free));
          done.add(node);
        }
      }),
    );
  });
});
