import type { JsonObject } from "../../lib/json.ts";
import type { Logger } from "../../lib/log.ts";
import { type Txn } from "../../storage/database.ts";
import {
  BEFORE_SERVING,
  createIndex,
  finishUpdate,
  type PendingUpdate,
  pendingUpdates,
  queueUpdates,
  saveProgress,
  validateConstraint,
} from "../../storage/jobs/background-updates.ts";
import type { Batch } from "../../storage/jobs/background-updates-batches.ts";
import { UPDATES } from "./registry.ts";
import { isOneshot, type Update, type UpdateContext } from "./update.ts";

/** What the admin API shows of the update that is being run. */
export interface RunningUpdate {
  readonly name: string;
  readonly totalItemCount: number;
  readonly totalDurationMs: number;
  /** Undefined until the first batch is done. */
  readonly averageItemsPerMs: number | undefined;
}

/** As the metric `synapse_background_update_status` has it. */
export type UpdaterStatus = "aborted" | "disabled" | "not started" | "running" | "complete";

interface Performance {
  totalItems: number;
  totalMs: number;
  /** Moving averages over about ten batches. */
  averageItems: number;
  averageMs: number;
}

/** An update that failed this often in a row is left for the next start. */
const MAX_FAILURES = 5;

/**
 * Does the work that schema changes and admins queue in `background_updates`: one update at a time, batch by batch, so that each batch
 * takes about as long as the config says, with a pause between them. Progress is stored with each batch, as Synapse stores it.
 *
 * Updates of unknown names stay in the queue, for the server that knows them; so do those that wait for them.
 */
export class BackgroundUpdates {
  private enabled = true;
  private running: Promise<void> | undefined;
  private current: string | undefined;
  private complete = false;
  private stopping = new AbortController();
  private readonly performance = new Map<string, Performance>();
  private readonly failures = new Map<string, number>();
  private readonly reported = new Set<string>();
  private readonly log: Logger;

  constructor(
    private readonly ctx: UpdateContext,
    /** The updates that are known; tests give their own. */
    private readonly updates: ReadonlyMap<string, Update> = UPDATES,
  ) {
    this.log = ctx.log.named("synapse.storage.background_updates");
  }

  /** Runs, to their end, those updates without which tables cannot be written. Before the server listens. */
  async runBeforeServing(): Promise<void> {
    const pending = await pendingUpdates(this.ctx.read);
    for (const name of BEFORE_SERVING) {
      if (!pending.some((update) => update.name === name)) continue;
      this.log.info(`The background update ${name} must be done first: doing it now`);
      for (;;) {
        const [update] = (await pendingUpdates(this.ctx.read)).filter((candidate) => candidate.name === name);
        if (update === undefined) break;
        await this.runBatch(update, this.updates.get(name)!);
      }
    }
  }

  /** Begins, or begins again, to work on the queue; it ends by itself when nothing is left. */
  start(): void {
    if (!this.enabled || this.running !== undefined || this.stopping.signal.aborted) return;
    this.complete = false;
    this.failures.clear();
    const run = this.run()
      .catch((error: unknown) => this.log.error("Background updates stopped", { error }))
      .finally(() => {
        if (this.running === run) this.running = undefined;
      });
    this.running = run;
  }

  /** Ends after the batch under way. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** Until now every update of the queue that can be done is done. */
  async whenIdle(): Promise<void> {
    await this.running;
  }

  isEnabled(): boolean {
    return this.enabled;
  }

