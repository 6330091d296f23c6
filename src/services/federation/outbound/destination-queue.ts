import { DestinationDenied, DestinationUnavailable, RemoteError } from "../../../outbound/federation/client.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { acknowledgePokes } from "../../../storage/devices/lists-outbound.ts";
import { deleteOutboxMessages } from "../../../storage/devices/inbox.ts";
import { destinationRows, missedEvents } from "../../../storage/federation/destinations.ts";
import type { Context } from "../../context.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import { type CatchUpContext, eventsToCatchUp } from "./catch-up.ts";
import { deviceListEdus, toDeviceEdus } from "./device-edus.ts";
import { type Edu, PendingEdus, type PublicReceipt } from "./pending-edus.ts";
import { MAX_EDUS, MAX_PDUS, type TransactionSender } from "./transactions.ts";
import type { Turns } from "../../../lib/turns.ts";
import type { UserPresence } from "../../../storage/presence/presence.ts";

export type QueueContext = CatchUpContext & Pick<Context, "backoff" | "clock" | "config" | "log" | "streams" | "transaction">;

/** What the queues of all servers share. */
export interface QueueTools {
  readonly transactions: TransactionSender;
  readonly acknowledgements: Acknowledgements;
  /** Transactions are made ready in turn, so that thousands of servers do not take the database from those who wait for an answer. */
  readonly preparing: Turns;
  readonly signal: AbortSignal;
}

/** A server that is left in peace for longer than this has been away so long that what it missed is worked out anew when it is back. */
export const CATCH_UP_INTERVAL_MS = 3_600_000;
/** More events than this do not wait in memory. */
const MAX_WAITING_EVENTS = 1_000;
/** Places of a transaction that to-device messages leave to device lists. */
const RESERVED_EDUS = 10;
const CATCH_UP_BATCH = 50;

/**
 * What is to go to one server: events in memory, or, when it was away, what it missed (`destination_rooms`); passing EDUs in memory; to-device
 * messages and device list changes in the database. One transaction is under way at a time.
 */
export class DestinationQueue {
  private events: MatrixEvent[] = [];
  private readonly edus = new PendingEdus();
  /** Rows for the server may wait in the database. */
  private deviceRows = true;
  /** True until it is known that the server has missed nothing. */
  private catchingUp = true;
  private lastSuccessful: number | undefined;
  private hasNews = false;
  private loop: Promise<void> | undefined;

  constructor(
    private readonly ctx: QueueContext,
    private readonly tools: QueueTools,
    readonly destination: string,
  ) {}

  get isSending(): boolean {
    return this.loop !== undefined;
  }

  get pendingEvents(): number {
    return this.events.length;
  }

  get pendingEdus(): number {
    return this.edus.size;
  }

  addEvent(event: MatrixEvent): void {
    // While it catches up, `destination_rooms` says what there is.
    if (this.catchingUp && this.lastSuccessful !== undefined) return this.wake();
    this.events.push(event);
    if (this.events.length > MAX_WAITING_EVENTS) this.startCatchingUp();
    this.wake();
  }

  addKeyed(key: string, edu: Edu): void {
    this.edus.addKeyed(key, edu);
    this.wake();
  }

  /** Does not wake the queue. */
  addPresence(states: readonly UserPresence[]): void {
    this.edus.addPresence(states);
    this.hasNews = true;
  }

  /** Does not wake the queue. */
  addReceipt(receipt: PublicReceipt): void {
    this.edus.addReceipt(receipt);
    this.hasNews = true;
  }

  /** Rows for the server were written. Does not wake the queue. */
  noteDeviceRows(): void {
    this.deviceRows = true;
    this.hasNews = true;
  }

