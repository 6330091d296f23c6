import { AsyncLocalStorage } from "node:async_hooks";
import { systemClock } from "./clock.ts";
import { signals } from "./signals.ts";

/** The request (or background process) on whose behalf code runs; read by the logger. */
export interface RequestContext {
  readonly id: string;
  readonly ip?: string;
  readonly siteTag?: string;
  readonly method?: string;
  readonly url?: string;
  readonly userAgent?: string;
  readonly requester?: string | undefined;
  readonly usage?: DatabaseUsage;
}

/** What a request or process has cost so far: statements outside transactions count as one each. */
export interface DatabaseUsage {
  transactions: number;
  seconds: number;
  /** Waiting for a connection. */
  waitedSeconds: number;
  /** An estimate by samples of the time that its code ran (`watchCpu`). */
  cpuSeconds: number;
}

export const noUsage = (): DatabaseUsage => ({ transactions: 0, seconds: 0, waitedSeconds: 0, cpuSeconds: 0 });

const storage = new AsyncLocalStorage<RequestContext>();

/** Told when code of another request begins and ends to run within the same turn; set while CPU time is sampled. */
let watcher: ((context: RequestContext | undefined) => void) | undefined;

/** Calls `fn` whenever other work begins to run within a turn; undefined ends it. */
export function watchSwitches(fn: typeof watcher): void {
  watcher = fn;
}

/** Runs `fn` as part of a request or background process. */
export function runInRequest<T>(context: RequestContext, fn: () => T): T {
  if (watcher === undefined) return storage.run(context, fn);
  const outer = storage.getStore();
  watcher(context);
  try {
    return storage.run(context, fn);
  } finally {
    watcher?.(outer);
  }
}

/** Runs a piece of work that is counted by name, whatever request it belongs to (`synapse_util_metrics_block_*`). */
export async function inBlock<T>(name: string, fn: () => Promise<T>): Promise<T> {
  const outer = storage.getStore();
  const usage = noUsage();
  const began = systemClock.monotonic();
  try {
    return await runInRequest({ ...outer, id: outer?.id ?? name, usage }, fn);
  } finally {
    if (outer?.usage !== undefined) {
      outer.usage.transactions += usage.transactions;
      outer.usage.seconds += usage.seconds;
      outer.usage.waitedSeconds += usage.waitedSeconds;
      outer.usage.cpuSeconds += usage.cpuSeconds;
    }
    signals.blockEnded.emit({ name, seconds: (systemClock.monotonic() - began) / 1000, usage });
  }
}

/** The request or background process that runs now. */
export function currentRequest(): RequestContext | undefined {
  return storage.getStore();
}
