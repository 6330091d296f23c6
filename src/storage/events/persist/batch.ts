import type { MatrixEvent, StateKey } from "../../../protocol/event/event.ts";
import type { State, StateSnapshot } from "../../state/snapshot.ts";
import type { PushAction } from "../../push/actions.ts";

/** An event that is about to be written, with all that was worked out about it. */
export interface PlannedEvent {
  readonly event: MatrixEvent;
  /** Text for `event_json.json` and `.internal_metadata`. */
  readonly json: string;
  readonly metadata: string;
  /** State before and after the event; undefined for outliers. A rejected event has the state before it as both. */
  readonly before: StateSnapshot | undefined;
  readonly after: StateSnapshot | undefined;
  /** The state at the event is not wholly known yet (faster joins). */
  readonly partialState: boolean;
  /** Whom the event notifies. */
  readonly push: readonly PushAction[];
  /** A redaction may have been stored before the event itself. */
  readonly mayBeRedacted: boolean;
  /** Set when the batch gets its stream ids. */
  streamOrdering: number;
  /** Position in the stream of sticky events (MSC4354); 0 for events that are not sticky (any more). */
  stickyId: number;
}

/** What changes in the current state of a room. */
export interface StateChange {
  /** The whole state after the batch. */
  readonly next: State;
  readonly set: ReadonlyMap<StateKey, string>;
  /** What stood there before, where something did. */
  readonly previous: ReadonlyMap<StateKey, string>;
  readonly removed: readonly StateKey[];
  /** No local user is joined any more: the current state is deleted. */
  readonly serverLeft: boolean;
}

/** Columns of the sliding sync tables that come from room state; absent: leave as it is. */
export interface SlidingSyncState {
  readonly roomType?: string | null;
  readonly roomName?: string | null;
  readonly isEncrypted?: boolean;
  readonly successor?: string | null;
  readonly hasKnownState?: boolean;
}

export interface MembershipSnapshot {
  readonly userId: string;
  readonly sender: string;
  readonly eventId: string;
  readonly membership: string;
  readonly state: SlidingSyncState;
}

/** Positions of new events in the chain cover index. Chain numbers below 0 stand for chains that are to be allocated. */
export interface ChainPlan {
  readonly positions: readonly { readonly eventId: string; chain: number; readonly sequence: number }[];
  readonly links: readonly { originChain: number; readonly originSequence: number; targetChain: number; readonly targetSequence: number }[];
  /** Events whose auth events are not all known: they wait. */
  readonly waiting: readonly { readonly eventId: string; readonly type: string; readonly stateKey: string }[];
  /** Number of chains to allocate. */
  readonly newChains: number;
}

/** A local user who came to a room or left it, for the stream of profile updates (MSC4262, MSC4429). */
export interface ProfileMove {
  readonly userId: string;
  readonly action: "joined_room" | "left_room";
  /** Set when the batch gets its stream ids. */
  streamId: number;
}

/** All that one batch does to one room. */
export interface RoomPlan {
  readonly roomId: string;
  readonly backfilled: boolean;
  /** For a change of state without an event: its position in the events stream, set with the batch's ids. */
  position: number;
  /** Events that were not stored before, in order. */
  readonly events: readonly PlannedEvent[];
  /** Events that were stored as outliers, and now have a state. */
  readonly deoutliered: readonly PlannedEvent[];
  /** Groups to write, each after the one it is a delta on, with the event they were made for. */
  readonly snapshots: readonly { readonly snapshot: StateSnapshot; readonly eventId: string }[];
  /** The new forward extremities, when they change. */
  readonly extremities: { readonly all: readonly string[]; readonly added: readonly string[]; readonly removed: readonly string[] } | undefined;
  readonly state: StateChange | undefined;
  readonly backward: {
    /** Ids that are referred to and not there. */
    readonly missing: readonly string[];
    /** Events after a gap. */
    readonly gaps: readonly PlannedEvent[];
    /** Ids that are there now. */
    readonly found: readonly string[];
  };
  /** The lowest depth of the batch where it may be the lowest of the room. */
  readonly minDepth: number | bigint | undefined;
  readonly chains: ChainPlan | undefined;
  readonly slidingSync: {
    /** State columns of `sliding_sync_joined_rooms`, when the row is to be made or they change. */
    readonly joinedRoom: SlidingSyncState | undefined;
    /** Position of the last event that bumps the room, for a row that is to be made. */
    readonly bumpStamp: number | undefined;
    readonly snapshots: readonly MembershipSnapshot[];
    /** Local users who are no longer in the room's state at all. */
    readonly removed: readonly string[];
  };
  /** Relations of events that are redacted now. */
  readonly redactedRelations: readonly { readonly eventId: string; readonly relatesTo: string; readonly type: string }[];
  /** Membership events of local users who said something for the first time. */
  readonly participants: readonly string[];
  /** None where syncs carry no profiles. */
  readonly profileMoves: readonly ProfileMove[];
  /** MSC4293. */
  readonly banRedactions: readonly { readonly userId: string; readonly eventId: string; readonly begins: boolean }[];
}

export interface Batch {
  readonly rooms: readonly RoomPlan[];
  /** Name of this process in `instance_name` columns. */
  readonly instance: string;
  readonly serverName: string;
  readonly now: number;
  readonly options: PersistOptions;
}

export interface PersistOptions {
  /** enable_search */
  readonly search: boolean;
  /** enable_ephemeral_messages */
  readonly ephemeralMessages: boolean;
  /** MSC4354 */
  readonly stickyEvents: boolean;
}
