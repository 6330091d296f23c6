import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { CrowdSum, TimedException } from "../../storage/push/crowd-rows.ts";
import type { NotifyingEvent } from "../../storage/push/actions.ts";

/**
 * What an event in a large room tells thousands of users alike, without a row for each of them in `event_push_actions`: seven indexes
 * make that several megabytes a message. Instead the notices are kept in memory for a day, added up in `event_push_summary` by the next
 * rotation (at most half a minute later, and at a clean stop), and turned into rows for a single user where something reads rows: when a
 * receipt lies before them, or the user lists notifications. Users with a pusher and those whom an event highlights have rows always.
 *
 * Synapse knows the form: it keeps rows no longer than a day itself, and after that counts by the summary alone.
 *
 * Between two rotations the notices can be worked out again from the events, should the process be killed: `services/events/recover-crowds.ts`.
 */
export interface CrowdNotice {
  /** Shared by the events of a room while its members stay the same. */
  readonly users: readonly string[];
  /** Those of them who are not told: the sender, and who ignores the sender. */
  readonly except: ReadonlySet<string>;
  /** As `event_push_actions.actions` has them. */
  readonly actions: string;
  readonly threadId: string;
}

interface Entry {
  readonly roomId: string;
  readonly eventId: string;
  readonly position: number;
  readonly depth: number | bigint;
  readonly at: number;
  readonly notices: readonly CrowdNotice[];
  /** Users who have a row by now. */
  readonly told: Set<string>;
}

const KEPT_MS = 24 * 60 * 60 * 1000;
const MAX_ENTRIES = 50_000;

export class Crowds {
  private readonly byRoom = new Map<string, Entry[]>();
  private readonly members = new WeakMap<readonly string[], ReadonlySet<string>>();
  private count = 0;

  constructor(private readonly now: () => number) {}

  /** An event is stored. */
  add(event: MatrixEvent, notices: readonly CrowdNotice[]): void {
    let entries = this.byRoom.get(event.roomId);
    if (entries === undefined) this.byRoom.set(event.roomId, (entries = []));
    entries.push({
      roomId: event.roomId,
      eventId: event.eventId,
      position: event.streamOrdering!,
      depth: event.depth,
      at: this.now(),
      notices,
      told: new Set(),
    });
    this.count++;
    const oldest = entries[0]!;
    if (oldest.at < this.now() - KEPT_MS || this.count > MAX_ENTRIES) this.prune();
  }

  /** The event was redacted: it notifies nobody any more. */
  forget(roomId: string, eventId: string): void {
    const entries = this.byRoom.get(roomId);
    const index = entries?.findIndex((entry) => entry.eventId === eventId) ?? -1;
    if (index === -1) return;
    entries!.splice(index, 1);
    this.count--;
  }

  /** Rooms among these in which there is something for the user that has no row. */
  roomsWithNotices(userId: string, roomIds: readonly string[]): string[] {
    if (this.count === 0) return [];
    return roomIds.filter((roomId) => this.byRoom.get(roomId)?.some((entry) => this.noticeFor(entry, userId) !== undefined) === true);
  }

  /** Positions and threads of what has no row for the user, after a position. */
  *noticesFor(userId: string, roomId: string, after: number): Generator<{ position: number; threadId: string }> {
    for (const entry of this.byRoom.get(roomId) ?? []) {
      const notice = entry.position > after ? this.noticeFor(entry, userId) : undefined;
      if (notice !== undefined) yield { position: entry.position, threadId: notice.threadId };
    }
  }

  /** The user's notices after a position, as rows to be written; `done` is to be called when they are. Without a room: of all rooms. */
  rowsFor(userId: string, roomId: string | undefined, after: number): { events: NotifyingEvent[]; done: () => void } {
    const events: NotifyingEvent[] = [];
    const entries: Entry[] = [];
    for (const entry of roomId === undefined ? [...this.byRoom.values()].flat() : (this.byRoom.get(roomId) ?? [])) {
      const notice = entry.position > after ? this.noticeFor(entry, userId) : undefined;
      if (notice === undefined) continue;
      entries.push(entry);
      events.push({
        roomId: entry.roomId,
        eventId: entry.eventId,
        streamOrdering: entry.position,
        depth: entry.depth,
        actions: [{ userId, actions: notice.actions, notif: true, highlight: false, unread: false, threadId: notice.threadId }],
      });
    }
    return { events, done: () => entries.forEach((entry) => entry.told.add(userId)) };
  }

  /** What the summaries gain from positions in (`from`, `to`]: events with the same users together. */
  sums(from: number, to: number): CrowdSum[] {
    const sums: { roomId: string; threadId: string; users: readonly string[]; positions: number[]; exceptions: TimedException[] }[] = [];
    for (const [roomId, entries] of this.byRoom) {
      for (const entry of entries) {
        if (entry.position <= from || entry.position > to) continue;
        for (const { users, threadId, except } of entry.notices) {
          let sum = sums.find((candidate) => candidate.users === users && candidate.roomId === roomId && candidate.threadId === threadId);
          if (sum === undefined) sums.push((sum = { roomId, threadId, users, positions: [], exceptions: [] }));
          sum.positions.push(entry.position);
          for (const userId of [...except, ...entry.told]) sum.exceptions.push({ userId, position: entry.position });
        }
      }
    }
    return sums;
  }

  private noticeFor(entry: Entry, userId: string): CrowdNotice | undefined {
    if (entry.told.has(userId)) return undefined;
    return entry.notices.find(({ users, except }) => !except.has(userId) && this.setOf(users).has(userId));
  }

  private setOf(users: readonly string[]): ReadonlySet<string> {
    let set = this.members.get(users);
    if (set === undefined) this.members.set(users, (set = new Set(users)));
    return set;
  }

  private prune(): void {
    const before = this.now() - KEPT_MS;
    for (const [roomId, entries] of this.byRoom) {
      let drop = 0;
      while (drop < entries.length && (entries[drop]!.at < before || (this.count > MAX_ENTRIES && drop < entries.length / 2))) drop++;
      entries.splice(0, drop);
      this.count -= drop;
      if (entries.length === 0) this.byRoom.delete(roomId);
    }
  }
}
