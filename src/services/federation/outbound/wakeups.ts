import type { Clock, Timer } from "../../../lib/clock.ts";

/** Nothing waits longer than this, whatever the rate. */
const LONGEST_WAIT_MS = 30_000;

/** Servers that have something waiting that need not go at once: woken one after another, at a steady rate. */
export class Wakeups {
  private readonly waiting = new Set<string>();
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    /** Milliseconds between two. */
    private readonly interval: number,
    private readonly wake: (destination: string) => void,
  ) {}

  add(destination: string): void {
    this.waiting.add(destination);
    this.timer ??= this.clock.after(0, () => this.next());
  }

  close(): void {
    this.timer?.cancel();
    this.waiting.clear();
  }

  private next(): void {
    this.timer = undefined;
    const [destination] = this.waiting;
    if (destination === undefined) return;
    this.waiting.delete(destination);
    this.wake(destination);
    if (this.waiting.size === 0) return;
    this.timer = this.clock.after(Math.min(this.interval, LONGEST_WAIT_MS / this.waiting.size), () => this.next());
  }
}