  /** Sends what there is. */
  wake(): void {
    this.hasNews = true;
    if (this.loop !== undefined || this.tools.signal.aborted) return;
    this.loop = this.run();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.loop !== undefined) await this.loop;
  }

  private async run(): Promise<void> {
    let isUp = false;
    try {
      isUp = await this.ctx.backoff.mayTry(this.destination);
      if (isUp && this.catchingUp) await this.catchUp();
      while (isUp && this.hasNews && !this.catchingUp && !this.tools.signal.aborted) {
        this.hasNews = false;
        await this.sendOnce();
      }
    } catch (error) {
      isUp = false;
      this.explain(error);
    }
    if (!isUp) await this.giveUpForLong().catch((error: unknown) => this.explain(error));
    this.loop = undefined;
    if (isUp && this.hasNews) this.wake(); // came when the last look was over already
  }

  /** A server that is away for long: what passes is dropped, events are worked out anew when it is back. */
  private async giveUpForLong(): Promise<void> {
    if ((await this.ctx.backoff.interval(this.destination)) <= CATCH_UP_INTERVAL_MS) return;
    this.edus.clear();
    this.startCatchingUp();
  }

  /** Events for the server are not handed to the queue: what it misses is worked out from the database. */
  startCatchingUp(): void {
    this.catchingUp = true;
    this.events = [];
  }

  private async sendOnce(): Promise<void> {
    const { destination } = this;
    const edus: Edu[] = [];
    let rows: { messages: number | undefined; devices: number | undefined } | undefined;
    if (this.deviceRows) rows = await this.tools.preparing.run(() => this.takeWithDeviceRows(edus));
    else edus.push(...this.edus.takeFirst(this.ctx.clock.now()));
    edus.push(...this.edus.takeOthers(MAX_EDUS - edus.length));
    const events = this.events.slice(0, MAX_PDUS);
    if (events.length > 0 || edus.length > 0) await this.tools.transactions.send(destination, events, edus);
    this.events = this.events.slice(events.length);
    if (this.events.length > 0 || !this.edus.isEmpty) this.hasNews = true;
    await this.acknowledge(rows?.messages, rows?.devices, events.at(-1)?.streamOrdering);
  }

  /** Takes the EDUs that come first, and what waits in the database; returns up to where that is in them. */
  private async takeWithDeviceRows(edus: Edu[]): Promise<{ messages: number | undefined; devices: number | undefined }> {
    const { ctx, destination } = this;
    edus.push(...this.edus.takeFirst(ctx.clock.now()));
    this.deviceRows = false; // whoever writes more meanwhile says so
    try {
      const messages = await toDeviceEdus(ctx, destination, MAX_EDUS - edus.length - RESERVED_EDUS);
      edus.push(...messages.edus);
      const devices = await deviceListEdus(ctx, destination, MAX_EDUS - edus.length);
      edus.push(...devices.edus);
      if (messages.upTo !== undefined || devices.upTo !== undefined) this.deviceRows = this.hasNews = true;
      return { messages: messages.upTo, devices: devices.upTo };
    } catch (error) {
      this.deviceRows = true;
      throw error;
    }
  }

  /** The server has it: written down. */
  private async acknowledge(messages: number | undefined, devices: number | undefined, events: number | undefined): Promise<void> {
    if (messages !== undefined || devices !== undefined) {
      await this.ctx.transaction(
        "federation_sent",
        async (txn) => {
          if (messages !== undefined) await deleteOutboxMessages(txn, this.destination, messages);
          if (devices !== undefined) await acknowledgePokes(txn, this.destination, devices);
        },
        { isolation: "read committed" },
      );
    }
    if (events === undefined) return;
    await this.tools.acknowledgements.note(this.destination, events);
    this.lastSuccessful = events;
  }

  /** Sends the newest events of rooms in which the server missed something, room by room. */
  private async catchUp(): Promise<void> {
    const { ctx, destination } = this;
    if (this.lastSuccessful === undefined) {
      const [row] = await destinationRows(ctx.read, [destination]);
      const position = row?.last_successful_stream_ordering ?? 0;
      // What came since the start waits in memory; when nothing was missed before, there is nothing to catch up.
      const [missed] = await missedEvents(ctx.read, destination, position, 1);
      const first = this.events[0]?.streamOrdering;
      if (missed === undefined || (first !== undefined && missed.stream_ordering >= first)) {
        this.catchingUp = false;
        return;
      }
      this.lastSuccessful = position;
      this.events = [];
    }
    for (;;) {
      this.hasNews = false;
      const missed = await missedEvents(ctx.read, destination, this.lastSuccessful, CATCH_UP_BATCH);
      if (missed.length === 0) {
        if (this.hasNews) continue; // an event may have come after the look
        this.catchingUp = false;
        this.hasNews = true; // EDUs may wait
        return;
      }
      for (const row of missed) {
        if (this.tools.signal.aborted) return;
        const events = await this.tools.preparing.run(() => eventsToCatchUp(ctx, destination, row, this.lastSuccessful!));
        if (events.length > 0) await this.tools.transactions.send(destination, events, []);
        await this.acknowledge(undefined, undefined, row.stream_ordering);
      }
    }
  }

  private explain(error: unknown): void {
    const log = this.ctx.log.named("synapse.federation.sender.per_destination_queue");
    if (this.tools.signal.aborted) return;
    if (error instanceof DestinationDenied || error instanceof DestinationUnavailable) log.info(`TX [${this.destination}] ${error.message}`);
    else if (error instanceof RemoteError) log.warn(`TX [${this.destination}] Received ${error.status} response to transaction`);
    else log.error(`TX [${this.destination}] Failed to send transaction`, { error });
  }
}
