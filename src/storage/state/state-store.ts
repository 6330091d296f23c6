import { LRUCache } from "lru-cache";
import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { lruCache } from "../../lib/lru-cache.ts";
import type { CacheReading } from "../../lib/metrics.ts";
import { UpdatableCache } from "../../lib/updatable-cache.ts";
import { type MatrixEvent, stateKeyOf, type StateKey, type StateMap } from "../../protocol/event/event.ts";
import type { ReadHandle } from "../database.ts";
import type { EventStore } from "../events/event-store.ts";
import { type MemberCounts, readCurrentState, readCurrentStates, readMemberCounts } from "./current.ts";
import { chainsHold, type GroupChain, groupChains, groupRows, stateGroupsOfEvents } from "./groups.ts";
import { emptyState, filterState, type State, type StateFilter, stateFrom, StateSnapshot } from "./snapshot.ts";

/** Reads of a chain that changes again and again meanwhile. */
const MAX_ATTEMPTS = 10;

const NOBODY: MemberCounts = { joined: 0, invited: 0 };

/** The keys that a filter asks for where it asks for nothing but single entries. */
function exactKeys(filter: StateFilter | undefined): StateKey[] | undefined {
  if (filter === undefined || "allBut" in filter || filter.length === 0 || filter.some(([, stateKey]) => stateKey === undefined)) return undefined;
  return filter.map(([type, stateKey]) => stateKeyOf(type, stateKey!));
}

/** Entries (type, state key, event id) that a cache of states may hold; states that share structure count little. */
const STATE_ENTRIES = 1_000_000;
/** Events whose state group number is remembered. */
const EVENT_GROUPS = 50_000;
/** Entries of states that are not held whole. */
const SINGLE_ENTRIES = 100_000;

/**
 * Reads room state: of now (`current...`), and at events, by state groups. What it returns is shared and immutable.
 *
 * Whole states are held as persistent maps: a version costs what it differs from the one before, and reading one state group of a
 * room loads the chain of deltas once for all.
 */
export class StateStore {
  private readonly currentMaps: UpdatableCache<string, State>;
  private readonly snapshots: UpdatableCache<number, StateSnapshot>;
  private readonly groupOfEvent: LRUCache<string, number>;
  /** Single entries of groups that are not held whole, as they were asked for; null: the group has none. Groups never change. */
  private readonly entries: LRUCache<number, ReadonlyMap<StateKey, string | null>>;
  /** Grows when groups are forgotten: what was read before is not held after. */
  private era = 0;
  private readonly counts = new WeakMap<State, Promise<MemberCounts>>();

  constructor(
    private readonly read: ReadHandle,
    private readonly events: EventStore,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.currentMaps = new UpdatableCache(sizeOf("get_partial_current_state_ids", STATE_ENTRIES), (map) => map.size + 1);
    // A snapshot that shares its structure with another is light; which one pays for the rest cannot be known.
    this.snapshots = new UpdatableCache(sizeOf("*stateGroupCache*", STATE_ENTRIES), (snapshot) => (snapshot.hops === 0 ? snapshot.map.size + 1 : 16));
    this.groupOfEvent = lruCache(sizeOf("_get_state_group_for_event", EVENT_GROUPS));
    this.entries = new LRUCache({ maxSize: sizeOf("*stateGroupCache*", SINGLE_ENTRIES), sizeCalculation: (map) => map.size });
  }

  /** The current state of the room: resolved over its forward extremities; empty when the server is not in the room. */
  async currentIds(roomId: string): Promise<State> {
    return await this.currentMaps.get(roomId, async () => stateFrom(await readCurrentState(this.read, roomId)));
  }

