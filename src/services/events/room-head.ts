import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { State, StateSnapshot } from "../../storage/state/snapshot.ts";

/** A newest event of a room: nothing follows it. */
export interface Tip {
  readonly eventId: string;
  readonly depth: number | bigint;
  /** The state after it. */
  readonly state: StateSnapshot;
}

interface Pending {
  readonly tip: Tip;
  readonly event: MatrixEvent;
}

/**
 * The newest events of a room: those that are stored, and, as builders of new events see it, those that are on their way to the
 * database as well. So twenty senders at once make a line of twenty events, not a fork of twenty, and all of it goes in one batch.
 */
export class RoomHead {
  /** Events on their way, in order. */
  private pending: Pending[] = [];
  private readonly events = new Map<string, MatrixEvent>();
  private resolution: { readonly states: readonly StateSnapshot[]; readonly result: StateSnapshot } | undefined;
  private view: ReadonlyMap<string, Tip> | undefined;
  /** Membership events of local users who are marked as participants. */
  readonly participants = new Set<string>();

  constructor(
    private stored: ReadonlyMap<string, Tip>,
    public minDepth: number | bigint | undefined,
    /** There is a row in `sliding_sync_joined_rooms`. */
    public hasJoinedRow: boolean,
  ) {}

  /** The forward extremities in the database. */
  get storedTips(): ReadonlyMap<string, Tip> {
    return this.stored;
  }

  /** What a new event follows. */
  get tips(): ReadonlyMap<string, Tip> {
    if (this.view === undefined) {
      const view = new Map(this.stored);
      for (const { tip, event } of this.pending) {
        for (const id of event.prevEventIds) view.delete(id);
        view.set(tip.eventId, tip);
      }
      this.view = view;
    }
    return this.view;
  }

  /** An event on its way to the database. */
  pendingEvent(eventId: string): MatrixEvent | undefined {
    return this.events.get(eventId);
  }

  get pendingEvents(): ReadonlyMap<string, MatrixEvent> {
    return this.events;
  }

  /** The state that several tips resolve to, as a group on the one nearest to it; remembered as long as the tips are these. */
  async resolved(states: readonly StateSnapshot[], resolve: () => Promise<State>): Promise<StateSnapshot> {
    const known = this.resolution;
    if (known !== undefined && known.states.length === states.length && known.states.every((state) => states.includes(state))) return known.result;
    const map = await resolve();
    const nearest = states.map((state) => ({ state, changes: map.changedKeys(state.map).length })).sort((a, b) => a.changes - b.changes)[0]!.state;
    const result = nearest.become(map);
    this.resolution = { states, result };
    return result;
  }

  /** An event was built on the tips and goes to the database. */
  add(tip: Tip, event: MatrixEvent): void {
    this.pending.push({ tip, event });
    this.events.set(event.eventId, event);
    this.view = undefined;
  }

  /** A batch was stored: its events are no longer pending; the extremities are these. */
  committed(tips: ReadonlyMap<string, Tip>, eventIds: ReadonlySet<string>): void {
    this.stored = tips;
    this.pending = this.pending.filter(({ tip }) => !eventIds.has(tip.eventId));
    for (const id of eventIds) this.events.delete(id);
    this.view = undefined;
  }
}
