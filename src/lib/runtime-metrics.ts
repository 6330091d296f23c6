import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setImmediate as inNextTurn } from "node:timers";
import { getHeapSpaceStatistics } from "node:v8";
import { Gauge, Histogram, type Registry } from "prom-client";
import { systemClock } from "./clock.ts";

const GC_BUCKETS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 7.5, 15, 30, 45, 60];
const TICK_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const TICK_EVERY_MS = 100;

/**
 * Garbage collection under the names of Python's. Its generations are the nearest to Node's: 0 the young objects, 1 marking on the way,
 * 2 all of the heap. Of the young objects the bytes are known, not the number; how many objects were freed is not known at all (NaN).
 * Returns what ends it.
 */
export function watchGarbage(registry: Registry): () => void {
  const registers = [registry];
  const labelNames = ["gen"];
  const time = new Histogram({ name: "python_gc_time", help: "Time taken to GC (sec)", labelNames, buckets: GC_BUCKETS, registers });
  /** Collections of each generation since the last of the next. */
  const counts = [0, 0, 0];
  new Gauge({
    name: "python_gc_counts",
    help: "Bytes of young objects; collections of the younger generation since the last of this one",
    labelNames,
    registers,
    collect() {
      this.set({ gen: 0 }, getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")?.space_used_size ?? 0);
      this.set({ gen: 1 }, counts[0]!);
      this.set({ gen: 2 }, counts[1]!);
    },
  });
  const unreachable = new Gauge({ name: "python_gc_unreachable_total", help: "Objects freed: not known", labelNames, registers });
  for (const gen of [0, 1, 2]) unreachable.set({ gen }, Number.NaN);
  const observer = new PerformanceObserver((list) => {
    for (const { duration, detail } of list.getEntries() as (PerformanceEntry & { detail?: { kind?: number } })[]) {
      const kind = detail?.kind;
      const gen = kind === constants.NODE_PERFORMANCE_GC_MAJOR ? 2 : kind === constants.NODE_PERFORMANCE_GC_MINOR ? 0 : 1;
      time.observe({ gen }, duration / 1000);
      counts[gen]!++;
      counts.fill(0, 0, gen);
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  return () => observer.disconnect();
}

/** How long turns of the event loop take, as Twisted's reactor ticks: ten turns in a second are timed, from one to the next. Returns what ends it. */
export function watchTicks(registry: Registry): () => void {
  const ticks = new Histogram({
    name: "python_twisted_reactor_tick_time",
    help: "Time of a turn of the event loop (sec), of ten in a second",
    buckets: TICK_BUCKETS,
    registers: [registry],
  });
  const timer = systemClock.every(TICK_EVERY_MS, () => {
    inNextTurn(() => {
      const began = systemClock.monotonic();
      inNextTurn(() => ticks.observe((systemClock.monotonic() - began) / 1000));
    });
  });
  return () => timer.cancel();
}

/** Threads of Node's pool that are busy with files and names of hosts. */
export function busyThreads(): number {
  const requests = process
    .getActiveResourcesInfo()
    .filter((name) => name.startsWith("FSReq") || name === "GetAddrInfoReqWrap" || name === "GetNameInfoReqWrap");
  return Math.min(requests.length, Number(process.env.UV_THREADPOOL_SIZE ?? 4));
}
