import { PersistentMap } from "../../lib/persistent-map.ts";
import type { StateKey, StateMap } from "../../protocol/event/event.ts";

/** The state of a room at a point, as the caches hold it: versions of one room share structure. */
export type State = PersistentMap<StateKey, string>;

export const emptyState: State = PersistentMap.empty<StateKey, string>();
export const stateFrom = (entries: Iterable<readonly [StateKey, string]>): State => PersistentMap.from(entries);

/** As Synapse: a group that lies this many deltas above a full one is written in full. */
export const MAX_DELTA_HOPS = 100;

/**
 * A state group, stored or about to be. Groups are made while events are built, in memory; they get their number when the first
 * event that needs them is persisted (`id`), and lose it again if that transaction fails.
 */
export class StateSnapshot {
  /** `state_groups.id`; undefined while nothing is stored. */
  id: number | undefined;

  private constructor(
    readonly roomId: string,
    readonly map: State,
    /** The group this one is a delta on, until it is stored. */
    public base: StateSnapshot | undefined,
    /** Only additions and replacements: a group without a key that its base has is written in full. */
    public delta: readonly (readonly [StateKey, string])[] | undefined,
    /** Deltas between this group and a full one. */
    readonly hops: number,
  ) {}

  static stored(roomId: string, id: number, map: State, hops: number): StateSnapshot {
    const snapshot = new StateSnapshot(roomId, map, undefined, undefined, hops);
    snapshot.id = id;
    return snapshot;
  }

  /** A new group with the whole state, on no other. */
  static full(roomId: string, map: State): StateSnapshot {
    return new StateSnapshot(roomId, map, undefined, undefined, 0);
  }

  /** The group after one more state event; the same one when the state has that event already. */
  after(key: StateKey, eventId: string): StateSnapshot {
    return this.map.get(key) === eventId ? this : this.changed(this.map.set(key, eventId), [[key, eventId]]);
  }

  /** A group with the state `map`, written as a delta on this one where that can be. */
  become(map: State): StateSnapshot {
    if (map === this.map) return this;
    const changed = map.changedKeys(this.map);
    if (changed.length === 0) return this;
    const delta = changed.map((key) => [key, map.get(key)] as const);
    if (delta.some(([, id]) => id === undefined)) return StateSnapshot.full(this.roomId, map);
    return this.changed(map, delta as [StateKey, string][]);
  }

  /** The rows to write: a delta on `base`, or the full state when there is none. */
  rows(): { readonly base: StateSnapshot | undefined; readonly entries: Iterable<readonly [StateKey, string]> } {
    return this.base === undefined || this.delta === undefined ? { base: undefined, entries: this.map } : { base: this.base, entries: this.delta };
  }

  /** To be called when the group is stored for good: lets go of the groups below. */
  settle(): void {
    this.base = this.delta = undefined;
  }

  private changed(map: State, delta: readonly (readonly [StateKey, string])[]): StateSnapshot {
    return this.hops >= MAX_DELTA_HOPS ? StateSnapshot.full(this.roomId, map) : new StateSnapshot(this.roomId, map, this, delta, this.hops + 1);
  }
}

/** What part of a state is asked for: pairs of type and state key (undefined: any), or all types but some and these pairs beside. */
export type StateFilter = readonly StatePair[] | { readonly allBut: readonly string[]; readonly plus?: readonly StatePair[] };
export type StatePair = readonly [type: string, stateKey: string | undefined];

/** The part of `map` that the filter lets through; all of it without a filter. */
export function filterState(map: StateMap, filter: StateFilter | undefined): StateMap {
  if (filter === undefined) return map;
  const out = new Map<StateKey, string>();
  const pairs = "allBut" in filter ? (filter.plus ?? []) : filter;
  const whole = new Set<string>();
  for (const [type, stateKey] of pairs) {
    if (stateKey === undefined) {
      whole.add(type);
      continue;
    }
    const key: StateKey = `${type}\u0000${stateKey}`;
    const id = map.get(key);
    if (id !== undefined) out.set(key, id);
  }
  const allBut = "allBut" in filter ? new Set(filter.allBut) : undefined;
  if (whole.size > 0 || allBut !== undefined) {
    for (const [key, id] of map) {
      const type = key.slice(0, key.indexOf("\u0000"));
      if (whole.has(type) || (allBut !== undefined && !allBut.has(type))) out.set(key, id);
    }
  }
  return out;
}
