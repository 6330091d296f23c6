import type { Clock, Timer } from "../../lib/clock.ts";
import type { Context } from "../context.ts";

/** How long a user of another server types after one EDU. */
const REMOTE_TIMEOUT_MS = 60_000;
/** Other servers are told again this often that a local user still types. */
const REMOTE_PING_MS = 40_000;
/** A room in which nobody has typed for so long is forgotten. */
const FORGET_MS = 600_000;

interface TypingUser {
  expiry: Timer;
  readonly ping: Timer | undefined;
}

interface TypingRoom {
  serial: number;
  changedAt: number;
  readonly users: Map<string, TypingUser>;
}

/**
 * Who is typing where; only in memory, as in Synapse. Each change has a serial, the `typing` part of sync tokens. (Client-server API,
 * "Typing Notifications".)
 */
export class Typing {
  private readonly rooms = new Map<string, TypingRoom>();
  private latest = 0;
  private readonly sweeper: Timer;

  constructor(
    private readonly clock: Clock,
    private readonly ctx: Pick<Context, "members" | "notifier" | "remote">,
  ) {
    this.sweeper = clock.every(FORGET_MS, () => this.forgetQuietRooms());
  }

  /** The serial of the last change. */
  get serial(): number {
    return this.latest;
  }

  /** A local user types, for `timeoutMs` unless they say so again. The caller has checked that they are in the room. */
  started(roomId: string, userId: string, timeoutMs: number): void {
    this.set(roomId, userId, timeoutMs, true);
  }

  /** A local user typed no more, or left the room. */
  stopped(roomId: string, userId: string): void {
    if (this.remove(roomId, userId)) this.ctx.remote.sendTyping(roomId, userId, false);
  }

  /** An `m.typing` EDU, checked: the user is of the sending server and in the room, and so are we. */
  receivedRemote(roomId: string, userId: string, typing: boolean): void {
    if (typing) this.set(roomId, userId, REMOTE_TIMEOUT_MS, false);
    else this.remove(roomId, userId);
  }

  /**
   * Who types in each of `roomIds` that changed in (`since`, `upTo`]. A `since` from another process (before a restart, from Synapse)
   * may be ahead of the serial: then everything counts as changed.
   */
  changedRooms(roomIds: Iterable<string>, since: number, upTo: number = this.latest): Map<string, string[]> {
    const after = since > this.latest ? 0 : since;
    const changed = new Map<string, string[]>();
    if (after >= upTo) return changed;
    for (const roomId of roomIds) {
      const room = this.rooms.get(roomId);
      if (room !== undefined && room.serial > after && room.serial <= upTo) changed.set(roomId, [...room.users.keys()]);
    }
    return changed;
  }

  /** All rooms that changed after `since`, with who types there (appservices). */
  allChanged(since: number): Map<string, string[]> {
    return this.changedRooms(this.rooms.keys(), since);
  }

  /** Who types in a room now. */
  typingIn(roomId: string): string[] {
    return [...(this.rooms.get(roomId)?.users.keys() ?? [])];
  }

  close(): void {
    this.sweeper.cancel();
    for (const room of this.rooms.values()) for (const user of room.users.values()) cancel(user);
    this.rooms.clear();
  }

  private set(roomId: string, userId: string, timeoutMs: number, local: boolean): void {
    const room = this.rooms.get(roomId) ?? { serial: 0, changedAt: 0, users: new Map<string, TypingUser>() };
    this.rooms.set(roomId, room);
    const user = room.users.get(userId);
    if (user !== undefined) {
      user.expiry.cancel();
      user.expiry = this.expireAfter(timeoutMs, roomId, userId, local);
      return;
    }
    const ping = local && this.ctx.remote.federates ? this.clock.every(REMOTE_PING_MS, () => this.ctx.remote.sendTyping(roomId, userId, true)) : undefined;
    room.users.set(userId, { expiry: this.expireAfter(timeoutMs, roomId, userId, local), ping });
    this.changed(roomId, room);
    if (local) this.ctx.remote.sendTyping(roomId, userId, true);
  }

  private expireAfter(ms: number, roomId: string, userId: string, local: boolean): Timer {
    return this.clock.after(ms, () => {
      if (local) this.stopped(roomId, userId);
      else this.remove(roomId, userId);
    });
  }

  private remove(roomId: string, userId: string): boolean {
    const room = this.rooms.get(roomId);
    const user = room?.users.get(userId);
    if (room === undefined || user === undefined) return false;
    cancel(user);
    room.users.delete(userId);
    this.changed(roomId, room);
    return true;
  }

  private changed(roomId: string, room: TypingRoom): void {
    room.serial = ++this.latest;
    room.changedAt = this.clock.now();
    this.ctx.members.joinedLocal(roomId).then(
      (members) => this.ctx.notifier.wakeMembers(members, "typing_key"),
      () => {}, // the database is away: the next wake of any kind shows the change
    );
    this.ctx.notifier.announce();
  }

  private forgetQuietRooms(): void {
    const before = this.clock.now() - FORGET_MS;
    for (const [roomId, room] of this.rooms) if (room.users.size === 0 && room.changedAt <= before) this.rooms.delete(roomId);
  }
}

function cancel(user: TypingUser): void {
  user.expiry.cancel();
  user.ping?.cancel();
}
