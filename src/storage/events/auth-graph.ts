import type { LRUCache } from "lru-cache";
import { systemClock } from "../../lib/clock.ts";
import { lruCache } from "../../lib/lru-cache.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { query, type ReadHandle } from "../database.ts";

/** Auth events of each of these state events; unknown ones and those without are left out. */
export async function readAuthEdges(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, string[]>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{ event_id: string; auth_ids: string[] }>(
    read,
    `SELECT a.event_id, array_agg(DISTINCT a.auth_id) AS auth_ids FROM event_auth AS a WHERE a.event_id = ANY($1) GROUP BY a.event_id`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, row.auth_ids]));
}

/** Events visited between two turns of the event loop, and asked for by one query. */
const VISITED_AT_ONCE = 20_000;
const READ_AT_ONCE = 5_000;

/**
 * Which events authorised which. What an event refers to never changes, so edges are remembered; a walk asks for what it lacks level by
 * level, one query each.
 */
export class AuthGraph {
  private readonly edges: LRUCache<string, readonly string[]>;

  constructor(
    private readonly read: ReadHandle,
    /** Events whose edges are remembered. */
    limit = 300_000,
  ) {
    this.edges = lruCache(limit);
  }

  /**
   * The auth edges of these events and of all in their auth chains. `known`: events that are not stored yet. Events that are not
   * known at all have no edges.
   */
  async below(eventIds: Iterable<string>, known: ReadonlyMap<string, MatrixEvent> = new Map()): Promise<Map<string, readonly string[]>> {
    const found = new Map<string, readonly string[]>();
    for (let level = new Set(eventIds); level.size > 0;) {
      const next = new Set<string>();
      const missing: string[] = [];
      const take = (id: string, ids: readonly string[]): void => {
        found.set(id, ids);
        for (const authId of ids) next.add(authId);
      };
      for (const id of level) {
        if (found.has(id)) continue;
        const ids = known.get(id)?.authEventIds ?? this.edges.get(id);
        if (ids === undefined) missing.push(id);
        else take(id, ids);
      }
      if (missing.length > 0) {
        const stored = await readAuthEdges(this.read, missing);
        for (const id of missing) {
          const ids = stored.get(id);
          if (ids !== undefined) this.edges.set(id, ids);
          take(id, ids ?? []);
        }
      }
      for (const id of found.keys()) next.delete(id);
      level = next;
    }
    return found;
  }

  /** Those of the `wanted` events that are among these or in their auth chains. Gives others their turn on the way. */
  async among(wanted: ReadonlySet<string>, eventIds: Iterable<string>, known: ReadonlyMap<string, MatrixEvent> = new Map()): Promise<Set<string>> {
    const found = new Set<string>();
    const seen = new Set<string>();
    let count = 0;
    for (let level = eventIds; found.size < wanted.size;) {
      const next: string[] = [];
      const missing: string[] = [];
      const take = (ids: readonly string[]): void => {
        for (const id of ids) {
          if (seen.has(id)) continue;
          seen.add(id);
          next.push(id);
        }
      };
      for (const id of level) {
        if (++count % VISITED_AT_ONCE === 0) await systemClock.sleep(0);
        if (wanted.has(id)) found.add(id);
        const ids = known.get(id)?.authEventIds ?? this.edges.get(id);
        if (ids === undefined) missing.push(id);
        else take(ids);
      }
      for (let at = 0; at < missing.length; at += READ_AT_ONCE) {
        const stored = await readAuthEdges(this.read, missing.slice(at, at + READ_AT_ONCE));
        for (const [id, ids] of stored) {
          this.edges.set(id, ids);
          take(ids);
        }
      }
      if (next.length === 0) break;
      level = next;
    }
    return found;
  }

  /** Ids of all events in the auth chains of these, without them (unless one is in another's). */
  async chain(eventIds: Iterable<string>, known?: ReadonlyMap<string, MatrixEvent>): Promise<Set<string>> {
    const out = new Set<string>();
    for (const ids of (await this.below(eventIds, known)).values()) for (const id of ids) out.add(id);
    return out;
  }
}
