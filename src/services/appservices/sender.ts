import type { AppserviceRegistration } from "../../config/appservice-file.ts";
import { AppserviceClient } from "../../outbound/appservice.ts";
import { HttpClient } from "../../outbound/http-client.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { appserviceStates } from "../../storage/appservices/state.ts";
import { appservicesWithTransactions } from "../../storage/appservices/transactions.ts";
import type { Context } from "../context.ts";
import type { Publisher } from "../events/publish.ts";
import { EventFollower } from "../streams/event-follower.ts";
import { AppserviceEventFeed } from "./event-feed.ts";
import { ExtrasSource } from "./extras.ts";
import { AppserviceInterest } from "./interest.ts";
import { AppserviceQueries } from "./queries.ts";
import { TransactionQueue } from "./transaction-queue.ts";

export type SenderContext = Pick<
  Context,
  | "accounts"
  | "changes"
  | "clock"
  | "config"
  | "events"
  | "log"
  | "members"
  | "metrics"
  | "notifier"
  | "presence"
  | "read"
  | "streams"
  | "transaction"
  | "typing"
>;

/** For so long a server that stops waits for an answer that is under way. */
const CLOSING_MS = 1_000;

/** Tells application services what happens (Application Service API, "Pushing events"): one queue for each of them, fed by the events stream. */
export class AppserviceSender {
  /** Questions to application services. */
  readonly queries: AppserviceQueries;
  readonly interest: AppserviceInterest;
  private readonly registrations: readonly AppserviceRegistration[];
  private readonly clock: Context["clock"];
  private readonly http: HttpClient;
  private readonly client: AppserviceClient;
  private readonly queues = new Map<string, TransactionQueue>();
  private readonly undo: (() => void)[] = [];
  private follower: EventFollower | undefined;
  private closing = false;

  constructor(
    /** Looked at after the server is composed. */
    private readonly context: () => SenderContext,
    basis: Pick<Context, "clock" | "config" | "log" | "members" | "read">,
    userAgentSuffix: string | undefined,
    trusted?: readonly string[],
  ) {
    const { registrations, useLegacyAuthorization } = basis.config.appservice;
    this.clock = basis.clock;
    this.http = new HttpClient({ userAgent: `Myelin${userAgentSuffix === undefined ? "" : ` ${userAgentSuffix}`}`, trusted });
    this.client = new AppserviceClient(this.http, useLegacyAuthorization);
    this.registrations = registrations.filter(({ url }) => url !== undefined);
    this.interest = new AppserviceInterest(basis, registrations);
    this.queries = new AppserviceQueries(basis, this.client, registrations);
  }

  /** Begins to send, where no other process does that. */
  async start(publisher: Publisher): Promise<void> {
    const ctx = this.context();
    if (!ctx.config.workers.shouldNotifyAppservices || this.registrations.length === 0 || this.queues.size > 0) return;
    const [states, waiting] = await Promise.all([appserviceStates(ctx.read), appservicesWithTransactions(ctx.read)]);
    for (const service of this.registrations) {
      const before = states.get(service.id);
      const extras = ExtrasSource.of(ctx, service, this.interest, before?.positions);
      await extras?.save(true);
      this.queues.set(
        service.id,
        new TransactionQueue(ctx, this.client, service, extras, { hasTransactions: waiting.has(service.id), isDown: before?.state === "down" }),
      );
    }
    const wakeAll = (): void => {
      for (const queue of this.queues.values()) queue.wake();
    };
    this.undo.push(
      ...(["receipts", "presence", "toDevice", "deviceLists"] as const).map((stream) => ctx.streams[stream].onAdvance(wakeAll)),
      ctx.notifier.onAnything(wakeAll), // typing
    );
    const feed = new AppserviceEventFeed(
      ctx,
      this.queues,
      (event) => this.interest.inEvent(event),
      (events) => this.makeUsersKnown(ctx, events),
    );
    this.follower = EventFollower.start(ctx, publisher, feed);
    wakeAll();
  }

  /** The service says that it is there. */
  retryNow(serviceId: string): void {
    this.queues.get(serviceId)?.retryNow();
  }

  /** Resolves when all that can be sent now has been sent. */
  async settled(): Promise<void> {
    await this.follower?.settled();
    for (const queue of this.queues.values()) await queue.settled();
  }

  async close(): Promise<void> {
    for (const undo of this.undo) undo();
    this.closing = true;
    const closing = Promise.all([this.follower?.close(), ...[...this.queues.values()].map((queue) => queue.close())]);
    const patience = new AbortController();
    await Promise.race([closing.catch(() => {}), this.clock.sleep(CLOSING_MS, patience.signal)]);
    patience.abort();
    // What takes longer is broken off: it is in the database, and goes out again.
    await this.http.close();
    await closing;
  }

  /** Services make their users when they are asked about them: they are asked before they hear of an event of such a user. */
  private async makeUsersKnown(ctx: SenderContext, events: readonly MatrixEvent[]): Promise<void> {
    const { serverName } = ctx.config.server;
    const users = new Set(events.flatMap(({ sender, type, stateKey }) => (type === "m.room.member" && stateKey !== undefined ? [sender, stateKey] : [sender])));
    await Promise.all(
      [...users].map(async (userId) => {
        if (getDomain(userId) !== serverName || this.interest.inUser(userId).size === 0) return;
        if (this.registrations.some(({ sender }) => sender === userId) || (await ctx.accounts.user(userId)) !== undefined) return;
        await this.queries.provideUser(userId);
        if (this.closing) throw new Error("The server stops: whether there is such a user is asked again");
      }),
    );
  }
}
