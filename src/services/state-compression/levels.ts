import type { StateKey } from "../../protocol/event/event.ts";
import type { State } from "../../storage/state/snapshot.ts";

/** A state group: how it is stored now, and what it stands for. */
export interface StoredGroup {
  readonly group: number;
  /** The group whose rows it builds on. */
  readonly base: number | undefined;
  /** Rows of `state_groups_state`. */
  readonly rows: number;
  /** The resolved state. */
  readonly state: State;
}

/** A run of groups that build on each other; `head` is its last one. */
export interface Level {
  readonly maxLength: number;
  readonly length: number;
  readonly head: number | undefined;
}

/** How a group is to be stored: the rows to write on `base`, all of the state without one. */
export interface Layout {
  readonly group: number;
  readonly base: number | undefined;
  readonly entries: readonly (readonly [StateKey, string])[];
}

export interface Plan {
  /** Only of groups that are to be stored differently. */
  readonly changes: readonly Layout[];
  readonly levels: readonly Level[];
  readonly rowsBefore: number;
  readonly rowsAfter: number;
}

export const emptyLevels = (sizes: readonly number[]): Level[] => sizes.map((maxLength) => ({ maxLength, length: 0, head: undefined }));

/**
 * Chooses for each group of a room, in the order of their numbers, which earlier group to store it as a difference from, so that few rows
 * are needed and no state takes more than the sum of the levels' sizes to put together.
 *
 * The groups are strung up in levels: a group follows the head of the lowest level that has room, and becomes the head of that level and
 * of those below, which begin anew. Full copies of a state, as servers write them every hundred groups, so become differences from a group
 * not far below. A group stays as it is stored where nothing is gained. Differences can add and replace, not remove: a group that lacks
 * something is stored on another base, or in full.
 *
 * @param groups  ascending by number
 * @param others  groups that the levels' heads and the stored bases stand for
 * @param depths  for `others`: how many groups lie below
 */
export function planLevels(
  groups: readonly StoredGroup[],
  levels: readonly Level[],
  others: ReadonlyMap<number, State>,
  depths: ReadonlyMap<number, number>,
): Plan {
  const states = new Map(others);
  const depthOf = new Map(depths);
  const limit = levels.reduce((sum, { maxLength }) => sum + maxLength, 0);
  const changes: Layout[] = [];
  let current = levels.map((level) => ({ ...level }));
  let rowsAfter = 0;
  for (const group of groups) {
    const at = current.findIndex(({ length, maxLength }) => length < maxLength);
    const heads = at === -1 ? [] : current.slice(at).flatMap(({ head }) => (head === undefined ? [] : [head]));
    const isFirst = at !== -1 && heads.length === 0;
    const best = cheapest(group, [...new Set(heads)], states, depthOf, limit);
    const base = best === undefined && isFirst ? group.base : best?.base;
    if (base === group.base) rowsAfter += group.rows;
    else {
      const entries = best === undefined ? [...group.state] : best.keys.map((key) => [key, group.state.get(key)!] as const);
      changes.push({ group: group.group, base, entries });
      rowsAfter += entries.length;
    }
    states.set(group.group, group.state);
    depthOf.set(group.group, base === undefined ? 0 : (depthOf.get(base) ?? 0) + 1);
    current = current.map((level, index) => {
      const { maxLength } = level;
      if (at !== -1 && index > at && level.head !== undefined) return level;
      const follows = index === at && base !== undefined && level.head !== undefined;
      return { maxLength, length: follows ? level.length + 1 : 1, head: group.group };
    });
  }
  return { changes, levels: current, rowsBefore: groups.reduce((sum, { rows }) => sum + rows, 0), rowsAfter };
}

/** The base on which the group takes the fewest rows, fewer than all of its state; its own one, where no other is better. */
function cheapest(
  group: StoredGroup,
  heads: readonly number[],
  states: ReadonlyMap<number, State>,
  depthOf: ReadonlyMap<number, number>,
  limit: number,
): { base: number; keys: StateKey[] } | undefined {
  let best: { base: number; keys: StateKey[]; rows: number } | undefined;
  for (const base of [...(group.base === undefined ? [] : [group.base]), ...heads]) {
    const state = states.get(base);
    if (state === undefined || base >= group.group || (depthOf.get(base) ?? 0) >= limit) continue;
    const keys = group.state.changedKeys(state);
    const own = base === group.base;
    if (keys.some((key) => !group.state.has(key))) continue;
    const rows = own ? group.rows : keys.length;
    if (rows < (best?.rows ?? (own ? Infinity : group.state.size))) best = { base, keys, rows };
  }
  return best;
}
