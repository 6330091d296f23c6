import type { LRUCache } from "lru-cache";
import { BackgroundWork } from "../../lib/background-work.ts";
import { KeyedMutex } from "../../lib/keyed-mutex.ts";
import type { Logger } from "../../lib/log.ts";
import { lruCache } from "../../lib/lru-cache.ts";

/** Work on remote users' device lists: one thing at a time for each user, and which updates were seen lately. */
export class DeviceResyncs {
  private readonly mutex = new KeyedMutex();
  private readonly fetching = new Map<string, Promise<unknown>>();
  private readonly seen: LRUCache<string, Set<string>>;
  private readonly background: BackgroundWork;

  constructor(log: Logger) {
    this.seen = lruCache(10_000);
    this.background = new BackgroundWork((error) => log.warn("A device list could not be fetched", { error }));
  }

  /** Runs `fn` after everything of the same user that was asked for before. */
  async oneAtATime<T>(userId: string, fn: () => Promise<T>): Promise<T> {
    return await this.mutex.exclusively(userId, fn);
  }

  /** Runs `fn`, or waits for the run of the same user that is under way and gives its result. */
  async onePerUser<T>(userId: string, fn: () => Promise<T>): Promise<T> {
    let run = this.fetching.get(userId) as Promise<T> | undefined;
    if (run === undefined) {
      run = fn().finally(() => this.fetching.delete(userId));
      this.fetching.set(userId, run);
    }
    return await run;
  }

  /** Runs `fn` on its own; a failure is logged. */
  inBackground(fn: () => Promise<unknown>): void {
    this.background.add(fn());
  }

  /** Whether that update of the user was applied since the last fetch. */
  hasSeen(userId: string, streamId: string): boolean {
    return this.seen.get(userId)?.has(streamId) ?? false;
  }

  noteSeen(userId: string, streamId: string): void {
    const ids = this.seen.get(userId) ?? new Set<string>();
    ids.add(streamId);
    if (ids.size > 1000) ids.delete(ids.values().next().value!);
    this.seen.set(userId, ids);
  }

  forgetSeen(userId: string): void {
    this.seen.delete(userId);
  }

  /** Resolves when nothing is under way in the background. */
  async settled(): Promise<void> {
    await this.background.settled();
  }
}
