import type { DatabaseUsage } from "./request-context.ts";

/** Something that happens again and again, for whoever counts it. Telling costs nothing to speak of while nobody listens. */
export class Signal<T> {
  private listeners: readonly ((what: T) => void)[] = [];

  /** Calls `fn` at each occurrence until the returned function is called. `fn` must not throw. */
  on(fn: (what: T) => void): () => void {
    this.listeners = [...this.listeners, fn];
    return () => void (this.listeners = this.listeners.filter((listener) => listener !== fn));
  }

  emit(what: T): void {
    for (const listener of this.listeners) listener(what);
  }
}

/** What of a user's presence matters to the metrics. */
export interface CountedPresence {
  readonly state: string;
  readonly statusMsg: string | null;
  readonly currentlyActive: boolean;
}

/** What the metrics count deep inside the server, where no service is at hand that could be told. Of the whole process. */
export const signals = {
  /** The states of so many state groups were made one: whether or not they differed. */
  statesCompared: new Signal<{ readonly groups: number }>(),
  /** Differing states were resolved; seconds of computing, and of waiting for what had to be read. */
  stateResolved: new Signal<{ readonly roomId: string; readonly cpuSeconds: number; readonly databaseSeconds: number }>(),
  /** A room has so many forward extremities now; `stale` of them it had before. */
  extremitiesChanged: new Signal<{ readonly now: number; readonly stale: number }>(),
  /** Storing events took a state resolution: one of the states `won` it, and extremities that lost were `pruned`, or neither. */
  currentStateResolved: new Signal<{ readonly won: boolean; readonly pruned: boolean }>(),
  presenceUpdated: new Signal<{
    readonly isLocal: boolean;
    readonly old: CountedPresence;
    readonly next: CountedPresence;
    readonly notified: boolean;
    readonly pinged: boolean;
  }>(),
  /** A local user did something. */
  presenceBumped: new Signal<void>(),
  /** Another server told so many presences. */
  presenceReceived: new Signal<number>(),
  /** A sync asked for presence: all of it, or what the stream has that is new. */
  presenceRead: new Signal<"full" | "stream">(),
  /** A request went out: to another Matrix server, or to any other service. */
  requestSent: new Signal<{ readonly to: "server" | "service"; readonly method: string }>(),
  requestAnswered: new Signal<{ readonly to: "server" | "service"; readonly method: string; readonly code: number }>(),
  /** `rc_federation` made a server wait, or refused it. */
  hostLimited: new Signal<"sleep" | "reject">(),
  /** A request of a server waited so long for its turn. */
  hostQueued: new Signal<{ readonly seconds: number }>(),
  /** Someone who follows the events stream has come to this place. */
  positionReached: new Signal<{ readonly name: string; readonly position: number }>(),
  /** Someone who follows the events stream has dealt with these events: when each was stored, and when that was done (milliseconds). */
  eventsProcessed: new Signal<{ readonly name: string; readonly rooms: number; readonly storedAt: readonly number[]; readonly at: number }>(),
  /** An event was handed to the queues of so many servers. */
  eventHandedOut: new Signal<{ readonly destinations: number }>(),
  /** An event of another server was dealt with, so long after it came. */
  eventReceived: new Signal<{ readonly seconds: number }>(),
  /** Events of other servers that waited were dropped, for there were too many. */
  stagedPruned: new Signal<{ readonly events: number }>(),
  softFailed: new Signal<void>(),
  /** A named piece of work has ended. */
  blockEnded: new Signal<{ readonly name: string; readonly seconds: number; readonly usage: DatabaseUsage }>(),
} as const;
