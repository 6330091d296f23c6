import type { VisibleEvent } from "../visibility.ts";
import type { SyncFilter } from "../../protocol/sync-filter.ts";
import type { Requester } from "../requester.ts";
import type { StreamToken } from "../streams/token.ts";

/** A `/sync` request, its parameters read. */
export interface SyncRequest {
  readonly requester: Requester;
  readonly userId: string;
  readonly deviceId: string | undefined;
  /** undefined: an initial sync. */
  readonly since: StreamToken | undefined;
  readonly fullState: boolean;
  readonly filter: SyncFilter;
  /** Where the state at the end of the timeline goes (MSC4222); undefined: that at its begin, under `state`. */
  readonly stateAfter: "state_after" | "org.matrix.msc4222.state_after" | undefined;
}

/** A room that the answer may hold, with the stretch of its timeline that the client lacks. */
export interface RoomEntry {
  readonly roomId: string;
  readonly kind: "joined" | "archived";
  /** The stream position that the client knows the room to; undefined: it knows nothing, send the full state. */
  readonly since: number | undefined;
  /** Nothing after this stream position is sent: now, or the position of the user's leave. */
  readonly upTo: number;
  readonly fullState: boolean;
  readonly newlyJoined: boolean;
  /** An invite that was rejected: the server was never in the room, the leave event is all there is. */
  readonly outOfBand: boolean;
  /** The user's leave event, for archived rooms. */
  readonly leaveEventId: string | undefined;
}

/** Which rooms changed how for the user since the last sync. */
export interface Skeleton {
  readonly entries: readonly RoomEntry[];
  /** Invites by room. */
  readonly invited: ReadonlyMap<string, { readonly eventId: string; readonly sender: string }>;
  /** Event ids of knocks by room. */
  readonly knocked: ReadonlyMap<string, string>;
  readonly joinedRoomIds: ReadonlySet<string>;
  readonly newlyJoined: ReadonlySet<string>;
  readonly newlyLeft: ReadonlySet<string>;
}

export interface TimelineBatch {
  /** Oldest first. */
  readonly events: readonly VisibleEvent[];
  /** Room part of `prev_batch`. */
  readonly prevBatch: number;
  readonly limited: boolean;
}
