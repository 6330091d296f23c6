import { UpdatableCache } from "../../../lib/updatable-cache.ts";
import { type MatrixEvent, type StateKey, stateKeyOf } from "../../../protocol/event/event.ts";
import { query, queryOne, type ReadHandle } from "../../database.ts";
import type { ChainPlan } from "./batch.ts";

/**
 * The chain cover index: each state event has a place (chain, sequence number) such that events of one chain are in each other's auth
 * chains, and links between chains tell the rest, so that "is B in the auth chain of A" needs no walk over events. Links are direct
 * ones only, to be followed by the reader (Synapse's schema compatibility version 84): risk 59.
 */
type Position = readonly [chain: number, sequence: number];

interface Link {
  readonly from: number;
  readonly target: number;
  readonly to: number;
}

/** What is known of one room's index: filled as far as new events asked for it. */
class RoomIndex {
  readonly positions = new Map<string, Position>();
  readonly keys = new Map<string, StateKey>();
  readonly highest = new Map<number, number>();
  /** Links by origin chain; complete for the chains that are here. */
  readonly links = new Map<number, Link[]>();
  constructor(
    readonly enabled: boolean,
    /** Events that wait for auth events (invites from rooms that the server was not in). */
    readonly waiting: Map<string, StateKey>,
  ) {}
}

interface Work {
  readonly key: StateKey;
  readonly authIds: readonly string[];
  /** False for events that were stored before, out of band. */
  readonly isNew: boolean;
}

export class ChainCover {
  private readonly rooms: UpdatableCache<string, RoomIndex>;

  constructor(
    private readonly read: ReadHandle,
    /** Positions kept, of all rooms together. */
    limit = 300_000,
  ) {
    this.rooms = new UpdatableCache(limit, (index) => index.positions.size + 16);
  }

  /**
   * Places for the new state events of a room, to be written with them. `fresh`: this server has just made them, so they cannot
   * have a place. Undefined when the room has no index or there is nothing to place.
   */
  async plan(roomId: string, events: readonly MatrixEvent[], fresh: boolean): Promise<ChainPlan | undefined> {
    const state = new Map<string, Work>();
    for (const event of events) {
      if (event.stateKey !== undefined)
        state.set(event.eventId, { key: stateKeyOf(event.type, event.stateKey), authIds: [...new Set(event.authEventIds)], isNew: true });
    }
    if (state.size === 0) return undefined;
    const index = await this.rooms.get(roomId, () => loadIndex(this.read, roomId));
    if (!index.enabled) return undefined;
    if (!fresh) {
      await loadPositions(this.read, index, [...state.keys()]);
      for (const id of state.keys()) if (index.positions.has(id)) state.delete(id);
      if (state.size === 0) return undefined;
    }
    await this.addWaiting(index, state);
    await this.addAuthEvents(index, state);
    const order = topologically(state);
    const waiting = this.setAside(index, state, order);
    const placed = order.filter((id) => state.has(id));
    if (placed.length === 0) return { positions: [], links: [], waiting, newChains: 0 };
    await this.loadChains(index, state, placed);
    return { ...place(index, state, placed), waiting };
  }

  /** The plan was written; its chains have their numbers. */
  written(roomId: string, plan: ChainPlan, events: readonly MatrixEvent[]): void {
    this.rooms.update(roomId, (index) => {
      for (const event of events) if (event.stateKey !== undefined) index.keys.set(event.eventId, stateKeyOf(event.type, event.stateKey));
      for (const { eventId, chain, sequence } of plan.positions) {
        index.positions.set(eventId, [chain, sequence]);
        index.waiting.delete(eventId);
        index.highest.set(chain, Math.max(index.highest.get(chain) ?? 0, sequence));
        if (sequence === 1 && !index.links.has(chain)) index.links.set(chain, []);
      }
      for (const link of plan.links) index.links.get(link.originChain)?.push({ from: link.originSequence, target: link.targetChain, to: link.targetSequence });
      for (const { eventId, type, stateKey } of plan.waiting) index.waiting.set(eventId, stateKeyOf(type, stateKey));
      return index;
    });
  }

  /** The room's index changed by other means, or a write failed. */
  forgetRoom(roomId: string): void {
    this.rooms.delete(roomId);
  }

  /** Events of the room that were set aside earlier get another chance. */
  private async addWaiting(index: RoomIndex, state: Map<string, Work>): Promise<void> {
    const ids = [...index.waiting.keys()].filter((id) => !state.has(id));
    if (ids.length === 0) return;
    const authIds = await readAuthIds(this.read, ids);
    for (const id of ids) state.set(id, { key: index.waiting.get(id)!, authIds: authIds.get(id) ?? [], isNew: false });
  }

