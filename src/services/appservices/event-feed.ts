import { Repeated } from "../../lib/repeated.ts";
import { signals } from "../../lib/signals.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import {
  appservicePosition,
  nextTransactionIds,
  putAppservicePosition,
  putTransactions,
  type StoredTransaction,
} from "../../storage/appservices/transactions.ts";
import type { Context } from "../context.ts";
import type { StoredEvents } from "../events/publish.ts";
import { HeldEvents } from "../streams/held-events.ts";
import type { ServiceIds } from "./interest.ts";
import type { TransactionQueue } from "./transaction-queue.ts";

export type FeedContext = Pick<Context, "clock" | "events" | "log" | "read" | "streams" | "transaction">;

/** Events taken at once; as many go into one transaction at most (as Synapse). */
export const BATCH = 100;
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
  private readonly held: HeldEvents;
  private readonly following: Repeated;

  constructor(
    private readonly ctx: FeedContext,
    private readonly queues: ReadonlyMap<string, TransactionQueue>,
    private readonly interested: (event: MatrixEvent) => Promise<ServiceIds>,
    /** Called with events that somebody wants, before they are handed out. */
    private readonly prepare: (events: readonly MatrixEvent[]) => Promise<void>,
  ) {
    this.held = new HeldEvents(ctx, { batch: BATCH, raw: false, wants: () => true });
    this.following = new Repeated(
      () => this.run(),
      (error) => {
        if (this.following.isClosed) return;
        ctx.log.named("synapse.handlers.appservice").error("Events could not be put into transactions of application services", { error });
        ctx.clock.after(RETRY_MS, () => this.poke());
      },
    );
  }

  /** A batch was stored (the publisher calls it before the events are visible). */
  stored(stored: StoredEvents): void {
    this.held.stored(stored);
  }

  /** Goes on to the newest visible event. */
  poke(): void {
    this.following.poke();
  }

  /** Resolves when everything visible is in transactions. */
  settled(): Promise<void> {
    return this.following.settled();
  }

  async close(): Promise<void> {
    await this.following.close();
    if (this.position !== undefined && this.position > this.saved) await this.write(this.position, []);
  }

  private async run(): Promise<void> {
    const { streams, read } = this.ctx;
    if (this.position === undefined) this.position = this.saved = await appservicePosition(read);
    const upTo = streams.events.currentToken();
    while (this.position < upTo && !this.following.isClosed) {
      const { events, position } = await this.held.take(this.position, upTo);
      await this.handOut(events, position);
      const storedAt = events.map((event) => this.held.storedAt(event));
      const rooms = new Set(events.map(({ roomId }) => roomId)).size;
      signals.eventsProcessed.emit({ name: "appservice_sender", rooms, storedAt, at: this.ctx.clock.now() });
      signals.positionReached.emit({ name: "appservice_sender", position });
      this.held.release(position);
      this.position = position;
    }
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
