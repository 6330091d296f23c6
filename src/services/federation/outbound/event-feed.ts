import { signals } from "../../../lib/signals.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { storeDestinationRooms } from "../../../storage/federation/destinations.ts";
import { openSenderPosition, storeSenderPosition } from "../../../storage/federation/positions.ts";
import type { Context } from "../../context.ts";
import type { EventFeed } from "../../streams/event-follower.ts";
import type { PartialRooms } from "../partial-rooms.ts";
import { type JoinedServersContext, serversBefore } from "./joined-servers.ts";

export type FeedContext = JoinedServersContext &
  Pick<Context, "clock" | "config" | "events" | "log" | "read" | "streams" | "transaction"> & { readonly partialRooms: PartialRooms };

/**
 * Hands the events of this server to the queues of the servers that are in the room. How far it has got is in the database
 * (`federation_stream_position`), and so is, before anything is sent, who is to get what (`destination_rooms`): what is sent twice after a
 * crash is dropped by those who have it.
 */
export class FederationEventFeed implements EventFeed {
  readonly name = "federation_sender";
  readonly batch = 100;
  readonly raw = true;

  constructor(
    private readonly ctx: FeedContext,
    private readonly deliver: (event: MatrixEvent, destinations: readonly string[]) => Promise<void>,
  ) {}

  openPosition(): Promise<number> {
    return this.ctx.transaction("federation_stream_position", (txn) => openSenderPosition(txn, this.ctx.config.workers.instanceName));
  }

  savePosition(position: number): Promise<void> {
    return this.ctx.transaction("update_federation_out_pos", (txn) => storeSenderPosition(txn, this.ctx.config.workers.instanceName, position), {
      isolation: "read committed",
    });
  }

  failed(error: unknown): void {
    this.ctx.log.named("synapse.federation.sender").error("Events could not be handed to the queues of other servers", { error });
  }

  /** Sent by this server, or by another on whose behalf this one let its user in. Memberships learnt out of band are for others to tell. */
  wants(event: MatrixEvent): boolean {
    const { send_on_behalf_of: onBehalfOf, out_of_band_membership: outOfBand, proactively_send: proactively } = event.internal;
    if (getDomain(event.sender) !== this.ctx.config.server.serverName && onBehalfOf === undefined) return false;
    return outOfBand !== true && proactively !== false && !event.outlier && event.internal.soft_failed !== true && event.rejectedReason === undefined;
  }

  async handOut(events: readonly MatrixEvent[]): Promise<boolean> {
    const deliveries: { event: MatrixEvent; destinations: string[] }[] = [];
    await this.ctx.state.groupsOfEvents(events.map((event) => event.eventId)); // at hand then, for each of them
    for (const event of events) {
      const destinations = await this.destinationsOf(event);
      if (destinations.length > 0) deliveries.push({ event, destinations });
    }
    if (deliveries.length === 0) return false;
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
    return false;
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
}