  /** Pauses the updates after the batch under way, or goes on with them; until the next start of the server. */
  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    if (enabled) this.start();
  }

  status(): UpdaterStatus {
    if (this.failures.size > 0 && [...this.failures.values()].some((count) => count >= MAX_FAILURES)) return "aborted";
    if (!this.enabled) return "disabled";
    if (this.complete) return "complete";
    return this.running === undefined ? "not started" : "running";
  }

  currentUpdate(): RunningUpdate | undefined {
    if (this.current === undefined) return undefined;
    const performance = this.performance.get(this.current);
    return {
      name: this.current,
      totalItemCount: performance?.totalItems ?? 0,
      totalDurationMs: performance?.totalMs ?? 0,
      averageItemsPerMs: performance === undefined ? undefined : rate(performance),
    };
  }

  /**
   * Queues a job of the admin API, with what its progress begins with, and starts on it. `unknown`: there is no job of that name; `queued before`: a part of it is in the
   * queue already, and nothing was added.
   */
  async startJob(name: string, progress: JsonObject = {}): Promise<"started" | "queued before" | "unknown"> {
    const updates = Object.hasOwn(ADMIN_JOBS, name) ? ADMIN_JOBS[name] : undefined;
    if (updates === undefined) return "unknown";
    const queued = await this.ctx.transaction("start_background_job", (txn) =>
      queueUpdates(
        txn,
        updates.map((update) => ({ name: update, progress })),
      ),
    );
    if (!queued) return "queued before";
    this.start();
    return "started";
  }

  /** Of these updates, those that are still in the queue: what they make cannot be relied on yet. */
  async pending(names: readonly string[]): Promise<string[]> {
    if (this.complete) return [];
    return (await pendingUpdates(this.ctx.read)).map(({ name }) => name).filter((name) => names.includes(name));
  }

  private async run(): Promise<void> {
    const { sleepEnabled, sleepDurationMs } = this.ctx.config.backgroundUpdates;
    for (;;) {
      if (!this.enabled || this.stopping.signal.aborted) return;
      const update = this.next(await pendingUpdates(this.ctx.read));
      if (update === undefined) return;
      if (sleepEnabled && this.ctx.modules?.backgroundUpdates.controller === undefined) await this.ctx.clock.sleep(sleepDurationMs, this.stopping.signal);
      if (!this.enabled || this.stopping.signal.aborted) return;
      this.current = update.name;
      try {
        await this.runBatch(update, this.updates.get(update.name)!);
        this.failures.delete(update.name);
      } catch (error) {
        const count = (this.failures.get(update.name) ?? 0) + 1;
        this.failures.set(update.name, count);
        const then = count < MAX_FAILURES ? "trying again" : "leaving it for the next start; others go on";
        this.log.error(`The background update ${update.name} failed (${count} times in a row), ${then}`, { error });
        await this.ctx.clock.sleep(sleepDurationMs, this.stopping.signal);
      } finally {
        this.current = undefined;
      }
    }
  }

  /** The first update that is known, has not failed too often, and waits for nothing that is in the queue. */
  private next(pending: readonly PendingUpdate[]): PendingUpdate | undefined {
    const names = new Set(pending.map(({ name }) => name));
    const left: string[] = [];
    for (const update of pending) {
      if (!this.updates.has(update.name)) left.push(`${update.name} is not known here: the server that queued it must do it`);
      else if (update.dependsOn !== undefined && names.has(update.dependsOn)) left.push(`${update.name} waits for ${update.dependsOn}`);
      else if ((this.failures.get(update.name) ?? 0) < MAX_FAILURES) return update;
    }
    if (pending.length === 0) {
      if (!this.complete) this.log.info("All background updates are done");
      this.complete = true;
    }
    for (const line of left) {
      if (this.reported.has(line)) continue;
      this.reported.add(line);
      this.log.warn(`Background update left in the queue: ${line}`);
    }
    return undefined;
  }

  private async runBatch({ name, progress }: PendingUpdate, update: Update): Promise<void> {
    const controller = this.ctx.modules?.backgroundUpdates.controller;
    const turn = await controller?.on_update(name, "master", isOneshot(update));
    let begun: number;
    let items: number;
    try {
      const size = await this.batchSize(name, turn?.target_duration_ms);
      begun = this.ctx.clock.monotonic();
      items = await this.perform(name, update, progress, size);
    } finally {
      await turn?.end?.();
    }
    const took = this.ctx.clock.monotonic() - begun;
    this.measured(name, items, took);
    this.log.info(`Background update ${name}: ${items} items in ${Math.round(took)} ms`);
  }

  /** One batch; returns the number of items. The progress is stored with what was done. */
  private async perform(name: string, update: Update, progress: JsonObject, size: number): Promise<number> {
    const { ctx } = this;
    const input = { progress, size, serverName: ctx.config.server.serverName, now: ctx.clock.now() };
    const inTransaction = (batch: (txn: Txn) => Promise<Batch>, finishing: boolean): Promise<Batch> =>
      ctx.transaction(`background_update:${name}`, async (txn) => {
        const result = await batch(txn);
        if (result.progress !== undefined) await saveProgress(txn, name, result.progress);
        else if (finishing) await finishUpdate(txn, name);
        return result;
      });
    switch (update.kind) {
      case "service":
        return (await inTransaction((txn) => update.batch(ctx, txn, progress, size), true)).items;
      case "batches": {
        const result = await inTransaction((txn) => update.batch(txn, input), update.afterwards === undefined);
        if (result.progress === undefined && update.afterwards !== undefined) {
          await update.afterwards(ctx);
          await this.finish(name);
        }
        return result.items;
      }
      case "constraint": {
        // Synapse's progress of these updates begins empty and names the state it is in; that of the two profile updates is a bound.
        const repairing = progress.state === "check" || progress.lower_bound_id !== undefined;
        if (!repairing) {
          try {
            await validateConstraint(ctx.db, update.table, update.constraint);
            await this.finish(name);
            return 1;
          } catch (error) {
            const code = (error as { code?: unknown }).code;
            if (update.repair === undefined || (code !== "23514" && code !== "23503")) throw error;
            this.log.warn(`Rows of ${update.table} violate ${update.constraint}: mending them`);
          }
        }
        const { repair } = update;
        if (repair === undefined) throw new Error(`${update.constraint} cannot be mended`);
        const mended = repairing ? input : { ...input, progress: {} };
        return (
          await inTransaction(async (txn) => {
            const result = await repair(txn, mended);
            return { items: result.items, progress: result.progress ?? { state: "validate" } };
          }, false)
        ).items;
      }
      case "index":
        await createIndex(ctx.db, update.index);
        await this.finish(name);
        return 1;
      case "once":
        await update.run(ctx);
        await this.finish(name);
        return 1;
    }
  }

  private async finish(name: string): Promise<void> {
    await this.ctx.transaction("finish_background_update", (txn) => finishUpdate(txn, name));
  }

  private async batchSize(name: string, durationMs: number | undefined): Promise<number> {
    const { updateDurationMs, minBatchSize, defaultBatchSize } = this.ctx.config.backgroundUpdates;
    const controller = this.ctx.modules?.backgroundUpdates.controller;
    const performance = this.performance.get(name);
    if (performance === undefined) return Math.max((await controller?.default_batch_size?.(name, "master")) ?? defaultBatchSize, 1);
    const least = (await controller?.min_batch_size?.(name, "master")) ?? minBatchSize;
    return Math.max(Math.floor((durationMs ?? updateDurationMs) * rate(performance)), least, 1);
  }

  private measured(name: string, items: number, ms: number): void {
    let performance = this.performance.get(name);
    if (performance === undefined) this.performance.set(name, (performance = { totalItems: 0, totalMs: 0, averageItems: items, averageMs: ms }));
    performance.totalItems += items;
    performance.totalMs += ms;
    performance.averageItems += 0.1 * (items - performance.averageItems);
    performance.averageMs += 0.1 * (ms - performance.averageMs);
  }
}

const rate = ({ averageItems, averageMs }: Performance): number => averageItems / Math.max(averageMs, 0.01);

/** Jobs of the admin API: the updates that make one up, each after the one before. */
const ADMIN_JOBS: Readonly<Record<string, readonly string[]>> = {
  populate_stats_process_rooms: ["populate_stats_process_rooms"],
  event_resign: ["event_resign"],
  regenerate_directory: [
    "populate_user_directory_createtables",
    "populate_user_directory_process_rooms",
    "populate_user_directory_process_users",
    "populate_user_directory_cleanup",
  ],
};
