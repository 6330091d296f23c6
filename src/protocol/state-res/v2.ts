import type { PersistentMap } from "../../lib/persistent-map.ts";
import type { MatrixEvent, StateKey } from "../event/event.ts";
import { authTypesForEvent } from "../event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../event-auth/check.ts";
import { CREATE_KEY, JOIN_RULES_KEY, POWER_LEVELS_KEY, PowerLevels } from "../power-levels.ts";
import { compareTimeAndId, keyOf } from "./events.ts";
import type { EventLookup, Resolution } from "./resolve.ts";
import { PAUSE, type Steps } from "./steps.ts";
import { reverseTopologicalSort } from "./topological-sort.ts";

/** State resolution of room versions 2 to 11, and 2.1 of version 12 (room version specifications, "State resolution"). */
export function* resolveV2({ version, authDifference, event, separated: { unconflicted, conflicted } }: Resolution): Steps<PersistentMap<StateKey, string>> {
  const resolver = new Resolver(event);
  const full = new Map<string, MatrixEvent>();
  const add = (id: string): void => {
    const found = event(id);
    if (found) full.set(id, found);
  };
  for (const ids of conflicted.values()) for (const id of ids.keys()) add(id);
  for (const id of authDifference) add(id);

  // 1. Power events of the full conflicted set, with what of their auth chains is in it, by reverse topological power ordering.
  const powerEvents = yield* resolver.powerOrder(full);
  // 2. v2 starts from the unconflicted state, v2.1 from nothing: there the auth events of the events themselves are the base.
  const state = new StateSoFar(version.stateResolution === 3 ? undefined : unconflicted);
  yield* resolver.applyAllowed(powerEvents, state);
  // 3. All others by the mainline of the power levels that came of it.
  const chosen = new Set(powerEvents);
  const others = [...full.values()].filter((found) => !chosen.has(found));
  // 4.
  yield* resolver.applyAllowed(yield* resolver.mainlineOrder(others, state.get(POWER_LEVELS_KEY)), state);
  // 5. What was never in conflict stays.
  return unconflicted.with([...state.changes].filter(([key]) => !unconflicted.has(key)));
}

/** A state that events are applied to. */
class StateSoFar {
  readonly changes = new Map<StateKey, string>();

  constructor(private readonly base: ReadonlyMap<StateKey, string> | undefined) {}

  get(key: StateKey): string | undefined {
    return this.changes.get(key) ?? this.base?.get(key);
  }
}

/** A power event may take away another's ability to do something in the room. Synapse counts the create event among them. */
function isPowerEvent(event: MatrixEvent): boolean {
  const key = keyOf(event);
  if (key === POWER_LEVELS_KEY || key === JOIN_RULES_KEY || key === CREATE_KEY) return true;
  return (event.membership === "leave" || event.membership === "ban") && event.sender !== event.stateKey;
}

/** Events between two pauses: of those that are looked at, and of those that are judged. */
const LOOKED_AT = 500;
const JUDGED = 50;

class Resolver {
  private readonly authEvents = new Map<MatrixEvent, readonly MatrixEvent[]>();

  constructor(private readonly event: EventLookup) {}

  /** The event's auth events, as far as they exist. */
  private authOf(event: MatrixEvent): readonly MatrixEvent[] {
    let events = this.authEvents.get(event);
    if (events === undefined) {
      events = event.authEventIds.map(this.event).filter((found): found is MatrixEvent => found !== null && found !== undefined);
      this.authEvents.set(event, events);
    }
    return events;
  }

  private authEventAt(event: MatrixEvent, key: StateKey): MatrixEvent | undefined {
    return this.authOf(event).find((found) => keyOf(found) === key);
  }

