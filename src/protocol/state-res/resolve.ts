import type { MatrixEvent, StateKey, StateMap } from "../event/event.ts";
import { POWER_LEVELS_KEY } from "../power-levels.ts";
import { authTypesForEvent } from "../event-auth/auth-types.ts";
import type { RoomVersion } from "../room-versions.ts";
import { separate } from "./conflict.ts";
import { keyOf } from "./events.ts";
import { resolveV1 } from "./v1.ts";
import { resolveV2 } from "./v2.ts";

/** An event by its id; null when it is known not to exist here, undefined when it was not loaded. */
export type EventLookup = (eventId: string) => MatrixEvent | null | undefined;

export interface Resolution {
  readonly version: RoomVersion;
  /** The states to resolve, in any order. */
  readonly stateSets: readonly StateMap[];
  /**
   * Events that are in the auth chains (with the state itself) of some of the sets, but not of all; for state resolution 2.1 (room
   * version 12) with the conflicted subgraph. Not read for room version 1. See `auth-difference.ts`.
   */
  readonly authDifference: Iterable<string>;
  readonly event: EventLookup;
}

/**
 * The state that follows from several (room version specifications, "State resolution"). Needs the events that `eventsToLoad`
 * names; those that do not exist are passed over. Neither the order of the sets nor that of anything else changes the result.
 */
export function resolveState(resolution: Resolution): Map<StateKey, string> {
  const { version, stateSets } = resolution;
  const separated = separate(stateSets, version);
  if (separated.conflicted.size === 0) return separated.unconflicted;
  return version.stateResolution === 1 ? resolveV1(resolution, separated) : resolveV2(resolution, separated);
}

/** True when the sets differ so that they must be resolved; else one of them, or their union, is the state. */
export function isConflicted(version: RoomVersion, stateSets: readonly StateMap[]): boolean {
  return separate(stateSets, version).conflicted.size > 0;
}

/** Ids of all events that differ between the sets, for the queries behind `authDifference`. */
export function conflictedEventIds(version: RoomVersion, stateSets: readonly StateMap[]): Set<string> {
  const ids = new Set<string>();
  for (const some of separate(stateSets, version).conflicted.values()) for (const id of some) ids.add(id);
  return ids;
}

/**
 * Ids of the events to load before `resolveState`, as far as can be told from those that are loaded: load them, mark those that
 * do not exist by null, and ask again until the answer is empty. A round goes one power levels event further back; load all power
 * levels events of the room in the first one where there may be many.
 */
export function eventsToLoad({ version, stateSets, authDifference, event }: Resolution): string[] {
  const { conflicted, unconflicted } = separate(stateSets, version);
  if (conflicted.size === 0) return [];
  const missing = new Set<string>();
  const load = (id: string): MatrixEvent | undefined => {
    const found = event(id);
    if (found === undefined) missing.add(id);
    return found ?? undefined;
  };
  const candidates = new Set<string>();
  for (const ids of conflicted.values()) for (const id of ids) candidates.add(id);
  const needsChains = version.stateResolution !== 1;
  if (needsChains) for (const id of authDifference) candidates.add(id);

  const powerLevels: MatrixEvent[] = [];
  const visit = (id: string): void => {
    const found = load(id);
    if (found !== undefined && needsChains && keyOf(found) === POWER_LEVELS_KEY) powerLevels.push(found);
  };
  for (const id of candidates) {
    const found = load(id);
    if (found === undefined) continue;
    if (needsChains) for (const authId of found.authEventIds) visit(authId);
    for (const key of authTypesForEvent(version, found)) {
      const inState = unconflicted.get(key);
      if (inState !== undefined) visit(inState);
    }
  }
  const resolved = unconflicted.get(POWER_LEVELS_KEY);
  if (needsChains && resolved !== undefined) visit(resolved);
  // The mainline: from each power levels event to the one that authorised it.
  const seen = new Set(powerLevels.map((found) => found.eventId));
  for (let next = powerLevels.pop(); next !== undefined; next = powerLevels.pop()) {
    for (const authId of next.authEventIds) {
      const found = load(authId);
      if (found === undefined || seen.has(authId) || keyOf(found) !== POWER_LEVELS_KEY) continue;
      seen.add(authId);
      powerLevels.push(found);
    }
  }
  return [...missing];
}
