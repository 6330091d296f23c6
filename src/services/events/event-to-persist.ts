import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { PushAction } from "../../storage/push/actions.ts";
import type { StateSnapshot } from "../../storage/state/snapshot.ts";
import type { CrowdNotice } from "../push/crowds.ts";
import type { RoomHead } from "./room-head.ts";

/**
 * An event on its way to the database, wherever it comes from: what differs between a local send, a join, an event from another
 * server, history and outliers is in the fields, not in the path.
 *
 * Of the event itself count: `event.outlier` (no state is known before it), `event.rejectedReason` (the auth rules refuse it) and
 * `event.internal` (`soft_failed`, `out_of_band_membership`, `txn_id`, ...).
 */
export interface EventToPersist {
  readonly event: MatrixEvent;
  /** The state before the event; undefined for outliers. */
  readonly before?: StateSnapshot | undefined;
  /** The state after it: `before` itself for messages, rejected events, and state events that change nothing. Undefined for outliers. */
  readonly after?: StateSnapshot | undefined;
  /** The state is not wholly known yet (faster joins). */
  readonly partialState?: boolean;
  /** This server has just made the event on this head of the room: it cannot be stored yet, and nothing refers to it. */
  readonly builtOn?: RoomHead | undefined;
  /** The event as `event_json.json` will have it, where that was made already. */
  readonly json?: string;
  /** Whom it notifies; see `push-actions.ts`. */
  readonly push?: readonly PushAction[];
  /** Many whom it notifies alike, without a row each. */
  readonly crowd?: readonly CrowdNotice[];
  /** Users to wake beside the room's members and the subject of a membership. */
  readonly alsoWake?: readonly string[];
}

/** The room moved on, or lost the events that this one builds on, before it could be stored: it must be built anew. */
export class StaleEvent extends Error {
  override name = "StaleEvent";
}
