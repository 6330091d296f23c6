import type { AppserviceRegistration } from "../../config/appservice-file.ts";
import type { Timer } from "../../lib/clock.ts";
import { stringify } from "../../lib/json.ts";
import { Repeated } from "../../lib/repeated.ts";
import type { AppserviceAddress, AppserviceClient } from "../../outbound/appservice.ts";
import { HttpError, HttpUnavailable } from "../../outbound/http-client.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { clientEvent } from "../../protocol/event/serialise.ts";
import { putAppserviceState } from "../../storage/appservices/state.ts";
import { deleteTransaction, nextTransactionIds, oldestTransactions } from "../../storage/appservices/transactions.ts";
import type { Context } from "../context.ts";
import { previousStates } from "../present.ts";
import type { Extras, ExtrasSource } from "./extras.ts";
import { BATCH } from "./event-feed.ts";

export type QueueContext = Pick<Context, "clock" | "config" | "events" | "log" | "metrics" | "read" | "transaction">;

interface Transaction {
  readonly id: number;
  readonly events: readonly MatrixEvent[];
  /** More may be added: it was not sent yet, by anybody. */
  readonly isOpen: boolean;
}

/** Transactions kept in memory; later ones are read from the database when their turn comes. */
const MAX_HELD = 20;
const PAGE = 10;
const MAX_BACKOFF = 9;

/**
 * What one application service is to get, in order, one transaction at a time. A transaction of events is in the database before it is sent and until
 * the service has confirmed it: it is sent again under the same id, after pauses that double (2 to 512 seconds), until then.
 */
export class TransactionQueue {
  /** The oldest unconfirmed transactions; all of them, unless `hasMore`. */
  private held: Transaction[] = [];
  private hasMore: boolean;
  private lastId = 0;
  private puts = 0;
  private reserved: Promise<void> | undefined;
  private endReservation: (() => void) | undefined;
  /** What was sent with a transaction that failed, but for what is out of date by the next attempt. */
  private lasting: Extras | undefined;
  private isDown: boolean;
  private failures = 0;
  private retry: Timer | undefined;
  private readonly sending: Repeated;
  private readonly address: AppserviceAddress;

  constructor(
    private readonly ctx: QueueContext,
    private readonly client: AppserviceClient,
    private readonly service: AppserviceRegistration,
    private readonly extras: ExtrasSource | undefined,
    /** As the database has it: transactions wait there; the service did not answer at the last attempt. */
    before: { readonly hasTransactions: boolean; readonly isDown: boolean },
  ) {
    this.hasMore = before.hasTransactions;
    this.isDown = before.isDown;
    this.address = { id: service.id, url: service.url!, hsToken: service.hsToken };
    this.sending = new Repeated(
      () => this.sendAll(),
      (error) => {
        ctx.log.named("synapse.appservice.scheduler").error(`Transactions for ${service.id} could not be prepared`, { error });
        this.failed();
      },
    );
  }

  /** The newest transaction, if so many events can still be added to it; it is not sent before `release`. */
  reserve(count: number): { readonly tail: Transaction | undefined } {
    this.reserved = new Promise((resolve) => (this.endReservation = resolve));
    const last = this.hasMore ? undefined : this.held.at(-1);
    return { tail: last?.isOpen === true && last.events.length + count <= BATCH ? last : undefined };
  }

  /** A transaction was written; one with the id of the newest takes its place. */
  put(id: number, events: readonly MatrixEvent[]): void {
    this.puts++;
    const transaction = { id, events, isOpen: true };
    if (this.held.at(-1)?.id === id) this.held[this.held.length - 1] = transaction;
    else if (this.hasMore || this.held.length >= MAX_HELD) this.hasMore = true;
    else this.held.push(transaction);
  }

  release(): void {
    this.reserved = undefined;
    this.endReservation?.();
    this.wake();
  }

  /** There may be something to send. */
  wake(): void {
    if (this.retry === undefined) this.sending.poke();
  }

  /** The service says that it is there: does not wait for the end of the pause. */
  retryNow(): void {
    this.retry?.cancel();
    this.retry = undefined;
    this.wake();
  }

  settled(): Promise<void> {
    return this.sending.settled();
  }

  async close(): Promise<void> {
    this.retry?.cancel();
    await this.sending.close();
    await this.extras?.save(true);
  }

  private async sendAll(): Promise<void> {
    const hasNothing = this.held.length === 0 && !this.hasMore && !this.isDown && this.extras?.hasNews() !== true;
    if (hasNothing || this.retry !== undefined) return;
    while (!this.sending.isClosed && (await this.sendNext()));
  }