  *powerOrder(full: ReadonlyMap<string, MatrixEvent>): Steps<MatrixEvent[]> {
    const graph = new Map<MatrixEvent, MatrixEvent[]>();
    const stack = [...full.values()].filter(isPowerEvent);
    for (let event = stack.pop(); event !== undefined; event = stack.pop()) {
      if (graph.has(event)) continue;
      const edges = this.authOf(event).filter((found) => full.has(found.eventId));
      graph.set(event, edges);
      for (const edge of edges) stack.push(edge);
      if (graph.size % LOOKED_AT === 0) yield PAUSE;
    }
    const power = new Map<MatrixEvent, number>();
    for (const event of graph.keys()) {
      power.set(event, this.senderPower(event));
      if (power.size % LOOKED_AT === 0) yield PAUSE;
    }
    return reverseTopologicalSort(graph, (a, b) => {
      const [x, y] = [power.get(a)!, power.get(b)!];
      // Not a difference: two creators are both at infinity.
      return x === y ? compareTimeAndId(a, b) : x > y ? -1 : 1;
    });
  }

  /** The sender's level by the event's own auth events. */
  private senderPower(event: MatrixEvent): number {
    return new PowerLevels(this.authEventAt(event, CREATE_KEY), this.authEventAt(event, POWER_LEVELS_KEY)).user(event.sender);
  }

  /** "Iterative auth checks": puts each event that the state so far allows into the state. */
  *applyAllowed(events: readonly MatrixEvent[], state: StateSoFar): Steps<void> {
    for (const [index, event] of events.entries()) {
      if (index % JUDGED === JUDGED - 1) yield PAUSE;
      const key = keyOf(event);
      // Events once rejected stay out of the state, as in Synapse; the specification would let some of them in again.
      if (key === undefined || event.rejectedReason !== undefined) continue;
      const auth = new Map<StateKey, MatrixEvent>();
      for (const found of this.authOf(event)) {
        const authKey = keyOf(found);
        if (authKey !== undefined && found.rejectedReason === undefined) auth.set(authKey, found);
      }
      for (const authKey of authTypesForEvent(event.roomVersion, event)) {
        const id = state.get(authKey);
        const found = id === undefined ? undefined : this.event(id);
        if (found && found.rejectedReason === undefined) auth.set(authKey, found);
      }
      if (checkStateDependentAuth(event, auth).allowed) state.changes.set(key, event.eventId);
    }
  }

  /** "Mainline ordering": events authorised by older power levels first, then by time and id. */
  *mainlineOrder(events: readonly MatrixEvent[], powerLevelsId: string | undefined): Steps<MatrixEvent[]> {
    if (events.length === 0) return [];
    // Position from the oldest (1) to P (the greatest); 0 for what is not based on the mainline.
    const positions = new Map<MatrixEvent, number>();
    const mainline: MatrixEvent[] = [];
    const start = powerLevelsId === undefined ? undefined : this.event(powerLevelsId);
    for (let next = start ?? undefined; next !== undefined && !positions.has(next); next = this.authEventAt(next, POWER_LEVELS_KEY)) {
      mainline.push(next);
      positions.set(next, 0);
    }
    mainline.forEach((found, index) => positions.set(found, mainline.length - index));
    const position = new Map<MatrixEvent, number>();
    for (const event of events) {
      position.set(event, this.mainlinePosition(event, positions));
      if (position.size % LOOKED_AT === 0) yield PAUSE;
    }
    return [...events].sort((a, b) => position.get(a)! - position.get(b)! || compareTimeAndId(a, b));
  }

  /** `positions` remembers what was found for the events on the way. */
  private mainlinePosition(event: MatrixEvent, positions: Map<MatrixEvent, number>): number {
    const way: MatrixEvent[] = [];
    let next: MatrixEvent | undefined = event;
    while (next !== undefined && !positions.has(next)) {
      way.push(next);
      positions.set(next, 0);
      next = this.authEventAt(next, POWER_LEVELS_KEY);
    }
    const position = next === undefined ? 0 : positions.get(next)!;
    for (const passed of way) positions.set(passed, position);
    return position;
  }
}
