import type { MatrixEvent } from "../../protocol/event/event.ts";
import {
  appservicePosition,
  nextTransactionIds,
  putAppservicePosition,
  putTransactions,
  type StoredTransaction,
} from "../../storage/appservices/transactions.ts";
import type { Context } from "../context.ts";
import type { EventFeed } from "../streams/event-follower.ts";
import type { ServiceIds } from "./interest.ts";
import type { TransactionQueue } from "./transaction-queue.ts";

export type FeedContext = Pick<Context, "log" | "read" | "transaction">;

/** As many events go into one transaction at most (as Synapse). */
export const BATCH = 100;

/**
 * Puts the events that application services want into their transactions. The transactions and the position up to which the feed has come are
 * written at once: each event goes into the transactions of a service once, whenever the server stops.
 */
export class AppserviceEventFeed implements EventFeed {
  readonly name = "appservice_sender";
  readonly batch = BATCH;
  readonly raw = false;

  constructor(
    private readonly ctx: FeedContext,
    private readonly queues: ReadonlyMap<string, TransactionQueue>,
    private readonly interested: (event: MatrixEvent) => Promise<ServiceIds>,
    /** Called with events that somebody wants, before they are handed out. */
    private readonly prepare: (events: readonly MatrixEvent[]) => Promise<void>,
  ) {}

  wants(): boolean {
    return true;
  }

  openPosition(): Promise<number> {
    return appservicePosition(this.ctx.read);
  }

  savePosition(position: number): Promise<void> {
    return this.write(position, []);
  }

  failed(error: unknown): void {
    this.ctx.log.named("synapse.handlers.appservice").error("Events could not be put into transactions of application services", { error });
  }

  async handOut(events: readonly MatrixEvent[], position: number): Promise<boolean> {
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
    if (ofInterest.length === 0) return false;
    await this.prepare(ofInterest);
    await this.write(position, [...wanted]);
    return true;
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
  }
}
