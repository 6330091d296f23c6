import type { Json, JsonObject } from "../lib/json.ts";
import type { MatrixEvent } from "./event/event.ts";

/** Values of `history_visibility`, most generous first. */
const VISIBILITIES = ["world_readable", "shared", "invited", "joined"] as const;
export type HistoryVisibility = (typeof VISIBILITIES)[number];

/** Most entitled first. */
const MEMBERSHIPS = ["join", "invite", "knock", "leave", "ban"] as const;
type Membership = (typeof MEMBERSHIPS)[number];

/** The visibility that an m.room.history_visibility event sets; `shared` where it is absent or unknown. */
export function historyVisibility(value: Json | undefined): HistoryVisibility {
  return VISIBILITIES.find((known) => known === value) ?? "shared";
}

export interface ClientVisibilityInput {
  readonly event: MatrixEvent;
  readonly userId: string;
  /** `history_visibility` of the state after the event. */
  readonly visibility: Json | undefined;
  /** The user's membership in the state after the event. */
  readonly membership: string | undefined;
  /** Content of the state event that this event replaced; read where it is the user's own membership or the history visibility. */
  readonly previousContent?: JsonObject | undefined;
  /** The user is not in the room, and was not since the event. */
  readonly peeking?: boolean;
  /** The sender's account was erased: newcomers see the redacted form. */
  readonly senderErased?: boolean;
}

/**
 * How a user sees an event of a room's timeline (client-server API, "Server behaviour" of "Room History Visibility"). A change of
 * the visibility, or of the user's own membership, is judged by the more generous of before and after. Outliers, soft-failed
 * events and ignored senders are the caller's matter.
 */
export function clientVisibility(input: ClientVisibilityInput): "shown" | "redacted" | "hidden" {
  const { event, peeking = false, senderErased = false } = input;
  const after = historyVisibility(input.visibility);
  const visibility =
    event.type === "m.room.history_visibility" ? first(VISIBILITIES, after, historyVisibility(input.previousContent?.history_visibility)) : after;
  if (!senderErased && (visibility === "world_readable" || (visibility === "shared" && !peeking))) return "shown";
  const membership = membershipAt(input);
  if (membership === "join") return "shown";
  // Those who leave or reject an invite see that they do.
  if (membership !== "left" && isWithheld(after, membership, peeking)) return "hidden";
  return senderErased ? "redacted" : "shown";
}

function isWithheld(visibility: HistoryVisibility, membership: string | undefined, peeking: boolean): boolean {
  switch (visibility) {
    case "joined":
      return true;
    case "invited":
      return membership !== "invite";
    case "shared":
      return peeking;
    case "world_readable":
      return false;
  }
}

function membershipAt({ event, userId, membership, previousContent }: ClientVisibilityInput): string | undefined {
  if (event.type !== "m.room.member" || event.stateKey !== userId) return membership;
  const now = knownMembership(event.content.membership);
  const before = knownMembership(previousContent?.membership);
  if (now === "leave" && (before === "join" || before === "invite")) return "left";
  return first(MEMBERSHIPS, now, before);
}

const knownMembership = (value: Json | undefined): Membership => MEMBERSHIPS.find((known) => known === value) ?? "leave";

function first<T>(order: readonly T[], a: T, b: T): T {
  return order.indexOf(a) <= order.indexOf(b) ? a : b;
}

/**
 * True when a server may see an event whole; else it gets the redacted form, or nothing. `memberships` are those of the server's
 * users in the state after the event (server-server API, "Room History Visibility"); they are not read for `shared` and
 * `world_readable`. Whether the server is in the room at all is asked before.
 */
export function isVisibleToServer(input: {
  readonly visibility: Json | undefined;
  readonly memberships: Iterable<string | undefined>;
  readonly senderErased?: boolean;
}): boolean {
  if (input.senderErased) return false;
  const visibility = historyVisibility(input.visibility);
  if (visibility === "shared" || visibility === "world_readable") return true;
  for (const membership of input.memberships) {
    if (membership === "join" || (membership === "invite" && visibility === "invited")) return true;
  }
  return false;
}
