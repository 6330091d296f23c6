import assert from "node:assert/strict";
import type { MatrixEvent, StateMap } from "../../src/protocol/event/event.ts";
import { roomVersion } from "../../src/protocol/room-versions.ts";
import { authDifferenceOf } from "../../src/protocol/state-res/auth-difference.ts";
import { separate } from "../../src/protocol/state-res/conflict.ts";
import { resolving } from "../../src/protocol/state-res/resolve.ts";
import { askSynapse, forOracle, type OracleEvent } from "./oracle.ts";
import { RandomRoom, type RoomState } from "./random-room.ts";

interface Case {
  readonly version: string;
  readonly events: readonly OracleEvent[];
  readonly sets: readonly (readonly [string, string])[][];
  readonly resolved: readonly (readonly [string, string])[];
}

/** Resolves with nothing loaded but what is asked for. */
function resolve(room: RandomRoom, states: readonly RoomState[], cases: Case[]): RoomState {
  const { version, events } = room;
  const stateSets = states.map((state): StateMap => new Map([...state].map(([key, event]) => [key, event.eventId])));
  const separated = separate(stateSets, version);
  const authDifference = authDifferenceOf(version, separated, (id) => events.get(id)?.authEventIds ?? []);
  const loaded = new Map<string, MatrixEvent | null>();
  const lacking = new Set<string>();
  const steps = resolving({
    version,
    separated,
    authDifference,
    event(id) {
      if (!loaded.has(id)) lacking.add(id);
      return loaded.get(id);
    },
  });
  let step = steps.next();
  for (; !step.done; step = steps.next()) for (const id of step.value) loaded.set(id, events.get(id) ?? null);
  for (const id of lacking) assert.ok(loaded.has(id), "an event was needed that was not asked for");
  const resolved = step.value;
  cases.push({ version: version.id, events: [...events.values()].map(forOracle), sets: stateSets.map((set) => [...set]), resolved: [...resolved].sort() });
  return new Map([...resolved].map(([key, id]) => [key, events.get(id)!]));
}

describe("state resolution (CVE-2025-49090, Synapse 1.7.1, #6556)", function () {
  this.timeout(600_000);

  for (const version of ["1", "2", "10", "11", "12"]) {
    it(`comes to the same states as Synapse's in room version ${version}`, () => {
      const cases: Case[] = [];
      for (let seed = 1; seed <= 60; seed++) {
        const room = new RandomRoom(roomVersion(version)!, seed);
        let state = room.start;
        for (let round = 0; round < 3; round++) {
          const forks = Array.from({ length: 2 + room.below(2) }, () => room.grow(state, 2 + room.below(10)));
          state = resolve(room, forks, cases);
          if (room.below(2) === 0) state = resolve(room, [state, ...forks.slice(1), room.grow(room.start, 5)], cases);
        }
      }
      const answers = askSynapse<[string, string][]>("resolve", cases);
      for (const [index, { sets, resolved }] of cases.entries()) assert.deepEqual(resolved, answers[index], JSON.stringify(sets));
    });
  }
});
