import { createHook } from "node:async_hooks";
import { systemClock, type Timer } from "./clock.ts";
import { currentRequest, type RequestContext, watchSwitches } from "./request-context.ts";

/** So often (milliseconds; no divisor of a usual interval, whose work would be met always or never) and for so long. */
const EVERY_MS = 977;
const WINDOW_MS = 20;

/**
 * Estimates how long code ran for each request, background process and block (`usage.cpuSeconds`). They share one thread, and to watch each
 * turn of it would cost too much: for a fiftieth of the time all turns are watched, and count so many times over. Sums over many requests are
 * right, those of a single one are not. What other threads do (passwords, pictures, files) is in none of them. Returns what ends it.
 */
export function watchCpu({ everyMs = EVERY_MS, windowMs = WINDOW_MS } = {}): () => void {
  const factor = everyMs / windowMs;
  /** What runs now, below it what it interrupted. */
  let running: (RequestContext | undefined)[] = [];
  let since = 0;
  let opened = 0;
  let timer: Timer;

  const credit = (): void => {
    const now = systemClock.monotonic();
    const usage = running.at(-1)?.usage;
    if (usage !== undefined) usage.cpuSeconds += ((now - since) / 1000) * factor;
    since = now;
  };
  const hook = createHook({
    before() {
      credit();
      running.push(currentRequest());
    },
    after() {
      credit();
      running.pop();
    },
  });
  const close = (): void => {
    hook.disable();
    watchSwitches(undefined);
    running = [];
  };
  const open = (): void => {
    since = opened = systemClock.monotonic();
    hook.enable();
    watchSwitches((context) => {
      credit();
      if (running.length > 0) running[running.length - 1] = context;
    });
    timer = systemClock.after(windowMs, () => {
      close();
      // A turn that took long made the window longer than it was to be; the pause after it becomes longer likewise.
      timer = systemClock.after((systemClock.monotonic() - opened) * (factor - 1), open);
    });
  };
  timer = systemClock.after(everyMs, open);
  return () => {
    timer.cancel();
    close();
  };
}

/** CPU seconds divided into user and system time, as they are for the process as a whole. */
export function cpuParts(seconds: number): { readonly user: number; readonly system: number } {
  if (seconds === 0) return { user: 0, system: 0 };
  const { user, system } = process.cpuUsage();
  return { user: (seconds * user) / (user + system), system: (seconds * system) / (user + system) };
}