  /** Places of the auth events; those without one were stored out of band and are placed as well. */
  private async addAuthEvents(index: RoomIndex, state: Map<string, Work>): Promise<void> {
    const seen = new Set<string>();
    for (;;) {
      const wanted = new Set<string>();
      for (const { authIds } of state.values()) {
        for (const id of authIds) if (!state.has(id) && !seen.has(id) && !(index.positions.has(id) && index.keys.has(id))) wanted.add(id);
      }
      if (wanted.size === 0) return;
      const stored = await loadPositions(this.read, index, [...wanted]);
      const unplaced = stored.filter((id) => !index.positions.has(id));
      const authIds = unplaced.length === 0 ? new Map<string, string[]>() : await readAuthIds(this.read, unplaced);
      for (const id of unplaced) state.set(id, { key: index.keys.get(id)!, authIds: authIds.get(id) ?? [], isNew: false });
      for (const id of wanted) seen.add(id);
    }
  }

  /** Takes out events with an unknown auth event; the new ones of them are noted, for when it arrives. */
  private setAside(index: RoomIndex, state: Map<string, Work>, order: readonly string[]): ChainPlan["waiting"] {
    const waiting: { eventId: string; type: string; stateKey: string }[] = [];
    for (const id of order) {
      const { authIds, key, isNew } = state.get(id)!;
      if (authIds.every((authId) => index.positions.has(authId) || state.has(authId))) continue;
      state.delete(id);
      const at = key.indexOf("\u0000");
      if (isNew) waiting.push({ eventId: id, type: key.slice(0, at), stateKey: key.slice(at + 1) });
    }
    return waiting;
  }

  /** Highest numbers of the chains that may be continued, and the links that lead on from all chains in play. */
  private async loadChains(index: RoomIndex, state: ReadonlyMap<string, Work>, placed: readonly string[]): Promise<void> {
    const chains = new Set<number>();
    for (const id of placed) for (const authId of state.get(id)!.authIds) if (index.positions.has(authId)) chains.add(index.positions.get(authId)![0]);
    const unknownHighest = [...chains].filter((chain) => !index.highest.has(chain));
    const unknownLinks = [...chains].filter((chain) => !index.links.has(chain));
    await Promise.all([
      unknownHighest.length > 0 && loadHighest(this.read, index, unknownHighest),
      unknownLinks.length > 0 && loadLinks(this.read, index, unknownLinks),
    ]);
  }
}

/** Chains and links for events in topological order. New chains have the numbers -1, -2, ... */
function place(index: RoomIndex, state: ReadonlyMap<string, Work>, placed: readonly string[]): Omit<ChainPlan, "waiting"> {
  const positions = new Map<string, Position>();
  const at = (id: string): Position => positions.get(id) ?? index.positions.get(id)!;
  const highest = new Map<number, number>();
  const links: { originChain: number; originSequence: number; targetChain: number; targetSequence: number }[] = [];
  const added = new Map<number, Link[]>();
  let newChains = 0;
  for (const id of placed) {
    const { key, authIds } = state.get(id)!;
    // An event continues the chain of the event that it replaces, unless somebody else did so before.
    const replaced = authIds.find((authId) => (state.get(authId)?.key ?? index.keys.get(authId)) === key);
    const before = replaced === undefined ? undefined : at(replaced);
    const top = before === undefined ? 0 : (highest.get(before[0]) ?? index.highest.get(before[0]) ?? 0);
    const position: Position = before !== undefined && top < before[1] + 1 ? [before[0], before[1] + 1] : [-++newChains, 1];
    positions.set(id, position);
    highest.set(position[0], position[1]);

    const targets = new Set(authIds.filter((authId) => at(authId)[0] !== position[0]));
    for (const start of authIds) {
      for (const end of authIds) if (start !== end && reaches(index, added, at(start), at(end))) targets.delete(end);
    }
    for (const target of targets) {
      const [targetChain, targetSequence] = at(target);
      links.push({ originChain: position[0], originSequence: position[1], targetChain, targetSequence });
      let list = added.get(position[0]);
      if (list === undefined) added.set(position[0], (list = []));
      list.push({ from: position[1], target: targetChain, to: targetSequence });
    }
  }
  return { positions: placed.map((id) => ({ eventId: id, chain: at(id)[0], sequence: at(id)[1] })), links, newChains };
}

