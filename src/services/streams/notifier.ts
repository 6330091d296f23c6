import type { Clock } from "../../lib/clock.ts";

/** Synapse's names of the streams that wake somebody. */
export type WakingStream =
  | "room_key"
  | "presence_key"
  | "typing_key"
  | "receipt_key"
  | "account_data_key"
  | "push_rules_key"
  | "to_device_key"
  | "device_list_key"
  | "un_partial_stated_rooms_key"
  | "thread_subscriptions_key"
  | "profile_updates_key";

/**
 * Wakes those who wait for something new (sync long polls, appservice and federation senders). A waiter costs an entry in a map and
 * does no work until it is woken.
 *
 * Use: `listen` first, then look whether there is something to answer, then `wait`: what happens in between is not lost.
 */
export class Notifier {
  private readonly byUser = new Map<string, Set<Listener>>();
  private readonly everybody = new Set<() => void>();
  /** How often a user with somebody waiting was woken, by what is new. */
  readonly woken = new Map<WakingStream, number>();

  constructor(private readonly clock: Clock) {}

  /** A listener of things that concern `userId`; the caller calls `close` at the end. */
  listen(userId: string): Listener {
    let set = this.byUser.get(userId);
    if (set === undefined) this.byUser.set(userId, (set = new Set()));
    const listener = new Listener(this.clock, () => {
      set.delete(listener);
      if (set.size === 0 && this.byUser.get(userId) === set) this.byUser.delete(userId);
    });
    set.add(listener);
    return listener;
  }

  /** Something new for these users. */
  wakeUsers(userIds: Iterable<string>, stream: WakingStream): void {
    let count = 0;
    for (const userId of userIds) {
      const listeners = this.byUser.get(userId);
      if (listeners === undefined) continue;
      count++;
      listeners.forEach((listener) => listener.wake());
    }
    if (count > 0) this.woken.set(stream, (this.woken.get(stream) ?? 0) + count);
  }

  /** Something new for the members of a room: walks the shorter of members and waiters. */
  wakeMembers(members: ReadonlySet<string>, stream: WakingStream): void {
    if (members.size <= this.byUser.size) return this.wakeUsers(members, stream);
    const waiting: string[] = [];
    for (const userId of this.byUser.keys()) if (members.has(userId)) waiting.push(userId);
    this.wakeUsers(waiting, stream);
  }

  /** Number of users with somebody waiting. */
  get waitingUsers(): number {
    return this.byUser.size;
  }

  /** Number of those who wait: requests. */
  get listeners(): number {
    let count = 0;
    for (const set of this.byUser.values()) count += set.size;
    return count;
  }

  /** Calls `fn` at each new thing of any kind (senders that look at stream positions by themselves); returns the function that stops it. */
  onAnything(fn: () => void): () => void {
    this.everybody.add(fn);
    return () => this.everybody.delete(fn);
  }

  /** Something moved: tells the `onAnything` listeners. */
  announce(): void {
    for (const fn of this.everybody) fn();
  }
}

export class Listener {
  private woken = false;
  private resolve: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    readonly close: () => void,
  ) {}

  wake(): void {
    this.woken = true;
    this.resolve?.();
  }

  /** Waits until woken (also by a wake since the last `wait`), at most `ms` milliseconds. True when woken. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.woken && ms > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          timer.cancel();
          signal.removeEventListener("abort", done);
          this.resolve = undefined;
          resolve();
        };
        const timer = this.clock.after(ms, done);
        this.resolve = done;
        signal.addEventListener("abort", done);
      });
    }
    const result = this.woken;
    this.woken = false;
    return result;
  }
}
