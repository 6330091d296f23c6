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
  const count = new Map<StateKey, number>();
  for (const stateSet of stateSets) {
    for (const [key, id] of stateSet) {
      count.set(key, (count.get(key) ?? 0) + 1);
      const ids = conflicted.get(key);
      const agreed = unconflicted.get(key);
      if (ids !== undefined) {
        ids.add(id);
      } else if (agreed === undefined) {
        unconflicted.set(key, id);
      } else if (agreed !== id) {
        unconflicted.delete(key);
        conflicted.set(key, new Set([agreed, id]));
      }
    }
  }
  if (absenceMatters) {
    for (const [key, id] of unconflicted) {
      if (count.get(key) === stateSets.length) continue;
      unconflicted.delete(key);
      conflicted.set(key, new Set([id]));
    }
  }
  return { unconflicted, conflicted };
}
