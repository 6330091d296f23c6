import { createHash } from "node:crypto";
import type { MatrixEvent, StateKey } from "../event/event.ts";
import { authTypesForEvent } from "../event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../event-auth/check.ts";
import { POWER_LEVELS_KEY } from "../power-levels.ts";
import type { Separated } from "./conflict.ts";
import type { Resolution } from "./resolve.ts";

type AuthMap = Map<StateKey, MatrixEvent>;

/** State resolution of room version 1 ("State resolution" there): power levels, join rules, memberships, then all else. */
export function resolveV1({ version, event }: Resolution, { unconflicted, conflicted }: Separated): Map<StateKey, string> {
  const resolved = new Map(unconflicted);
  const contested = new Map<StateKey, MatrixEvent[]>();
  const auth: AuthMap = new Map();
  for (const [key, ids] of conflicted) {
    const events = [...ids].map(event).filter((found): found is MatrixEvent => found !== null && found !== undefined);
    if (events.length > 1) contested.set(key, oldestFirst(events));
    else if (events.length === 1) resolved.set(key, events[0]!.eventId);
    for (const found of events) {
      for (const authKey of authTypesForEvent(version, found)) {
        const id = unconflicted.get(authKey);
        const inState = id === undefined ? undefined : event(id);
        if (inState) auth.set(authKey, inState);
      }
    }
  }
  const settle = (keys: StateKey[], choose: (events: MatrixEvent[]) => MatrixEvent): void => {
    const chosen = keys.map((key) => [key, choose(contested.get(key)!)] as const);
    // Those of one kind do not judge each other.
    for (const [key, winner] of chosen) {
      auth.set(key, winner);
      resolved.set(key, winner.eventId);
      contested.delete(key);
    }
  };
  const ofType = (type: string): StateKey[] => [...contested.keys()].filter((key) => key.startsWith(`${type}\u0000`));
  const lastAllowed = (events: MatrixEvent[]): MatrixEvent => lastAllowedInTurn(events, auth);
  settle(contested.has(POWER_LEVELS_KEY) ? [POWER_LEVELS_KEY] : [], lastAllowed);
  settle(ofType("m.room.join_rules"), lastAllowed);
  settle(ofType("m.room.member"), lastAllowed);
  settle([...contested.keys()], (events) => events.findLast((found) => checkStateDependentAuth(found, auth).allowed) ?? events[0]!);
  return resolved;
}

/** By depth, then by the SHA-1 of the id, greatest first. */
function oldestFirst(events: readonly MatrixEvent[]): MatrixEvent[] {
  const sha1 = new Map(events.map((event) => [event, createHash("sha1").update(event.eventId, "utf8").digest("hex")]));
  return [...events].sort((a, b) => (a.depth < b.depth ? -1 : a.depth > b.depth ? 1 : sha1.get(a)! < sha1.get(b)! ? 1 : -1));
}

/** From the oldest on, each event is judged by the state with the one before it, until one is not allowed. */
function lastAllowedInTurn(events: readonly MatrixEvent[], auth: AuthMap): MatrixEvent {
  const needed = new Set(events.flatMap((event) => authTypesForEvent(event.roomVersion, event)));
  const state: AuthMap = new Map([...auth].filter(([key]) => needed.has(key)));
  let winner = events[0]!;
  for (const event of events.slice(1)) {
    state.set(`${winner.type}\u0000${winner.stateKey ?? ""}`, winner);
    if (!checkStateDependentAuth(event, state).allowed) break;
    winner = event;
  }
  return winner;
}
