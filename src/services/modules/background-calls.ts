import type { Timer } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import type { Context } from "../context.ts";
import { outsideOfHeldRoom } from "./held-room.ts";

/** What modules do by themselves. A loop does not begin anew before its last call has ended. */
export class BackgroundCalls {
  private readonly timers = new Set<Timer>();
  private waiting: (() => void)[] = [];
  private closed = false;

  constructor(
    private readonly context: () => Context,
    private readonly log: Logger,
  ) {}

  loop(fn: () => unknown, ms: number, desc: string | undefined): void {
    this.whenUp(() => {
      const ctx = this.context();
      let running = false;
      this.timers.add(
        ctx.clock.every(ms, () => {
          if (running) return;
          running = true;
          void this.run(fn, desc).finally(() => (running = false));
        }),
      );
    });
  }

  later(fn: () => unknown, ms: number, desc: string | undefined): void {
    this.whenUp(() => {
      const timer = this.context().clock.after(ms, () => {
        this.timers.delete(timer);
        void this.run(fn, desc);
      });
      this.timers.add(timer);
    });
  }

  now(fn: () => unknown, desc: string | undefined): void {
    void this.run(fn, desc);
  }

  /** The server is composed: what was asked for while modules were being made begins. */
  start(): void {
    const waiting = this.waiting;
    this.waiting = [];
    this.started = true;
    for (const begin of waiting) begin();
  }

  close(): void {
    this.closed = true;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }

  private started = false;

  private whenUp(begin: () => void): void {
    if (this.started) begin();
    else this.waiting.push(begin);
  }

  private async run(fn: () => unknown, desc: string | undefined): Promise<void> {
    if (this.closed) return;
    try {
      await outsideOfHeldRoom(async () => await fn());
    } catch (error) {
      if (!this.closed) this.log.error(`The background call ${desc ?? (fn.name || "of a module")} failed`, { error });
    }
  }
}
