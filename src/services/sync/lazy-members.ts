import type { LRUCache } from "lru-cache";
import { lruCache } from "../../lib/lru-cache.ts";
import { splitStateKey, type StateKey } from "../../protocol/event/event.ts";
import type { RoomEntry, SyncRequest } from "./types.ts";

/** Sequences remembered, and members in each: as Synapse's. */
const MAX_SEQUENCES = 10_000;
const MAX_MEMBERS = 100;

/**
 * Which member events a client's sync sequence was sent lately, so that lazily loaded members are not repeated in each answer. Lost at a
 * restart: then members are sent once more.
 */
export class LazyMembers {
  private readonly sequences = lruCache<string, LRUCache<string, string>>(MAX_SEQUENCES, { ttl: 30 * 60_000 });

  /** Leaves out members that the client has, and remembers those that it is about to get. */
  deduplicate(request: SyncRequest, entry: RoomEntry, state: Map<StateKey, string>, timeline: ReadonlyMap<StateKey, string>): Map<StateKey, string> {
    if (request.filter.includeRedundantMembers) return state;
    const sent = this.sequence(request, entry.roomId, request.since === undefined);
    for (const [at, eventId] of state) {
      const [type, userId] = splitStateKey(at);
      if (type !== "m.room.member") continue;
      if (request.since !== undefined && sent.get(userId) === eventId && !entry.fullState) state.delete(at);
      else sent.set(userId, eventId);
    }
    for (const [at, eventId] of timeline) {
      const [type, userId] = splitStateKey(at);
      if (type === "m.room.member") sent.set(userId, eventId);
    }
    return state;
  }

  /** True when the client was sent this member event. */
  has(request: SyncRequest, roomId: string, userId: string, eventId: string): boolean {
    return this.sequence(request, roomId, false).get(userId) === eventId;
  }

  remember(request: SyncRequest, roomId: string, userId: string, eventId: string): void {
    this.sequence(request, roomId, false).set(userId, eventId);
  }

  private sequence(request: SyncRequest, roomId: string, anew: boolean): LRUCache<string, string> {
    const id = `${request.userId} ${request.deviceId ?? ""} ${roomId}`;
    let sequence = this.sequences.get(id);
    if (sequence === undefined || anew) this.sequences.set(id, (sequence = lruCache(MAX_MEMBERS)));
    return sequence;
  }
}