  /** True when there may be more to send at once. */
  private async sendNext(): Promise<boolean> {
    const transaction = await this.begin();
    const { extras } = this;
    if (this.isDown && this.lasting === undefined) extras?.skip();
    const more = this.lasting ?? (await extras?.take());
    if (transaction === undefined && (more === undefined || more.isEmpty)) {
      if (this.isDown) await this.cameUp();
      await extras?.save(false);
      return this.hasMore || more?.hasMore === true;
    }
    const id = transaction?.id ?? (await nextTransactionIds(this.ctx.read, 1))[0]!;
    const events = transaction?.events ?? [];
    try {
      await this.client.sendTransaction(this.address, id, await this.body(events, more));
    } catch (error) {
      if (!(error instanceof HttpError) && !(error instanceof HttpUnavailable)) throw error;
      this.ctx.log.named("synapse.appservice.api").warn(`Transaction ${id} for ${this.service.id} failed: ${error.message}`);
      this.ctx.metrics.appserviceFailed(this.service.id);
      if (transaction !== undefined && more !== undefined) this.lasting = more.lasting();
      else extras?.giveBack();
      // Broken off by our own stop: who is down is sent the transactions that wait by the next server, but misses what is fleeting until then.
      if (transaction !== undefined || !this.sending.isClosed) await this.wentDown();
      return false;
    }
    this.ctx.metrics.appserviceSent(this.service.id, { events: events.length, ephemeral: more?.ephemeral.length ?? 0, toDevice: more?.toDevice.length ?? 0 });
    this.lasting = undefined;
    extras?.arrived();
    if (transaction !== undefined) {
      await this.ctx.transaction("complete_appservice_txn", (txn) => deleteTransaction(txn, this.service.id, id), { isolation: "read committed" });
      this.lastId = Math.max(this.lastId, id);
      this.held.shift();
    }
    await extras?.save(false);
    if (this.isDown && this.held.length === 0 && !this.hasMore) await this.cameUp();
    this.failures = 0;
    return true;
  }

  /** The oldest transaction; from now on nothing is added to it. */
  private async begin(): Promise<Transaction | undefined> {
    for (;;) {
      await this.reserved;
      const transaction = await this.oldest();
      if (transaction?.isOpen !== true) return transaction;
      if (this.reserved !== undefined && this.held.length === 1) continue;
      return (this.held[0] = { ...transaction, isOpen: false });
    }
  }

  private async oldest(): Promise<Transaction | undefined> {
    if (this.held.length > 0 || !this.hasMore) return this.held[0];
    const { read, events } = this.ctx;
    const stored = await oldestTransactions(read, this.service.id, this.lastId, PAGE);
    const loaded = await events.get(stored.flatMap(({ eventIds }) => eventIds));
    const { puts } = this;
    const isAll = stored.length < PAGE && (await oldestTransactions(read, this.service.id, stored.at(-1)?.id ?? this.lastId, 1)).length === 0;
    // They may have been sent before the server stopped: nothing is added to them.
    this.held = stored.map(({ id, eventIds }) => ({ id, events: eventIds.flatMap((eventId) => loaded.get(eventId) ?? []), isOpen: false }));
    if (isAll && puts === this.puts) this.hasMore = false;
    return this.held[0];
  }

  private async body(events: readonly MatrixEvent[], extras: Extras | undefined): Promise<string> {
    const { service, ctx } = this;
    const previous = await previousStates(ctx, events);
    const options = {
      now: ctx.clock.now(),
      format: "client-v1",
      strippedState: true,
      adminMetadata: true,
      stickyEvents: ctx.config.experimental.msc4354Enabled,
    } as const;
    const body: Record<string, unknown> = { events: events.map((event) => clientEvent(event, { ...options, unsigned: previous.get(event.eventId) })) };
    if (service.receiveEphemeral) body.ephemeral = extras?.ephemeral ?? [];
    if (service.receiveEphemeralUnstable) body["de.sorunome.msc2409.ephemeral"] = extras?.ephemeral ?? [];
    if (service.receiveEphemeral || service.receiveEphemeralUnstable) body["de.sorunome.msc2409.to_device"] = extras?.toDevice ?? [];
    Object.assign(body, await this.extras?.keyCounts(events, extras));
    if (extras !== undefined && extras.changedDevices.length > 0) body["org.matrix.msc3202.device_lists"] = { changed: extras.changedDevices, left: [] };
    return stringify(body);
  }

  private async wentDown(): Promise<void> {
    if (!this.isDown) {
      this.isDown = true;
      await this.putState("down");
    }
    this.failed();
  }

  private async cameUp(): Promise<void> {
    await this.putState("up");
    this.isDown = false;
  }

  private async putState(state: "up" | "down"): Promise<void> {
    await this.ctx.transaction("set_appservice_state", (txn) => putAppserviceState(txn, this.service.id, state), { isolation: "read committed" });
  }

  private failed(): void {
    if (this.sending.isClosed) return;
    this.failures = Math.min(this.failures + 1, MAX_BACKOFF);
    this.retry = this.ctx.clock.after(2 ** this.failures * 1000, () => {
      this.retry = undefined;
      this.wake();
    });
  }
}
