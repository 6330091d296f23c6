import type { Clock, Timer } from "../lib/clock.ts";

/** Sleeps up to this long end by themselves: pauses between attempts at a transaction. */
const SHORT_MS = 1000;

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  private readonly timers = new Set<{ at: number; fn: () => void; every: number | undefined }>();

  constructor(private time = Date.UTC(2026, 0, 1, 12)) {}

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.time;
  }

  after(ms: number, fn: () => void): Timer {
    return this.add(ms, fn, undefined);
  }

  every(ms: number, fn: () => void): Timer {
    return this.add(ms, fn, ms);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (ms <= SHORT_MS || signal?.aborted === true) return void setImmediate(resolve);
      const timer = this.after(ms, done);
      function done(): void {
        timer.cancel();
        signal?.removeEventListener("abort", done);
        resolve();
      }
      signal?.addEventListener("abort", done);
    });
  }

  /** Moves time on, running what falls due on the way in its order; a periodic timer fires once, as after a process was suspended. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.time = Math.max(this.time, due.at);
      if (due.every === undefined) this.timers.delete(due);
      else due.at = end + due.every;
      due.fn();
    }
    this.time = end;
  }

  private add(ms: number, fn: () => void, every: number | undefined): Timer {
    const timer = { at: this.time + ms, fn, every };
    this.timers.add(timer);
    return { cancel: () => void this.timers.delete(timer) };
  }
}
