import type { MatrixEvent } from "../../protocol/event/event.ts";
import {
  appservicePosition,
  nextTransactionIds,
  putAppservicePosition,
  putTransactions,
  type StoredTransaction,
} from "../../storage/appservices/transactions.ts";
import { eventIdsBetween } from "../../storage/federation/positions.ts";
import type { Context } from "../context.ts";
import type { StoredEvents } from "../events/publish.ts";
import type { ServiceIds } from "./interest.ts";
import type { TransactionQueue } from "./transaction-queue.ts";

export type FeedContext = Pick<Context, "clock" | "events" | "log" | "read" | "streams" | "transaction">;

/** Events taken at once; as many go into one transaction at most (as Synapse). */
export const BATCH = 100;
/** Events that wait in memory; when there are more, they are read from the database. */
const MAX_HELD = 5_000;
/** How often the position is written down while nobody is interested. */
const SAVE_INTERVAL_MS = 1_000;
const RETRY_MS = 5_000;

/**
 * Puts the events that application services want into their transactions, in the order of the events stream. The transactions and the position
 * up to which it has come are written at once: each event goes into the transactions of a service once, whenever the server stops.
 */
export class AppserviceEventFeed {
  private position: number | undefined;
  private saved = 0;
  private lastSave = 0;
  /** New events; complete from `heldFrom` on. */
  private held: MatrixEvent[] = [];
  private heldFrom: number;
  private running: Promise<void> | undefined;
  private again = false;
  private closed = false;

  constructor(
    private readonly ctx: FeedContext,
    private readonly queues: ReadonlyMap<string, TransactionQueue>,
    private readonly interested: (event: MatrixEvent) => Promise<ServiceIds>,
    /** Called with events that somebody wants, before they are handed out. */
    private readonly prepare: (events: readonly MatrixEvent[]) => Promise<void>,
  ) {
    this.heldFrom = ctx.streams.events.currentToken();
  }

  /** A batch was stored (the publisher calls it before the events are visible). */
  stored({ events, backfilled }: StoredEvents): void {
    if (backfilled) return;
    for (const event of events) if (event.streamOrdering !== undefined) this.held.push(event);
    if (this.held.length <= MAX_HELD) return;
    this.heldFrom = Math.max(...this.held.map((event) => event.streamOrdering!));
    this.held = [];
  }

  /** Goes on to the newest visible event. */
  poke(): void {
    if (this.closed) return;
    if (this.running !== undefined) {
      this.again = true;
      return;
    }
    this.running = this.run()
      .catch((error: unknown) => {
        if (this.closed) return;
        this.ctx.log.named("synapse.handlers.appservice").error("Events could not be put into transactions of application services", { error });
        this.ctx.clock.after(RETRY_MS, () => this.poke());
      })
      .finally(() => {
        this.running = undefined;
        if (this.again) this.poke();
      });
  }

  /** Resolves when everything visible is in transactions. */
  async settled(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.settled();
    if (this.position !== undefined && this.position > this.saved) await this.write(this.position, []);
  }

  private async run(): Promise<void> {
    const { ctx } = this;
    if (this.position === undefined) this.position = this.saved = await appservicePosition(ctx.read);
    do {
      this.again = false;
      const upTo = ctx.streams.events.currentToken();
      while (this.position < upTo && !this.closed) {
        const { events, position } = await this.take(this.position, upTo);
        await this.handOut(events, position);
        this.position = position;
      }
    } while (this.again && !this.closed);
  }

  /** The next events after `after`, from memory where all are there. */
  private async take(after: number, upTo: number): Promise<{ events: MatrixEvent[]; position: number }> {
    if (after >= this.heldFrom) {
      this.held.sort((a, b) => a.streamOrdering! - b.streamOrdering!);
      const visible = this.held.filter((event) => event.streamOrdering! <= upTo);
      const events = visible.slice(0, BATCH);
      const position = visible.length > BATCH ? events.at(-1)!.streamOrdering! : upTo;
      return { events: events.filter((event) => event.streamOrdering! > after), position };
    }
    const rows = await eventIdsBetween(this.ctx.read, after, upTo, BATCH);
    const found = await this.ctx.events.get(rows.map((row) => row.event_id));
    return { events: rows.flatMap((row) => found.get(row.event_id) ?? []), position: rows.length < BATCH ? upTo : rows.at(-1)!.stream_ordering };
  }

  private async handOut(events: readonly MatrixEvent[], position: number): Promise<void> {
    const wanted = new Map<string, MatrixEvent[]>();
    const ofInterest: MatrixEvent[] = [];
    for (const event of events) {
      const services = await this.interested(event);
      if (services.size > 0) ofInterest.push(event);
      for (const id of services) {
        const list = wanted.get(id);
        if (list === undefined) wanted.set(id, [event]);
        else list.push(event);
      }
    }
    if (ofInterest.length > 0) {
      await this.prepare(ofInterest);
      await this.write(position, [...wanted]);
    } else if (this.ctx.clock.now() - this.lastSave >= SAVE_INTERVAL_MS) {
      await this.write(position, []);
    }
    this.held = this.held.filter((event) => event.streamOrdering! > position);
  }

  private async write(position: number, wanted: readonly (readonly [serviceId: string, events: readonly MatrixEvent[]])[]): Promise<void> {
    const additions = wanted.map(([serviceId, events]) => ({
      queue: this.queues.get(serviceId)!,
      serviceId,
      events,
      ...this.queues.get(serviceId)!.reserve(events.length),
    }));
    try {
      await this.ctx.transaction(
        "create_appservice_txn",
        async (txn) => {
          const fresh = additions.filter(({ tail }) => tail === undefined);
          const ids = fresh.length === 0 ? [] : await nextTransactionIds(txn, fresh.length);
          const rows = additions.map((addition): StoredTransaction & { queue: TransactionQueue; events: readonly MatrixEvent[] } => {
            const all = [...(addition.tail?.events ?? []), ...addition.events];
            return {
              queue: addition.queue,
              events: all,
              appserviceId: addition.serviceId,
              id: addition.tail?.id ?? ids[fresh.indexOf(addition)]!,
              eventIds: all.map((event) => event.eventId),
            };
          });
          if (rows.length > 0) await putTransactions(txn, rows);
          await putAppservicePosition(txn, position);
          txn.afterCommit(() => {
            for (const { queue, id, events } of rows) queue.put(id, events);
          });
        },
        { isolation: "read committed" },
      );
    } finally {
      for (const { queue } of additions) queue.release();
    }
    this.saved = position;
    this.lastSave = this.ctx.clock.now();
  }
}
