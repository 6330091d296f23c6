import type { Clock } from "../lib/clock.ts";
import type { Requester } from "./requester.ts";

const KEPT_MS = 30 * 60_000;

/**
 * Answers of requests with a transaction id, so that a repeated one gets the same answer and does nothing twice: for half an hour to an
 * hour, as Synapse does. Failures are not kept.
 */
export class RequestTransactions {
  private young = new Map<string, Promise<unknown>>();
  private old = new Map<string, Promise<unknown>>();
  private turnedAt: number;

  constructor(private readonly clock: Clock) {
    this.turnedAt = clock.now();
  }

  /** The answer of `run`, or of the earlier request on the same path by the same device, guest, appservice or token. */
  async once<T>(requester: Requester, path: string, run: () => Promise<T>): Promise<T> {
    this.turn();
    const key = `${scopeOf(requester)}\u0000${path}`;
    const before = this.young.get(key) ?? this.old.get(key);
    if (before !== undefined) return (await before) as T;
    const answer = run();
    const { young } = this;
    young.set(key, answer);
    try {
      return await answer;
    } catch (error) {
      young.delete(key);
      this.old.delete(key);
      throw error;
    }
  }

  private turn(): void {
    const now = this.clock.now();
    if (now - this.turnedAt < KEPT_MS) return;
    this.old = now - this.turnedAt < 2 * KEPT_MS ? this.young : new Map();
    this.young = new Map();
    this.turnedAt = now;
  }
}

function scopeOf(requester: Requester): string {
  if (requester.isGuest) return `guest ${requester.userId}`;
  if (requester.appserviceId !== undefined) return `appservice ${requester.appserviceId} ${requester.userId}`;
  return requester.deviceId === undefined ? `token ${requester.accessTokenId}` : `device ${requester.userId} ${requester.deviceId}`;
}
