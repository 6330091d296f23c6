import type { StateSnapshot } from "../../storage/state/snapshot.ts";

/** A newest event of a room: nothing follows it. */
export interface Tip {
  readonly eventId: string;
  readonly depth: number | bigint;
  /** The state after it. */
  readonly state: StateSnapshot;
}

interface Pending {
  readonly tip: Tip;
  readonly prevs: readonly string[];
}

/**
 * The newest events of a room: those that are stored, and, as builders of new events see it, those that are on their way to the
 * database as well. So twenty senders at once make a line of twenty events, not a fork of twenty, and all of it goes in one batch.
 */
export class RoomHead {
  /** Events on their way, in order. */
  private pending: Pending[] = [];
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
      for (const { tip, prevs } of this.pending) {
        for (const id of prevs) view.delete(id);
        view.set(tip.eventId, tip);
      }
      this.view = view;
    }
    return this.view;
  }

  /** An event was built on `prevs` and goes to the database. */
  add(tip: Tip, prevs: readonly string[]): void {
    this.pending.push({ tip, prevs });
    this.view = undefined;
  }

  /** A batch was stored: its events are no longer pending; the extremities are these. */
  committed(tips: ReadonlyMap<string, Tip>, eventIds: ReadonlySet<string>): void {
    this.stored = tips;
    this.pending = this.pending.filter(({ tip }) => !eventIds.has(tip.eventId));
    this.view = undefined;
  }

  /** Nothing that is pending will be stored. */
  dropPending(): void {
    this.pending = [];
    this.view = undefined;
  }
}
