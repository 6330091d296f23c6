import { setImmediate as nextTurn } from "node:timers/promises";
import { BackgroundWork } from "../../../lib/background-work.ts";
import type { JsonObject } from "../../../lib/json.ts";
import { KeyedMutex } from "../../../lib/keyed-mutex.ts";
import { Turns } from "../../../lib/turns.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { destinationsWaiting } from "../../../storage/federation/destinations.ts";
import { arrivalOf } from "../../../storage/federation/positions.ts";
import type { UserPresence } from "../../../storage/presence/presence.ts";
import type { Context } from "../../context.ts";
import type { Publisher } from "../../events/publish.ts";
import { EventFollower } from "../../streams/event-follower.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import { CATCH_UP_INTERVAL_MS, DestinationQueue, type QueueContext, type QueueTools } from "./destination-queue.ts";
import { type FeedContext, FederationEventFeed } from "./event-feed.ts";
import type { PublicReceipt } from "./pending-edus.ts";
import { TransactionSender } from "./transactions.ts";
import { Wakeups } from "./wakeups.ts";

export type SenderContext = FeedContext & Omit<QueueContext, "persister"> & Pick<Context, "backoff" | "federationClient" | "log" | "modules">;

/** Transactions under way at once; servers that are slow hold one each. */
const SENDING_AT_ONCE = 200;
/** Queues that are given an event in one go. */
const HANDED_OUT_AT_ONCE = 20;
/** Transactions made ready at once: each is a few queries. */
const PREPARING_AT_ONCE = 4;
/** Servers in a room up to which receipts go at once, and the age (milliseconds) of events up to which they always do. */
const SMALL_ROOM = 10;
const RECENT_MS = 60_000;
/** Servers that are told of device rows at once; more are woken one by one. */
const FEW_SERVERS = 20;
const CATCH_UP_PAGE = 25;

/** Sends to other servers what they are to get: one queue for each of them, fed by the events stream and by whoever has EDUs. */
export class FederationSender {
  private readonly queues = new Map<string, DestinationQueue>();
  private follower: EventFollower | undefined;
  private readonly wakeups: Wakeups;
  private readonly stopping = new AbortController();
  /** What must keep its order, by its kind. */
  private readonly ordered = new KeyedMutex();
  private readonly tools: QueueTools;
  private readonly background = new BackgroundWork((error) => {
    if (!this.stopping.signal.aborted) this.ctx.log.named("synapse.federation.sender").warn("Something could not be queued for other servers", { error });
  });
  private readonly undo: (() => void)[] = [];
  private readonly ctx: QueueContext & SenderContext;

  constructor(basis: SenderContext, context: () => Pick<Context, "metrics" | "persister">) {
    this.ctx = {
      ...basis,
      get persister() {
        return context().persister;
      },
    };
    this.tools = {
      transactions: new TransactionSender(basis, new Turns(SENDING_AT_ONCE), this.stopping.signal, (...sent) => context().metrics.transactionSent(...sent)),
      acknowledgements: new Acknowledgements(basis),
      preparing: new Turns(PREPARING_AT_ONCE),
      signal: this.stopping.signal,
    };
    const perSecond = basis.config.ratelimiting.federationRrTransactionsPerRoomPerSecond;
    this.wakeups = new Wakeups(basis.clock, 1_000 / perSecond, (destination) => this.wakeNow(destination));
  }

  /** Begins to send, where no other process does that. */
  start(publisher: Publisher): void {
    if (!this.ctx.config.workers.sendFederation || this.follower !== undefined) return;
    this.undo.push(this.ctx.backoff.onRecovered((destination) => this.wakeNow(destination)));
    const feed = new FederationEventFeed(this.ctx, (event, destinations) => this.deliver(event, destinations));
    this.follower = EventFollower.start(this.ctx, publisher, feed);
  }

  /** Queues that send now, and the events and EDUs that wait in memory. */
  get backlog(): { readonly destinations: number; readonly events: number; readonly edus: number } {
    const queues = [...this.queues.values()];
    const sum = (of: (queue: DestinationQueue) => number): number => queues.reduce((total, queue) => total + of(queue), 0);
    return {
      destinations: queues.filter((queue) => queue.isSending).length,
      events: sum((queue) => queue.pendingEvents),
      edus: sum((queue) => queue.pendingEdus),
    };
  }

  /** An EDU that newer ones of the same key replace. */
  sendKeyed(destinations: Iterable<string>, type: string, key: string, content: JsonObject): void {
    this.inOrder(`${type} ${key}`, () => this.toEach(destinations, (queue) => queue.addKeyed(`${type} ${key}`, { type, content })));
  }

  sendPresence(states: readonly UserPresence[], destinations: Iterable<string>): void {
    this.inOrder("m.presence", () =>
      this.toEach(destinations, (queue) => {
        queue.addPresence(states);
        this.wakeups.add(queue.destination);
      }),
    );
  }

