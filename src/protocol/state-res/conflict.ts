import type { StateKey, StateMap } from "../event/event.ts";
import type { RoomVersion } from "../room-versions.ts";

export interface Separated {
  readonly unconflicted: Map<StateKey, string>;
  readonly conflicted: Map<StateKey, Set<string>>;
}

/**
 * Divides states into what they agree on and what not. In room version 1 a key that is only in some of them is no conflict; from
 * version 2 on it is.
 */
export function separate(stateSets: readonly StateMap[], version: RoomVersion): Separated {
  const unconflicted = new Map<StateKey, string>();
  const conflicted = new Map<StateKey, Set<string>>();
  const absenceMatters = version.stateResolution !== 1;
  const file = (key: StateKey): void => {
    const ids = new Set<string>();
    let isAbsent = false;
    for (const stateSet of stateSets) {
      const id = stateSet.get(key);
      if (id === undefined) isAbsent = true;
      else ids.add(id);
    }
    if (ids.size > 1 || (isAbsent && absenceMatters)) conflicted.set(key, ids);
    else for (const id of ids) unconflicted.set(key, id);
  };
  const [first, ...others] = stateSets;
  if (first === undefined) return { unconflicted, conflicted };
  // States are large and differ in little: most keys are done with by comparing.
  const shared = others.map(() => 0);
  for (const [key, id] of first) {
    let isSame = true;
    for (let i = 0; i < others.length; i++) {
      const other = others[i]!.get(key);
      if (other !== undefined) shared[i]!++;
      if (other !== id) isSame = false;
    }
    if (isSame) unconflicted.set(key, id);
    else file(key);
  }
  for (const [index, other] of others.entries()) {
    if (other.size === shared[index]) continue;
    for (const key of other.keys()) if (!first.has(key) && !conflicted.has(key) && !unconflicted.has(key)) file(key);
  }
  return { unconflicted, conflicted };
}