  /** The current states of many rooms: those that are not held are read by one query. */
  async currentIdsOf(roomIds: Iterable<string>): Promise<Map<string, State>> {
    const ids = [...new Set(roomIds)];
    const missing = ids.filter((roomId) => this.currentMaps.peek(roomId) === undefined);
    const loading = missing.length === 0 ? undefined : readCurrentStates(this.read, missing);
    const load = async (roomId: string): Promise<State> => stateFrom((await loading)?.get(roomId) ?? []);
    const states = await Promise.all(ids.map((roomId) => this.currentMaps.get(roomId, () => load(roomId))));
    return new Map(ids.map((roomId, index) => [roomId, states[index]!]));
  }

  /** How many members are joined and invited in rooms' current states, as `currentIds` gives them; a state is counted once, by one query for all rooms. */
  async memberCounts(states: ReadonlyMap<string, State>): Promise<Map<string, MemberCounts>> {
    const missing = [...states].filter(([, state]) => state.size > 0 && !this.counts.has(state));
    if (missing.length > 0) {
      const loading = readMemberCounts(
        this.read,
        missing.map(([roomId]) => roomId),
      );
      for (const [roomId, state] of missing) {
        const count = loading.then((rows) => rows.get(roomId) ?? NOBODY);
        this.counts.set(state, count);
        count.catch(() => this.counts.delete(state));
      }
    }
    const counts = await Promise.all([...states.values()].map(async (state) => (await this.counts.get(state)) ?? NOBODY));
    return new Map([...states.keys()].map((roomId, index) => [roomId, counts[index]!]));
  }

  /** Current state events, all of them or those of `keys`. */
  async current(roomId: string, keys?: Iterable<StateKey>): Promise<Map<StateKey, MatrixEvent>> {
    const ids = await this.currentIds(roomId);
    const wanted = keys === undefined ? [...ids] : [...keys].flatMap((key) => (ids.has(key) ? [[key, ids.get(key)!] as const] : []));
    return await this.hydrate(wanted);
  }

  /** One current state event. */
  async currentEvent(roomId: string, type: string, stateKey = ""): Promise<MatrixEvent | undefined> {
    const id = (await this.currentIds(roomId)).get(stateKeyOf(type, stateKey));
    return id === undefined ? undefined : await this.events.one(id);
  }

  /** The events of a state. */
  async hydrate(ids: Iterable<readonly [StateKey, string]>): Promise<Map<StateKey, MatrixEvent>> {
    const pairs = [...ids];
    const events = await this.events.get(pairs.map(([, id]) => id));
    const out = new Map<StateKey, MatrixEvent>();
    for (const [key, id] of pairs) {
      const event = events.get(id);
      if (event !== undefined) out.set(key, event);
    }
    return out;
  }

