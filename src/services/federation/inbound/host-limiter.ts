import type { RatelimitConfig } from "../../../config/sections/ratelimiting.ts";
import type { Clock } from "../../../lib/clock.ts";
import { signals } from "../../../lib/signals.ts";
import { limitExceeded } from "../../../protocol/errors.ts";

interface Host {
  /** Times (ms) of the requests within the window. */
  times: number[];
  running: number;
  sleeping: number;
  readonly queue: (() => void)[];
}

/**
 * `rc_federation`: of each server so many requests at once; beyond `sleep_limit` within the window each waits `sleep_delay`; when
 * `reject_limit` of them wait, more are refused. As Synapse does.
 */
export class HostLimiter {
  private readonly hosts = new Map<string, Host>();

  constructor(
    private readonly limit: RatelimitConfig["federation"],
    private readonly clock: Clock,
  ) {}

  /** Runs `fn` when it is the server's turn. @throws MatrixError 429 */
  async run<T>(host: string, fn: () => Promise<T>): Promise<T> {
    const { windowSizeMs, sleepLimit, sleepDelayMs, rejectLimit, concurrent } = this.limit;
    const now = this.clock.now();
    let state = this.hosts.get(host);
    if (state === undefined) this.hosts.set(host, (state = { times: [], running: 0, sleeping: 0, queue: [] }));
    state.times = state.times.filter((time) => now - time < windowSizeMs);
    if (state.sleeping + state.queue.length > rejectLimit) {
      signals.hostLimited.emit("reject");
      throw limitExceeded(Math.floor(windowSizeMs / Math.max(1, sleepLimit)), "rc_federation");
    }
    state.times.push(now);
    try {
      if (state.times.length > sleepLimit) {
        state.sleeping++;
        signals.hostLimited.emit("sleep");
        try {
          await this.clock.sleep(sleepDelayMs);
        } finally {
          state.sleeping--;
        }
      }
      const arrived = this.clock.monotonic();
      if (state.running >= concurrent) await new Promise<void>((resolve) => state.queue.push(resolve));
      else state.running++;
      signals.hostQueued.emit({ seconds: (this.clock.monotonic() - arrived) / 1000 });
      try {
        return await fn();
      } finally {
        const next = state.queue.shift();
        if (next === undefined) state.running--;
        else next(); // the place goes on to the next one
      }
    } finally {
      this.forget(host, state);
    }
  }

  /** Servers of which a request sleeps now, and those whose next request would be refused. */
  get affected(): { readonly sleeping: number; readonly refused: number } {
    let sleeping = 0;
    let refused = 0;
    for (const host of this.hosts.values()) {
      if (host.sleeping > 0) sleeping++;
      if (host.sleeping + host.queue.length > this.limit.rejectLimit) refused++;
    }
    return { sleeping, refused };
  }

  private forget(host: string, state: Host): void {
    if (state.running > 0 || state.sleeping > 0 || state.queue.length > 0) return;
    const now = this.clock.now();
    if (this.hosts.size > 1000 || state.times.every((time) => now - time >= this.limit.windowSizeMs)) this.hosts.delete(host);
  }
}
