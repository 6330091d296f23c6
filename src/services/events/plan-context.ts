import type { Logger } from "../../lib/log.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { ReadHandle } from "../../storage/database.ts";
import type { EventStore } from "../../storage/events/event-store.ts";
import type { ChainCover } from "../../storage/events/persist/chain-cover.ts";
import type { Memberships } from "../../storage/rooms/memberships.ts";
import type { State, StateSnapshot } from "../../storage/state/snapshot.ts";
import type { StateStore } from "../../storage/state/state-store.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import type { RoomHead } from "./room-head.ts";

/** What planning the storing of events needs. */
export interface PlanContext {
  readonly read: ReadHandle;
  readonly log: Logger;
  readonly events: EventStore;
  readonly state: StateStore;
  readonly members: Memberships;
  readonly chains: ChainCover;
  readonly serverName: string;
  readonly now: () => number;
  /** The state that several states at the head of a room resolve to. `known`: events that are not stored yet. */
  resolve(roomId: string, states: readonly StateSnapshot[], known: ReadonlyMap<string, MatrixEvent>): Promise<State>;
  /** Whether the room's state is not wholly known yet: events that are added to it are marked so. */
  readonly isPartial?: (roomId: string) => Promise<boolean>;
  /** Syncs carry profiles: their stream follows who comes and goes. */
  readonly profileUpdates: boolean;
  /** MSC4293: bans may redact. */
  readonly banRedactions: boolean;
}

/** Events of one room that are stored together. */
export interface RoomWork {
  readonly roomId: string;
  readonly backfilled: boolean;
  readonly items: readonly EventToPersist[];
  /** Work out the current state anew, though no event is added. */
  readonly refresh: boolean;
  readonly head: RoomHead;
}

/** Events by id: those at hand, the others from the store. */
export async function eventsOf(ctx: Pick<PlanContext, "events">, ids: Iterable<string>, items: readonly EventToPersist[]): Promise<Map<string, MatrixEvent>> {
  const atHand = new Map(items.map(({ event }) => [event.eventId, event]));
  const found = new Map<string, MatrixEvent>();
  const missing: string[] = [];
  for (const id of ids) {
    const event = atHand.get(id);
    if (event === undefined) missing.push(id);
    else found.set(id, event);
  }
  if (missing.length > 0) for (const [id, event] of await ctx.events.get(missing)) found.set(id, event);
  return found;
}
