import type { Timer } from "../../lib/clock.ts";
import { Repeated } from "../../lib/repeated.ts";
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
  private readonly following: Repeated;
  private gathering: Timer | undefined;
  private unsubscribe: (() => void) | undefined;

  constructor(
    private readonly ctx: Context,
    /** Changes are gathered for so long (ms). */
    private readonly delayMs = 100,
  ) {
    this.following = new Repeated(
      () => this.follow(),
      (error) => ctx.log.error("What follows the rooms' state could not be brought up to date", { error }),
    );
  }

  /** Catches up, then follows. */
  start(): void {
    this.unsubscribe = this.ctx.streams.events.onAdvance(() => this.poke());
    this.poke();
  }

  /** Follows all that is there now. */
  async runOnce(): Promise<void> {
    this.following.poke();
    await this.following.settled();
  }

  async close(): Promise<void> {
    this.unsubscribe?.();
    this.gathering?.cancel();
    this.stopping.abort();
    await this.following.close();
  }

  private poke(): void {
    this.gathering ??= this.ctx.clock.after(this.delayMs, () => {
      this.gathering = undefined;
      this.following.poke();
    });
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
