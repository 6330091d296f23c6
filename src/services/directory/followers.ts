import type { Context } from "../context.ts";
import { forgetRoomsOnLeave } from "../room-access/forget.ts";
import { updateStats } from "./stats-job.ts";
import { updateUserDirectory } from "./user-directory-job.ts";

/**
 * What follows the rooms' current state with tables of its own: statistics (and by them the room directory), the user directory, rooms
 * forgotten on leave. Runs soon after each change, never twice at a time; where it stands lies in the database.
 */
export class StateFollowers {
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private again = false;
  private unsubscribe: (() => void) | undefined;

  constructor(
    private readonly ctx: Context,
    /** Changes are gathered for so long (ms). */
    private readonly delayMs = 100,
  ) {}

  /** Catches up, then follows. */
  start(): void {
    this.unsubscribe = this.ctx.streams.events.onAdvance(() => this.poke());
    this.poke();
  }

  /** Follows all that is there now. */
  async runOnce(): Promise<void> {
    await this.running;
    await this.follow();
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    this.stopping.abort();
    await this.running;
  }

  private poke(): void {
    if (this.running !== undefined) {
      this.again = true;
      return;
    }
    this.running = this.loop().finally(() => (this.running = undefined));
  }

  private async loop(): Promise<void> {
    do {
      await this.ctx.clock.sleep(this.delayMs, this.stopping.signal);
      if (this.stopping.signal.aborted) return;
      this.again = false;
      await this.follow();
    } while (this.again);
  }

  private async follow(): Promise<void> {
    const { signal } = this.stopping;
    for (const [name, step] of STEPS) {
      try {
        await step(this.ctx, signal);
      } catch (error) {
        if (!signal.aborted)
          this.ctx.log.named("synapse.metrics.background_process_metrics").error(`Background process '${name}' threw an exception`, { error });
      }
    }
  }
}

const STEPS: readonly (readonly [name: string, step: (ctx: Context, signal: AbortSignal) => Promise<void>])[] = [
  ["stats.notify_new_event", updateStats],
  ["user_directory.notify_new_event", updateUserDirectory],
  ["room_forgetter.notify_new_event", forgetRoomsOnLeave],
];