  /**
   * A receipt goes at once where it is likely to be noticed: in small rooms, for new events, and to the server of the event's sender; to the
   * others with whatever goes there next, or in a little while.
   */
  sendReceipt(receipt: PublicReceipt): void {
    this.inOrder(`m.receipt ${receipt.roomId}`, async () => {
      const servers = await this.serversIn(receipt.roomId);
      const reachable = await this.ctx.backoff.triableWithin(servers, CATCH_UP_INTERVAL_MS);
      let isUrgent = (_server: string): boolean => true;
      if (reachable.length >= SMALL_ROOM) {
        const arrival = await arrivalOf(this.ctx.read, receipt.eventIds[0] ?? "");
        const isRecent = arrival !== undefined && this.ctx.clock.now() - arrival.receivedTs < RECENT_MS;
        isUrgent = (server) => isRecent || server === getDomain(arrival?.sender ?? "");
      }
      for (const server of reachable) {
        const queue = this.queue(server);
        if (queue === undefined) continue;
        queue.addReceipt(receipt);
        if (isUrgent(server)) queue.wake();
        else this.wakeups.add(server);
      }
    });
  }

  /** Rows of to-device messages or device list changes for these servers were written. */
  wake(destinations: Iterable<string>): void {
    const all = [...destinations];
    this.background.add(
      this.toEach(all, (queue) => {
        queue.noteDeviceRows();
        if (all.length <= FEW_SERVERS) queue.wake();
        else this.wakeups.add(queue.destination);
      }),
    );
  }

  /** Servers in the room, without this one. */
  async serversIn(roomId: string): Promise<string[]> {
    const partial = await this.ctx.partialRooms.serversOf(roomId);
    const servers = new Set([...(await this.ctx.members.joinedServers(roomId)), ...(partial ?? [])]);
    servers.delete(this.ctx.config.server.serverName);
    return [...servers];
  }

  /** Wakes the queues of servers for which something waits in the database and which may be tried again. A job, each minute. */
  async wakeWaiting(): Promise<void> {
    let after = "";
    while (!this.stopping.signal.aborted) {
      const page = await destinationsWaiting(this.ctx.read, after, this.ctx.clock.now(), CATCH_UP_PAGE);
      if (page.length === 0) return;
      for (const destination of page) {
        this.queue(destination)?.noteDeviceRows();
        this.wakeups.add(destination);
      }
      after = page.at(-1)!;
    }
  }

  /** Resolves when all that was asked for so far has been sent or given up. */
  async settled(): Promise<void> {
    await this.follower?.settled();
    await this.background.settled();
    await Promise.all([...this.queues.values()].map((queue) => queue.settled()));
  }

  /** Breaks off what is under way: it is in the database, or may be lost. */
  async close(): Promise<void> {
    for (const undo of this.undo) undo();
    this.wakeups.close();
    await this.follower?.close();
    this.stopping.abort();
    await this.settled();
  }

  private async deliver(event: MatrixEvent, destinations: readonly string[]): Promise<void> {
    const worthIt = new Set(await this.ctx.backoff.triableWithin(destinations, CATCH_UP_INTERVAL_MS));
    for (const [index, server] of destinations.entries()) {
      // Nothing goes on its way, and nobody else is answered, before the event loop comes round.
      if (index > 0 && index % HANDED_OUT_AT_ONCE === 0) await nextTurn();
      if (worthIt.has(server)) this.queue(server)?.addEvent(event);
      else this.queues.get(server)?.startCatchingUp();
    }
  }

  /** Calls `add` with the queue of each server that is worth it: others have been away for long, and will be for a while. */
  private async toEach(destinations: Iterable<string>, add: (queue: DestinationQueue) => void): Promise<void> {
    const others = [...new Set(destinations)].filter((server) => server !== this.ctx.config.server.serverName);
    for (const server of await this.ctx.backoff.triableWithin(others, CATCH_UP_INTERVAL_MS)) {
      const queue = this.queue(server);
      if (queue !== undefined) add(queue);
    }
  }

  private wakeNow(destination: string): void {
    this.queue(destination)?.wake();
  }

  /** undefined for servers that this one does not talk to, and before the start. */
  private queue(destination: string): DestinationQueue | undefined {
    const { federation } = this.ctx.config;
    if (this.follower === undefined || this.stopping.signal.aborted) return undefined;
    if (federation.domainWhitelist !== undefined && !federation.domainWhitelist.includes(destination)) return undefined;
    let queue = this.queues.get(destination);
    if (queue === undefined) this.queues.set(destination, (queue = new DestinationQueue(this.ctx, this.tools, destination)));
    return queue;
  }

  /** Looks up who is to get something, one after the other of the same kind: what comes later replaces what came before it, never the reverse. */
  private inOrder(kind: string, work: () => Promise<void>): void {
    this.background.add(this.ordered.exclusively(kind, work));
  }
}
