import { Repeated } from "../../lib/repeated.ts";
import { signals } from "../../lib/signals.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { Context } from "../context.ts";
import type { Publisher } from "../events/publish.ts";
import { HeldEvents } from "./held-events.ts";

export type FollowerContext = Pick<Context, "clock" | "events" | "read" | "streams">;

/** What is done with the events that are followed. */
export interface EventFeed {
  /** Synapse's name: the label in the metrics. */
  readonly name: "appservice_sender" | "federation_sender";
  /** Events taken at once. */
  readonly batch: number;
  /** As they were sent, without redactions. */
  readonly raw: boolean;
  wants(event: MatrixEvent): boolean;
  /** How far it had come, as the database has it. */
  openPosition(): Promise<number>;
  /** Deals with events in order; nothing that it wants is missing up to `position`. True where it wrote the position down with what it did. */
  handOut(events: readonly MatrixEvent[], position: number): Promise<boolean>;
  /** Writes the position down alone. */
  savePosition(position: number): Promise<void>;
  /** Hears of errors; what failed is tried again after a while. */
  failed(error: unknown): void;
}

/** The position is written down at most so often where the feed does not do it by itself: after a crash as much is handed out again. */
const SAVE_INTERVAL_MS = 1_000;
const RETRY_MS = 5_000;

/** Hands new events to a feed in the order of the events stream, from where it stopped last. */
export class EventFollower {
  private position: number | undefined;
  private saved: number | undefined;
  private lastSave = 0;
  private readonly held: HeldEvents;
  private readonly following: Repeated;
  private readonly undo: readonly (() => void)[];

  /** Begins with what the feed has not had yet, and follows the stream from then on. */
  static start(ctx: FollowerContext, publisher: Publisher, feed: EventFeed): EventFollower {
    const follower = new EventFollower(ctx, publisher, feed);
    follower.following.poke();
    return follower;
  }

  private constructor(
    private readonly ctx: FollowerContext,
    publisher: Publisher,
    private readonly feed: EventFeed,
  ) {
    this.held = new HeldEvents(ctx, feed);
    this.following = new Repeated(
      () => this.follow(),
      (error) => {
        if (this.following.isClosed) return;
        feed.failed(error);
        ctx.clock.after(RETRY_MS, () => this.following.poke());
      },
    );
    this.undo = [publisher.onStored((stored) => this.held.stored(stored)), ctx.streams.events.onAdvance(() => this.following.poke())];
  }

  /** Resolves when everything visible is handed out. */
  settled(): Promise<void> {
    return this.following.settled();
  }

  /** Takes nothing more, waits for what is under way, and writes down how far it has come. */
  async close(): Promise<void> {
    for (const undo of this.undo) undo();
    await this.following.close();
    if (this.position !== undefined && this.position !== this.saved) await this.feed.savePosition(this.position);
  }

  private async follow(): Promise<void> {
    const { clock, streams } = this.ctx;
    const { name } = this.feed;
    this.position ??= this.saved = await this.feed.openPosition();
    const upTo = streams.events.currentToken();
    while (this.position < upTo && !this.following.isClosed) {
      const { events, position } = await this.held.take(this.position, upTo);
      const isSaved = await this.feed.handOut(events, position);
      const storedAt = events.map((event) => this.held.storedAt(event));
      signals.eventsProcessed.emit({ name, rooms: new Set(events.map(({ roomId }) => roomId)).size, storedAt, at: clock.now() });
      signals.positionReached.emit({ name, position });
      this.held.release(position);
      this.position = position;
      const isTime = clock.now() - this.lastSave >= SAVE_INTERVAL_MS;
      if (!isSaved && isTime) await this.feed.savePosition(position);
      if (!isSaved && !isTime) continue;
      this.saved = position;
      this.lastSave = clock.now();
    }
  }
}
