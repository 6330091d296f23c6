import { BackgroundWork } from "../../lib/background-work.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { Context } from "../context.ts";
import { outsideOfHeldRoom } from "./held-room.ts";
import type { Publisher, StoredEvents } from "../events/publish.ts";

type Needs = Pick<Context, "config" | "log" | "modules" | "state" | "streams">;

/** Tells modules of new events (`on_new_event`) once everybody can see them, with the room's state of that time. */
export class NewEvents {
  private waiting: MatrixEvent[] = [];
  private readonly telling: BackgroundWork;
  private readonly undo: (() => void)[] = [];

  constructor(private readonly ctx: Needs) {
    this.telling = new BackgroundWork((error) => ctx.log.named("synapse.module_api").warn("Modules could not be told of new events", { error }));
  }

  start(publisher: Publisher): void {
    if (!this.ctx.modules.thirdPartyRules.has("on_new_event")) return;
    this.undo.push(
      publisher.onStored((stored) => this.stored(stored)),
      this.ctx.streams.events.onAdvance((token) => this.tellUpTo(token)),
    );
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    for (const stop of this.undo.splice(0)) stop();
    this.waiting = [];
    await this.telling.settled();
  }

  private stored({ backfilled, events }: StoredEvents): void {
    if (backfilled) return;
    this.waiting.push(...events.filter((event) => !event.outlier || isMembershipFromOutside(event, this.ctx.config.server.serverName)));
  }

  private tellUpTo(token: number): void {
    const visible = this.waiting.filter((event) => (event.streamOrdering ?? 0) <= token);
    if (visible.length === 0) return;
    this.waiting = this.waiting.filter((event) => (event.streamOrdering ?? 0) > token);
    // Whoever stored them may be judging an event at this moment: these callbacks are no part of that.
    this.telling.add(outsideOfHeldRoom(() => this.tell(visible)));
  }

  private async tell(events: readonly MatrixEvent[]): Promise<void> {
    for (const event of events) {
      try {
        await this.ctx.modules.thirdPartyRules.newEvent(event, async () => await this.ctx.state.current(event.roomId));
      } catch (error) {
        this.ctx.log.named("synapse.module_api").warn(`Modules could not be told of ${event.eventId}`, { error });
      }
    }
  }
}

/** Invites, and what other memberships local users have in rooms that this server is not in. */
function isMembershipFromOutside(event: MatrixEvent, serverName: string): boolean {
  return event.membership === "invite" || (event.membership !== undefined && getDomain(event.stateKey ?? "") === serverName);
}
