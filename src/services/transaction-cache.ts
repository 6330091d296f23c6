import type { Clock, Timer } from "../lib/clock.ts";

const LIFETIME_MS = 30 * 60 * 1000;
const SWEEP_MS = 5 * 60 * 1000;

/**
 * Answers to requests that carry a transaction id, for half an hour: a request that a client repeats gets the answer of the first one (or
 * waits for it), and nothing happens twice. Failures are not remembered. In memory, as in Synapse.
 */
export class TransactionCache {
  private readonly answers = new Map<string, { answer: Promise<unknown>; since: number }>();
  private readonly sweeper: Timer;

  constructor(private readonly clock: Clock) {
    this.sweeper = clock.every(SWEEP_MS, () => this.sweep());
  }

  /** @param key who asks, and the path with the transaction id */
  async once<T>(key: readonly string[], run: () => Promise<T>): Promise<T> {
    const name = JSON.stringify(key);
    const known = this.answers.get(name);
    if (known !== undefined) return (await known.answer) as T;
    const answer = run();
    this.answers.set(name, { answer, since: this.clock.now() });
    answer.catch(() => this.answers.delete(name));
    return await answer;
  }

  close(): void {
    this.sweeper.cancel();
  }

  private sweep(): void {
    const before = this.clock.now() - LIFETIME_MS;
    for (const [name, { since }] of this.answers) if (since <= before) this.answers.delete(name);
  }
}
