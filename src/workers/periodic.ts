import type { Timer } from "../lib/clock.ts";
import type { Context } from "../services/context.ts";

/** Something that the server does again and again beside its requests. */
export interface Job {
  /** Synapse's name of the background process where it has one: label in metrics and logs. */
  readonly name: string;
  /** Milliseconds from the end of one run to the begin of the next. */
  readonly intervalMs: number;
  /** Only where this holds. */
  readonly when?: (ctx: Context) => boolean;
  /** One run. A failure is logged, and the next run comes at its time. */
  run(ctx: Context, signal: AbortSignal): Promise<void>;
}

/** Runs jobs one after another each, never the same one twice at a time. */
export class PeriodicJobs {
  private readonly timers = new Map<string, Timer>();
  private readonly running = new Set<Promise<void>>();
  private readonly stopping = new AbortController();

  constructor(
    private readonly ctx: Context,
    private readonly jobs: readonly Job[],
  ) {}

  start(): void {
    for (const job of this.jobs) if (job.when === undefined || job.when(this.ctx)) this.schedule(job);
  }

  /** Runs the named job now (tests, admin commands). */
  async runOnce(name: string): Promise<void> {
    const job = this.jobs.find((candidate) => candidate.name === name);
    if (job === undefined) throw new Error(`No job is called ${name}`);
    await job.run(this.ctx, this.stopping.signal);
  }

  /** Starts no more runs and waits for those under way. */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const timer of this.timers.values()) timer.cancel();
    await Promise.all(this.running);
  }

  private schedule(job: Job): void {
    const timer = this.ctx.clock.after(job.intervalMs, () => {
      const run = this.guarded(job).finally(() => {
        this.running.delete(run);
        if (!this.stopping.signal.aborted) this.schedule(job);
      });
      this.running.add(run);
    });
    this.timers.set(job.name, timer);
  }

  private async guarded(job: Job): Promise<void> {
    try {
      await this.ctx.metrics.inBackground(job.name, () => job.run(this.ctx, this.stopping.signal));
    } catch (error) {
      if (!this.stopping.signal.aborted)
        this.ctx.log.named("synapse.metrics.background_process_metrics").error(`Background process '${job.name}' threw an exception`, { error });
    }
  }
}
