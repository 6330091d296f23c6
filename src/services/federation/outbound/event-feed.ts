import { Repeated } from "../../../lib/repeated.ts";
import { signals } from "../../../lib/signals.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { storeDestinationRooms } from "../../../storage/federation/destinations.ts";
import { openSenderPosition, storeSenderPosition } from "../../../storage/federation/positions.ts";
import type { Context } from "../../context.ts";
import type { StoredEvents } from "../../events/publish.ts";
import { type JoinedServersContext, serversBefore } from "./joined-servers.ts";
import { HeldEvents } from "../../streams/held-events.ts";
import type { PartialRooms } from "../partial-rooms.ts";

export type EventFeedContext = JoinedServersContext &
  Pick<Context, "clock" | "config" | "events" | "log" | "read" | "streams" | "transaction"> & { readonly partialRooms: PartialRooms };

/** Events taken at once. */
const BATCH = 100;
/** The position is written down at most so often: what is sent twice after a crash is dropped by those who have it. */
const SAVE_INTERVAL_MS = 1_000;
const RETRY_MS = 5_000;

/**
 * Hands the events of this server to the queues of the servers that are in the room, in the order of the events stream. How far it has got is
 * in the database (`federation_stream_position`), and so is, before anything is sent, who is to get what (`destination_rooms`).
 */
export class EventFeed {
  /** Events up to here are handed out. */
  private position: number | undefined;
  private saved: number | undefined;
  private lastSave = 0;
  /** New events of this server. */
  private readonly held: HeldEvents;
  private readonly following: Repeated;

  constructor(
    private readonly ctx: EventFeedContext,
    private readonly deliver: (event: MatrixEvent, destinations: readonly string[]) => Promise<void>,
  ) {
    this.held = new HeldEvents(ctx, { batch: BATCH, raw: true, wants: (event) => this.isToBeSent(event) });
    this.following = new Repeated(
      () => this.run(),
      (error) => {
        ctx.log.named("synapse.federation.sender").error("Events could not be handed to the queues of other servers", { error });
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

  /** Resolves when everything visible has been handed out. */
  settled(): Promise<void> {
    return this.following.settled();
  }

  async close(): Promise<void> {
    await this.following.close();
    await this.save();
  }

  private async run(): Promise<void> {
    const { ctx } = this;
    const { instanceName } = ctx.config.workers;
    if (this.position === undefined) {
      const stored = await ctx.transaction("federation_stream_position", (txn) => openSenderPosition(txn, instanceName));
      this.position = this.saved = stored;
    }
    const upTo = ctx.streams.events.currentToken();
    while (this.position < upTo && !this.following.isClosed) {
      const { events, position } = await this.held.take(this.position, upTo);
      await this.handOut(events);
      const storedAt = events.map((event) => this.held.storedAt(event));
      signals.eventsProcessed.emit({ name: "federation_sender", rooms: new Set(events.map(({ roomId }) => roomId)).size, storedAt, at: ctx.clock.now() });
      signals.positionReached.emit({ name: "federation_sender", position });
      this.held.release(position);
      this.position = position;
      if (ctx.clock.now() - this.lastSave >= SAVE_INTERVAL_MS) await this.save();
    }
  }

  /** Sent by this server, or by another on whose behalf this one let its user in. Memberships learnt out of band are for others to tell. */
  private isToBeSent(event: MatrixEvent): boolean {
    const { send_on_behalf_of: onBehalfOf, out_of_band_membership: outOfBand, proactively_send: proactively } = event.internal;
    if (getDomain(event.sender) !== this.ctx.config.server.serverName && onBehalfOf === undefined) return false;
    return outOfBand !== true && proactively !== false && !event.outlier && event.internal.soft_failed !== true && event.rejectedReason === undefined;
  }

  private async handOut(events: readonly MatrixEvent[]): Promise<void> {
    const deliveries: { event: MatrixEvent; destinations: string[] }[] = [];
    for (const event of events) {
      const destinations = await this.destinationsOf(event);
      if (destinations.length > 0) deliveries.push({ event, destinations });
    }
    if (deliveries.length === 0) return;
    const newest = new Map<string, { destination: string; roomId: string; streamOrdering: number }>();
    for (const { event, destinations } of deliveries) {
      for (const destination of destinations)
        newest.set(`${destination} ${event.roomId}`, { destination, roomId: event.roomId, streamOrdering: event.streamOrdering! });
    }
    await this.ctx.transaction("store_destination_rooms_entries", (txn) => storeDestinationRooms(txn, [...newest.values()]), { isolation: "read committed" });
    for (const { event, destinations } of deliveries) {
      await this.deliver(event, destinations); // in order
      signals.eventHandedOut.emit({ destinations: destinations.length });
    }
  }

  private async destinationsOf(event: MatrixEvent): Promise<string[]> {
    const { serverName } = this.ctx.config.server;
    if (event.prevEventIds.length === 0) return [];
    let servers: Set<string> | undefined;
    try {
      const partial = await this.ctx.partialRooms.serversOf(event.roomId);
      servers = partial === undefined ? await serversBefore(this.ctx, event) : new Set(partial);
      if (servers === undefined) return [];
      if (await this.withdrawsInvite(event)) servers.add(getDomain(event.stateKey!));
    } catch (error) {
      // One event that cannot be made sense of must not keep back all others.
      this.ctx.log.named("synapse.federation.sender").error(`Failed to calculate hosts in room for event: ${event.eventId}`, { error });
      return [];
    }
    servers.delete(serverName);
    if (event.internal.send_on_behalf_of !== undefined) servers.delete(event.internal.send_on_behalf_of);
    const whitelist = this.ctx.config.federation.domainWhitelist;
    return [...servers].filter((server) => whitelist === undefined || whitelist.includes(server));
  }

  /** The invited user's server is not in the room, and must hear that the invite is gone. */
  private async withdrawsInvite(event: MatrixEvent): Promise<boolean> {
    if (event.membership !== "leave" || event.stateKey === undefined || event.sender === event.stateKey) return false;
    const authEvents = await this.ctx.events.get(event.authEventIds);
    return [...authEvents.values()].some((auth) => auth.type === "m.room.member" && auth.stateKey === event.stateKey && auth.membership === "invite");
  }

  private async save(): Promise<void> {
    const { position } = this;
    if (position === undefined || position === this.saved) return;
    await this.ctx.transaction("update_federation_out_pos", (txn) => storeSenderPosition(txn, this.ctx.config.workers.instanceName, position), {
      isolation: "read committed",
    });
    this.saved = position;
    this.lastSave = this.ctx.clock.now();
  }
}
