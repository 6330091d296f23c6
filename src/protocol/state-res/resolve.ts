import type { PersistentMap } from "../../lib/persistent-map.ts";
import type { MatrixEvent, StateKey } from "../event/event.ts";
import { POWER_LEVELS_KEY } from "../power-levels.ts";
import { authTypesForEvent } from "../event-auth/auth-types.ts";
import type { RoomVersion } from "../room-versions.ts";
import { conflictedIds, type Separated } from "./conflict.ts";
import { keyOf } from "./events.ts";
import { atOnce, PAUSE, type Steps } from "./steps.ts";
import { resolveV1 } from "./v1.ts";
import { resolveV2 } from "./v2.ts";

/** An event by its id; null when it is known not to exist here, undefined when it was not loaded. */
export type EventLookup = (eventId: string) => MatrixEvent | null | undefined;

export interface Resolution {
  readonly version: RoomVersion;
  /** The states to resolve, in any order. */
  readonly separated: Separated;
  /**
   * Events that are in the auth chains (with the state itself) of some of the sets, but not of all; for state resolution 2.1 (room
   * version 12) with the conflicted subgraph. Not read for room version 1. See `auth-difference.ts`.
   */
  readonly authDifference: Iterable<string>;
  readonly event: EventLookup;
}

const EVENTS_AT_ONCE = 500;

/**
 * The state that follows from several (room version specifications, "State resolution"), in steps: those that yield ids ask for these
 * events, which `event` must then give, or null where they do not exist. Neither the order of the sets nor that of anything else changes
 * the result. It shares structure with the first of the states.
 */
export function* resolving(resolution: Resolution): Steps<PersistentMap<StateKey, string>> {
  const { version, separated } = resolution;
  if (separated.conflicted.size === 0) return separated.unconflicted;
  yield* loading(resolution);
  return yield* version.stateResolution === 1 ? resolveV1(resolution) : resolveV2(resolution);
}

/** As `resolving`, at once, with all events at hand; those that `event` does not give are passed over. */
export function resolveState(resolution: Resolution): PersistentMap<StateKey, string> {
  return atOnce(resolving(resolution));
}

/** Asks for the events that the resolution needs. One step goes one power levels event further back. */
function* loading({ version, separated, authDifference, event }: Resolution): Steps<void> {
  const needsChains = version.stateResolution !== 1;
  const candidates = conflictedIds(separated);
  if (needsChains) for (const id of authDifference) candidates.add(id);
  yield* asking(candidates, event);

  const related = new Set<string>();
  let count = 0;
  for (const id of candidates) {
    if (++count % EVENTS_AT_ONCE === 0) yield PAUSE;
    const found = event(id);
    if (!found) continue;
    if (needsChains) for (const authId of found.authEventIds) related.add(authId);
    for (const key of authTypesForEvent(version, found)) {
      const inState = separated.unconflicted.get(key);
      if (inState !== undefined) related.add(inState);
    }
  }
  const resolved = separated.unconflicted.get(POWER_LEVELS_KEY);
  if (needsChains && resolved !== undefined) related.add(resolved);
  yield* asking(related, event);
  if (!needsChains) return;

  // The mainline: from each power levels event to the one that authorised it.
  const seen = new Set<string>();
  for (let level: ReadonlySet<string> = related; level.size > 0;) {
    const further = new Set<string>();
    for (const id of level) {
      const found = event(id);
      if (!found || seen.has(id) || keyOf(found) !== POWER_LEVELS_KEY) continue;
      seen.add(id);
      for (const authId of found.authEventIds) if (!seen.has(authId)) further.add(authId);
    }
    yield* asking(further, event);
    level = further;
  }
}

/** Asks for those of the events that were not loaded, some at a time. */
function* asking(ids: Iterable<string>, event: EventLookup): Steps<void> {
  let missing: string[] = [];
  for (const id of ids) {
    if (event(id) !== undefined) continue;
    missing.push(id);
    if (missing.length < EVENTS_AT_ONCE) continue;
    yield missing;
    missing = [];
  }
  if (missing.length > 0) yield missing;
}
