import { PersistentMap } from "../../lib/persistent-map.ts";
import type { StateKey, StateMap } from "../event/event.ts";
import type { RoomVersion } from "../room-versions.ts";
import { addHolder, allBut, type Holders, nobody } from "./holders.ts";
import { atOnce, PAUSE, type Steps } from "./steps.ts";

export interface Separated {
  /** The number of states. */
  readonly states: number;
  /** Shares structure with the first of the states. */
  readonly unconflicted: PersistentMap<StateKey, string>;
  /** By key what the states have there, and which of them. */
  readonly conflicted: ReadonlyMap<StateKey, ReadonlyMap<string, Holders>>;
}

/** What is at a key where a state differs from the first one. */
interface Disputed {
  readonly first: string | undefined;
  readonly ids: Map<string, Holders>;
  readonly differing: Holders;
  isAbsent: boolean;
}

const KEYS_AT_ONCE = 1000;

/**
 * Divides states into what they agree on and what not. In room version 1 a key that is only in some of them is no conflict; from
 * version 2 on it is. States are large, differ in little, and share their structure: this costs what differs.
 */
export function* separating(stateSets: readonly StateMap[], version: RoomVersion): Steps<Separated> {
  const states = stateSets.length;
  const base = PersistentMap.from(stateSets[0] ?? []);
  const disputed = new Map<StateKey, Disputed>();
  for (const [index, stateSet] of stateSets.entries()) {
    PersistentMap.from(stateSet).compareWith(base, (key, id, first) => {
      let at = disputed.get(key);
      if (at === undefined) disputed.set(key, (at = { first, ids: new Map(), differing: nobody(states), isAbsent: first === undefined }));
      addHolder(at.differing, index);
      if (id === undefined) at.isAbsent = true;
      else addHolder(held(at.ids, id, states), index);
    });
    yield PAUSE;
  }

  const absenceMatters = version.stateResolution !== 1;
  const conflicted = new Map<StateKey, ReadonlyMap<string, Holders>>();
  const agreed: [StateKey, string][] = [];
  for (const [key, { first, ids, differing, isAbsent }] of disputed) {
    if (first !== undefined) ids.set(first, allBut(differing, states));
    if (ids.size > 1 || (isAbsent && absenceMatters)) conflicted.set(key, ids);
    else for (const id of ids.keys()) agreed.push([key, id]);
  }
  let unconflicted = base.with(agreed);
  const keys = [...conflicted.keys()];
  for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
    yield PAUSE;
    unconflicted = unconflicted.without(keys.slice(at, at + KEYS_AT_ONCE));
  }
  return { states, unconflicted, conflicted };
}

/** As `separating`, at once. */
export function separate(stateSets: readonly StateMap[], version: RoomVersion): Separated {
  return atOnce(separating(stateSets, version));
}

/** Ids of all events that are in conflict. */
export function conflictedIds({ conflicted }: Separated): Set<string> {
  const ids = new Set<string>();
  for (const some of conflicted.values()) for (const id of some.keys()) ids.add(id);
  return ids;
}

function held(ids: Map<string, Holders>, id: string, states: number): Holders {
  let holders = ids.get(id);
  if (holders === undefined) ids.set(id, (holders = nobody(states)));
  return holders;
}
