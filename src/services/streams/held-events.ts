import type { MatrixEvent } from "../../protocol/event/event.ts";
import { eventIdsBetween } from "../../storage/federation/positions.ts";
import type { Context } from "../context.ts";
import type { StoredEvents } from "../events/publish.ts";

/** Events that wait in memory; when there are more, they are read from the database. */
const MAX_HELD = 5_000;

export interface EventBatch {
  readonly events: readonly MatrixEvent[];
  /** Everything wanted up to here is in `events`. */
  readonly position: number;
}

/** New events in the order of the events stream for a reader that follows it: from memory where all are there, else from the database. */
export class HeldEvents {
  /** Complete from `heldFrom` on. */
  private held: MatrixEvent[] = [];
  private heldFrom: number;
  private readonly storedTimes = new WeakMap<MatrixEvent, number>();

  constructor(
    private readonly ctx: Pick<Context, "clock" | "events" | "read" | "streams">,
    private readonly options: {
      /** Events taken at once. */
      readonly batch: number;
      /** As they were sent, without redactions. */
      readonly raw: boolean;
      wants(event: MatrixEvent): boolean;
    },
  ) {
    this.heldFrom = ctx.streams.events.currentToken();
  }

  /** A batch was stored (the publisher calls it before the events are visible). */
  stored({ events, backfilled }: StoredEvents): void {
    if (backfilled) return;
    for (const event of events) {
      if (event.streamOrdering !== undefined && this.options.wants(event)) {
        this.held.push(event);
        this.storedTimes.set(event, this.ctx.clock.now());
      }
    }
    if (this.held.length <= MAX_HELD) return;
    this.heldFrom = Math.max(...this.held.map((event) => event.streamOrdering!));
    this.held = [];
  }

  /** The next events after `after`; the same again until they are released. */
  async take(after: number, upTo: number): Promise<EventBatch> {
    const { batch, raw } = this.options;
    if (after >= this.heldFrom) {
      this.held.sort((a, b) => a.streamOrdering! - b.streamOrdering!);
      const visible = this.held.filter(({ streamOrdering }) => streamOrdering! > after && streamOrdering! <= upTo);
      const events = visible.slice(0, batch);
      return { events, position: visible.length > batch ? events.at(-1)!.streamOrdering! : upTo };
    }
    const rows = await eventIdsBetween(this.ctx.read, after, upTo, batch);
    const ids = rows.map((row) => row.event_id);
    const found = await this.ctx.events.get(ids, { raw });
    const events = ids.flatMap((id) => found.get(id) ?? []).filter((event) => this.options.wants(event));
    return { events, position: rows.length < batch ? upTo : rows.at(-1)!.stream_ordering };
  }

  /** When the event was stored (milliseconds); where it was read from the database, when its sender says it was sent. */
  storedAt(event: MatrixEvent): number {
    return this.storedTimes.get(event) ?? event.originServerTs;
  }

  /** Events up to here are dealt with. */
  release(position: number): void {
    this.held = this.held.filter((event) => event.streamOrdering! > position);
  }
}