  /** State group of each event that has one (outliers have none). */
  async groupsOfEvents(eventIds: Iterable<string>): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    const missing: string[] = [];
    for (const id of eventIds) {
      const group = this.groupOfEvent.get(id);
      if (group === undefined) missing.push(id);
      else found.set(id, group);
    }
    for (const [id, group] of await stateGroupsOfEvents(this.read, missing)) {
      found.set(id, group);
      this.groupOfEvent.set(id, group);
    }
    return found;
  }

  /** The states of these groups, whole or as far as the filter asks. Unknown groups are left out. */
  async groups(groups: Iterable<number>, filter?: StateFilter): Promise<Map<number, StateMap>> {
    const out = new Map<number, StateMap>();
    const missing: number[] = [];
    const keys = exactKeys(filter);
    for (const group of new Set(groups)) {
      const snapshot = this.snapshots.peek(group);
      const held = snapshot === undefined ? this.entriesOf(group, keys) : filterState(snapshot.map, filter);
      if (held === undefined) missing.push(group);
      else out.set(group, held);
    }
    if (missing.length === 0) return out;
    if (filter === undefined) {
      for (const [group, snapshot] of await this.loadSnapshots(missing)) out.set(group, snapshot.map);
      return out;
    }
    const era = this.era;
    const { chains, rows } = await this.loadRows(missing, (all) => new Set(all.map(({ group }) => group)), filter);
    const built = new Map<number, State>();
    for (const { group, base } of chains) {
      built.set(group, ((base === undefined ? undefined : built.get(base)) ?? emptyState).with(rows.get(group) ?? []));
    }
    for (const group of missing) {
      const state = built.get(group);
      if (state === undefined) continue;
      out.set(group, state);
      if (keys !== undefined && era === this.era) this.rememberEntries(group, keys, state);
    }
    return out;
  }

  /** The state after each event (with it, when it is a state event). Events without a state (outliers, unknown) are left out. */
  async afterEvents(eventIds: Iterable<string>, filter?: StateFilter): Promise<Map<string, StateMap>> {
    const groupOf = await this.groupsOfEvents(eventIds);
    const states = await this.groups(groupOf.values(), filter);
    const out = new Map<string, StateMap>();
    for (const [id, group] of groupOf) {
      const state = states.get(group);
      if (state !== undefined) out.set(id, state);
    }
    return out;
  }

  /** The state before an event: without it, when it is a state event. Undefined for outliers. */
  async beforeEvent(event: MatrixEvent, filter?: StateFilter): Promise<StateMap | undefined> {
    const group = (await this.groupsOfEvents([event.eventId])).get(event.eventId);
    if (group === undefined) return undefined;
    const after = (await this.groups([group], filter)).get(group);
    if (after === undefined || event.stateKey === undefined || event.rejectedReason !== undefined) return after;
    const key = stateKeyOf(event.type, event.stateKey);
    if (after.get(key) !== event.eventId) return after; // the filter left it out, or it lost a resolution
    const previous = await this.replacedBy(event, group, key);
    const before = stateFrom(after);
    return previous === undefined ? before.without([key]) : before.set(key, previous);
  }

  /** The group with its whole state, as the builders of new events need it. */
  async snapshot(group: number): Promise<StateSnapshot | undefined> {
    return this.snapshots.peek(group) ?? (await this.loadSnapshots([group])).get(group);
  }

  /** The groups with their whole states. */
  async snapshotsOf(groups: Iterable<number>): Promise<Map<number, StateSnapshot>> {
    const out = new Map<number, StateSnapshot>();
    const missing: number[] = [];
    for (const group of new Set(groups)) {
      const snapshot = this.snapshots.peek(group);
      if (snapshot === undefined) missing.push(group);
      else out.set(group, snapshot);
    }
    if (missing.length > 0) for (const [group, snapshot] of await this.loadSnapshots(missing)) out.set(group, snapshot);
    return out;
  }

  // ------------------------------------------------------------------------------------------------ kept in step by the persister

  /** An event's group is stored. */
  remember(eventId: string, snapshot: StateSnapshot): void {
    if (snapshot.id === undefined) return;
    this.groupOfEvent.set(eventId, snapshot.id);
    if (this.snapshots.peek(snapshot.id) === undefined) this.snapshots.set(snapshot.id, snapshot);
  }

  /** The current state of a room became `map`. */
  currentBecame(roomId: string, map: State): void {
    this.currentMaps.set(roomId, map);
  }

  /** The room's current state was changed by other means (purge, deletion, another process): read it anew. */
  forgetRoom(roomId: string): void {
    this.currentMaps.delete(roomId);
  }

  /** State groups were removed or rewritten, or events got other groups. */
  forgetGroups(): void {
    this.era++;
    this.snapshots.clear();
    this.entries.clear();
    this.groupOfEvent.clear();
  }

  /** Readings of the caches under Synapse's names, for the metrics. */
  get caches(): Readonly<Record<string, () => CacheReading>> {
    return { get_partial_current_state_ids: () => this.currentMaps.reading, "*stateGroupCache*": () => this.snapshots.reading };
  }

  /** These entries of the group where all of them are held. */
  private entriesOf(group: number, keys: readonly StateKey[] | undefined): StateMap | undefined {
    const held = keys === undefined ? undefined : this.entries.get(group);
    if (held === undefined) return undefined;
    const state = new Map<StateKey, string>();
    for (const key of keys!) {
      const id = held.get(key);
      if (id === undefined) return undefined;
      if (id !== null) state.set(key, id);
    }
    return state;
  }

  private rememberEntries(group: number, keys: readonly StateKey[], state: StateMap): void {
    const map = new Map(this.entries.get(group));
    for (const key of keys) map.set(key, state.get(key) ?? null);
    this.entries.set(group, map);
  }

  private async loadSnapshots(groups: readonly number[]): Promise<Map<number, StateSnapshot>> {
    // Groups of the chain that are held already need no rows; what only they stand on, neither. Taken hold of at once: another reader may
    // bring the same groups into the cache while this one waits, and they may drop out of it.
    const held = new Map<number, StateSnapshot>();
    const missing = (all: readonly GroupChain[]): Set<number> => {
      const needed = new Set<number>();
      const baseOf = new Map(all.map(({ group, base }) => [group, base]));
      held.clear();
      for (const start of groups) {
        for (let at: number | undefined = start; at !== undefined && !needed.has(at) && !held.has(at); at = baseOf.get(at)) {
          const snapshot = this.snapshots.peek(at);
          if (snapshot === undefined) needed.add(at);
          else held.set(at, snapshot);
        }
      }
      return needed;
    };
    const { chains, rows, needed } = await this.loadRows(groups, missing, undefined);
    const built = new Map<number, StateSnapshot>(held);
    for (const { group, roomId, base } of chains) {
      if (!needed.has(group)) continue;
      const below = base === undefined ? undefined : built.get(base);
      const map = (below?.map ?? emptyState).with(rows.get(group) ?? []);
      built.set(group, StateSnapshot.stored(roomId, group, map, below === undefined ? 0 : below.hops + 1));
    }
    const out = new Map<number, StateSnapshot>();
    for (const group of groups) {
      const snapshot = built.get(group);
      if (snapshot === undefined) continue;
      if (needed.has(group)) this.snapshots.set(group, snapshot);
      out.set(group, snapshot);
    }
    return out;
  }

  /** The chains of groups and the rows of those that are needed: both of the same moment, though compression may store groups anew meanwhile. */
  private async loadRows(
    groups: readonly number[],
    choose: (chains: readonly GroupChain[]) => Set<number>,
    filter: StateFilter | undefined,
  ): Promise<{ chains: readonly GroupChain[]; rows: ReadonlyMap<number, [StateKey, string][]>; needed: ReadonlySet<number> }> {
    for (let attempt = 1; ; attempt++) {
      const chains = await groupChains(this.read, groups);
      const needed = choose(chains);
      const found = await groupRows(this.read, [...needed], filter);
      if (chainsHold(chains, found, needed)) return { chains, rows: found.rows, needed };
      if (attempt === MAX_ATTEMPTS) throw new Error(`State groups ${groups.join(", ")} changed while they were read`);
    }
  }

  /** What stood at `key` before the event: after the one event it follows, else by the delta of its group, else as the event itself says. */
  private async replacedBy(event: MatrixEvent, group: number, key: StateKey): Promise<string | undefined> {
    const [previous, ...more] = event.prevEventIds;
    const before = previous === undefined || more.length > 0 ? undefined : (await this.groupsOfEvents([previous])).get(previous);
    if (before !== undefined) return (await this.groups([before], [[event.type, event.stateKey]])).get(before)?.get(key);
    // Compression may have put the group on another base, but then its delta is rarely this one entry.
    const chain = (await groupChains(this.read, [group])).find((link) => link.group === group);
    if (chain?.base !== undefined) {
      const [own, below] = await Promise.all([groupRows(this.read, [group], undefined), this.groups([chain.base], [[event.type, event.stateKey]])]);
      const delta = own.rows.get(group) ?? [];
      if (delta.length === 1 && delta[0]![0] === key) return below.get(chain.base)?.get(key);
    }
    const replaces = event.unsigned.replaces_state;
    return typeof replaces === "string" ? replaces : undefined;
  }
}
