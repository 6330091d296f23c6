import { systemClock } from "../lib/clock.ts";

/**
 * Waits until `fn` gives something other than undefined or false, and returns it. The time is generous: machines that run tests may be slow.
 * @throws when `what` does not come to be in `ms` milliseconds
 */
export async function eventually<T>(what: string, fn: () => T | Promise<T>, ms = 20_000): Promise<Exclude<T, undefined | false>> {
  const end = systemClock.monotonic() + ms;
  for (;;) {
    const value = await fn();
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    if (systemClock.monotonic() > end) throw new Error(`${what}: did not come to be in ${ms} ms`);
    await systemClock.sleep(20);
  }
}