/** Whether the event at `end` is in the auth chain of (or is) the one at `start`. */
function reaches(index: RoomIndex, added: ReadonlyMap<number, Link[]>, start: Position, end: Position): boolean {
  if (start[0] === end[0]) return end[1] <= start[1];
  const visited = new Map<number, number>();
  const search: Position[] = [start];
  for (let next = search.pop(); next !== undefined; next = search.pop()) {
    const [chain, sequence] = next;
    visited.set(chain, Math.max(sequence, visited.get(chain) ?? 0));
    for (const list of [index.links.get(chain), added.get(chain)]) {
      for (const { from, target, to } of list ?? []) {
        if (from > sequence || to <= (visited.get(target) ?? 0)) continue;
        if (target !== end[0]) search.push([target, to]);
        else if (end[1] <= to) return true;
      }
    }
  }
  return false;
}

/** Auth events before the events that name them. */
function topologically(state: ReadonlyMap<string, Work>): string[] {
  const order: string[] = [];
  const done = new Set<string>();
  for (const start of state.keys()) {
    const stack: [id: string, next: number][] = done.has(start) ? [] : [[start, 0]];
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const authIds = state.get(top[0])!.authIds;
      if (top[1] === 0) done.add(top[0]);
      const next = authIds[top[1]++];
      if (next === undefined) {
        order.push(top[0]);
        stack.pop();
      } else if (state.has(next) && !done.has(next)) {
        stack.push([next, 0]);
      }
    }
  }
  return order;
}

async function loadIndex(read: ReadHandle, roomId: string): Promise<RoomIndex> {
  const room = await queryOne<{ has_auth_chain_index: boolean | null; waiting: [string, string, string][] | null }>(
    read,
    `SELECT r.has_auth_chain_index,
       (SELECT json_agg(json_build_array(c.event_id, c.type, c.state_key)) FROM event_auth_chain_to_calculate AS c WHERE c.room_id = r.room_id) AS waiting
     FROM rooms AS r WHERE r.room_id = $1`,
    [roomId],
  );
  const waiting = (room?.waiting ?? []).map(([id, type, stateKey]) => [id, stateKeyOf(type, stateKey)] as const);
  return new RoomIndex(room !== undefined && room.has_auth_chain_index !== false, new Map(waiting));
}

/** Reads places and keys of stored state events; returns the ids that exist. */
async function loadPositions(read: ReadHandle, index: RoomIndex, eventIds: readonly string[]): Promise<string[]> {
  const rows = await query<{ event_id: string; type: string; state_key: string; chain_id: number | null; sequence_number: number | null }>(
    read,
    `SELECT s.event_id, s.type, s.state_key, c.chain_id, c.sequence_number
     FROM state_events AS s LEFT JOIN event_auth_chains AS c ON c.event_id = s.event_id WHERE s.event_id = ANY($1)`,
    [eventIds],
  );
  for (const row of rows) {
    index.keys.set(row.event_id, stateKeyOf(row.type, row.state_key));
    if (row.chain_id !== null) index.positions.set(row.event_id, [row.chain_id, row.sequence_number!]);
  }
  return rows.map((row) => row.event_id);
}

async function readAuthIds(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, string[]>> {
  const rows = await query<{ event_id: string; auth_ids: string[] }>(
    read,
    `SELECT a.event_id, array_agg(DISTINCT a.auth_id) AS auth_ids FROM event_auth AS a WHERE a.event_id = ANY($1) GROUP BY a.event_id`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, row.auth_ids]));
}

async function loadHighest(read: ReadHandle, index: RoomIndex, chains: readonly number[]): Promise<void> {
  const rows = await query<{ chain_id: number; highest: number }>(
    read,
    `SELECT c.chain_id, max(c.sequence_number) AS highest FROM event_auth_chains AS c WHERE c.chain_id = ANY($1::bigint[]) GROUP BY c.chain_id`,
    [chains],
  );
  for (const row of rows) index.highest.set(row.chain_id, row.highest);
}

async function loadLinks(read: ReadHandle, index: RoomIndex, chains: readonly number[]): Promise<void> {
  const rows = await query<{ origin: number; from: number | null; target: number | null; to: number | null }>(
    read,
    `WITH RECURSIVE reached (chain) AS (
       SELECT unnest($1::bigint[])
       UNION
       SELECT l.target_chain_id FROM reached AS r JOIN event_auth_chain_links AS l ON l.origin_chain_id = r.chain
     )
     SELECT r.chain AS origin, l.origin_sequence_number AS "from", l.target_chain_id AS target, l.target_sequence_number AS "to"
     FROM reached AS r LEFT JOIN event_auth_chain_links AS l ON l.origin_chain_id = r.chain`,
    [chains],
  );
  const loaded = new Map<number, Link[]>();
  for (const row of rows) {
    let list = loaded.get(row.origin);
    if (list === undefined) loaded.set(row.origin, (list = []));
    if (row.target !== null) list.push({ from: row.from!, target: row.target, to: row.to! });
  }
  for (const [chain, list] of loaded) index.links.set(chain, list);
}
