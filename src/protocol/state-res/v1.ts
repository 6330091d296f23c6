import { createHash } from "node:crypto";
import type { PersistentMap } from "../../lib/persistent-map.ts";
import type { MatrixEvent, StateKey } from "../event/event.ts";
import { authTypesForEvent } from "../event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../event-auth/check.ts";
import { POWER_LEVELS_KEY } from "../power-levels.ts";
import type { Resolution } from "./resolve.ts";
import { PAUSE, type Steps } from "./steps.ts";

type AuthMap = Map<StateKey, MatrixEvent>;

/** Keys settled between two pauses. */
const KEYS_AT_ONCE = 50;

/** State resolution of room version 1 ("State resolution" there): power levels, join rules, memberships, then all else. */
export function* resolveV1({ version, event, separated: { unconflicted, conflicted } }: Resolution): Steps<PersistentMap<StateKey, string>> {
  const resolved: [StateKey, string][] = [];
  const contested = new Map<StateKey, MatrixEvent[]>();
  const auth: AuthMap = new Map();
  let count = 0;
  for (const [key, ids] of conflicted) {
    if (++count % KEYS_AT_ONCE === 0) yield PAUSE;
    const events = [...ids.keys()].map(event).filter((found): found is MatrixEvent => found !== null && found !== undefined);
    if (events.length > 1) contested.set(key, oldestFirst(events));
    else if (events.length === 1) resolved.push([key, events[0]!.eventId]);
    for (const found of events) {
      for (const authKey of authTypesForEvent(version, found)) {
        const id = unconflicted.get(authKey);
        const inState = id === undefined ? undefined : event(id);
        if (inState) auth.set(authKey, inState);
      }
    }
  }
  function* settle(keys: readonly StateKey[], choose: (events: MatrixEvent[]) => MatrixEvent): Steps<void> {
    const chosen: [StateKey, MatrixEvent][] = [];
    for (const key of keys) {
      chosen.push([key, choose(contested.get(key)!)]);
      if (chosen.length % KEYS_AT_ONCE === 0) yield PAUSE;
    }
    // Those of one kind do not judge each other.
    for (const [key, winner] of chosen) {
      auth.set(key, winner);
      resolved.push([key, winner.eventId]);
      contested.delete(key);
    }
  }
  const ofType = (type: string): StateKey[] => [...contested.keys()].filter((key) => key.startsWith(`${type}\u0000`));
  const lastAllowed = (events: MatrixEvent[]): MatrixEvent => lastAllowedInTurn(events, auth);
  yield* settle(contested.has(POWER_LEVELS_KEY) ? [POWER_LEVELS_KEY] : [], lastAllowed);
  yield* settle(ofType("m.room.join_rules"), lastAllowed);
  yield* settle(ofType("m.room.member"), lastAllowed);
  yield* settle([...contested.keys()], (events) => events.findLast((found) => checkStateDependentAuth(found, auth).allowed) ?? events[0]!);
  return unconflicted.with(resolved);
}

/** By depth, then by the SHA-1 of the id, greatest first. */
function oldestFirst(events: readonly MatrixEvent[]): MatrixEvent[] {
  const sha1 = new Map(events.map((event) => [event, createHash("sha1").update(event.eventId, "utf8").digest("hex")]));
  return [...events].sort((a, b) => (a.depth < b.depth ? -1 : a.depth > b.depth ? 1 : sha1.get(a)! < sha1.get(b)! ? 1 : -1));
}

/** From the oldest on, each event is judged by the state with the one before it, until one is not allowed. */
function lastAllowedInTurn(events: readonly MatrixEvent[], auth: AuthMap): MatrixEvent {
  const state: AuthMap = new Map();
  for (const event of events) {
    for (const key of authTypesForEvent(event.roomVersion, event)) {
      const found = auth.get(key);
      if (found !== undefined) state.set(key, found);
    }
  }
  let winner = events[0]!;
  for (const event of events.slice(1)) {
    state.set(`${winner.type}\u0000${winner.stateKey ?? ""}`, winner);
    if (!checkStateDependentAuth(event, state).allowed) break;
    winner = event;
  }
  return winner;
}
