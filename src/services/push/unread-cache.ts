import { lruCache } from "../../lib/lru-cache.ts";
import type { ThreadCounts, UnreadCounts } from "../../storage/push/counts.ts";
import type { EventToPersist } from "../events/event-to-persist.ts";
import type { StoredEvents } from "../events/publish.ts";

type Load = (userId: string, roomIds: readonly string[]) => Promise<ReadonlyMap<string, UnreadCounts>>;

interface RoomCounts {
  /** Changes with everything that may change a count, so that a load under way is not kept. */
  version: number;
  readonly byUser: Map<string, UnreadCounts>;
}

const NOTHING: ThreadCounts = { notifications: 0, highlights: 0, unread: 0 };
const EMPTY: UnreadCounts = { main: NOTHING, threads: new Map() };
const ROOMS = 20_000;

/**
 * Unread counts of users who sync, kept in step with what is stored: a new event adds to the counts at hand, a receipt or a change of
 * membership forgets those of its user, a redaction those of its room. Woken clients are told without a query.
 */
export class UnreadCache {
  private readonly rooms = lruCache<string, RoomCounts>(ROOMS);

  constructor(private readonly load: Load) {}

  /** Counts of a user by room; rooms with nothing unread may be absent. */
  async counts(userId: string, roomIds: readonly string[]): Promise<ReadonlyMap<string, UnreadCounts>> {
    const found = new Map<string, UnreadCounts>();
    const missing: { roomId: string; room: RoomCounts; version: number }[] = [];
    for (const roomId of roomIds) {
      let room = this.rooms.get(roomId);
      if (room === undefined) this.rooms.set(roomId, (room = { version: 0, byUser: new Map() }));
      const counts = room.byUser.get(userId);
      if (counts === undefined) missing.push({ roomId, room, version: room.version });
      else found.set(roomId, counts);
    }
    if (missing.length === 0) return found;
    const loaded = await this.load(
      userId,
      missing.map(({ roomId }) => roomId),
    );
    for (const { roomId, room, version } of missing) {
      const counts = loaded.get(roomId) ?? EMPTY;
      found.set(roomId, counts);
      if (room.version === version) room.byUser.set(userId, counts);
    }
    return found;
  }

  /** Events were stored: see `Publisher.onStored`. */
  stored({ roomId, backfilled, items, memberships, redacted }: StoredEvents): void {
    if (this.rooms.peek(roomId) === undefined) return;
    if (redacted) this.forgetRoom(roomId);
    if (!backfilled) for (const item of items) this.add(roomId, item);
    for (const { userId } of memberships) this.forget(roomId, userId);
  }

  private add(roomId: string, item: EventToPersist): void {
    const room = this.rooms.peek(roomId);
    if (room === undefined) return;
    room.version++;
    for (const action of item.push ?? []) {
      const counts = room.byUser.get(action.userId);
      if (counts !== undefined)
        room.byUser.set(action.userId, added(counts, action.threadId, Number(action.notif), Number(action.highlight), Number(action.unread)));
    }
    for (const { users, except, threadId } of item.crowd ?? []) {
      const told = new Set(users);
      for (const [userId, counts] of room.byUser) if (told.has(userId) && !except.has(userId)) room.byUser.set(userId, added(counts, threadId, 1, 0, 0));
    }
  }

  /** The user read something in the room, or came or left. */
  forget(roomId: string, userId: string): void {
    const room = this.rooms.peek(roomId);
    if (room === undefined) return;
    room.version++;
    room.byUser.delete(userId);
  }

  /** Events of the room that may have been counted are gone. */
  forgetRoom(roomId: string): void {
    const room = this.rooms.peek(roomId);
    if (room === undefined) return;
    room.version++;
    room.byUser.clear();
  }

  clear(): void {
    for (const room of this.rooms.values()) room.version++;
    this.rooms.clear();
  }
}

function added(counts: UnreadCounts, threadId: string, notifications: number, highlights: number, unread: number): UnreadCounts {
  const more = (old: ThreadCounts): ThreadCounts => ({
    notifications: old.notifications + notifications,
    highlights: old.highlights + highlights,
    unread: old.unread + unread,
  });
  if (threadId === "main") return { main: more(counts.main), threads: counts.threads };
  return { main: counts.main, threads: new Map([...counts.threads, [threadId, more(counts.threads.get(threadId) ?? NOTHING)]]) };
}
