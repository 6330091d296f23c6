import { splitStateKey, stateKeyOf, type MatrixEvent, type StateKey } from "../event/event.ts";
import { getDomain, isUserId } from "../ids.ts";
import { CREATE_KEY } from "../power-levels.ts";
import { roomVersion } from "../room-versions.ts";
import { authTypesForEvent } from "./auth-types.ts";
import { ALLOWED, malformed, refuse, type AuthResult } from "./result.ts";

/**
 * The rules that depend on nothing but the event and the auth events that it names: rules 1 to 3. Needed once for each received
 * event. `authEvents` holds the events of `event.authEventIds`, rejected ones included; one that is missing refuses the event.
 */
export function checkAuthEvents(event: MatrixEvent, authEvents: { get(eventId: string): MatrixEvent | undefined }): AuthResult {
  if (event.type === "m.room.create") return checkCreate(event);
  const expected = new Set<StateKey>(authTypesForEvent(event.roomVersion, event));
  const seen = new Set<StateKey>();
  for (const id of event.authEventIds) {
    const authEvent = authEvents.get(id);
    if (authEvent === undefined) return refuse("3", `Event ${event.eventId} has unknown auth event ${id}`);
    // Rule 3.5: powers of one room are none in another.
    if (authEvent.roomId !== event.roomId) {
      return refuse(
        "3.5",
        `During auth for event ${event.eventId} in room ${event.roomId}, found event ${id} in the state which is in room ${authEvent.roomId}`,
      );
    }
    const key = authEvent.stateKey === undefined ? undefined : stateKeyOf(authEvent.type, authEvent.stateKey);
    // Rule 3.1
    if (key !== undefined && seen.has(key)) return refuse("3.1", `Event ${event.eventId} has duplicate auth_events for ${describe(key)}`);
    // Rule 3.2
    if (key === undefined || !expected.has(key)) return refuse("3.2", `Event ${event.eventId} has unexpected auth_event ${id}`);
    // Rule 3.3; for the create event of room version 12 rule 2
    if (authEvent.rejectedReason !== undefined)
      return refuse(key === CREATE_KEY ? "2" : "3.3", `During auth for event ${event.eventId}: found rejected event ${id} in the state`);
    seen.add(key);
  }
  // Rule 2 (v12 on: the room id names the create event); before, rule 2.4
  if (!seen.has(CREATE_KEY)) return refuse("2", "No create event in auth events");
  return ALLOWED;
}

const describe = (key: StateKey): string => splitStateKey(key).join("|");

/**
 * MSC4242: the events in `prev_state_events` are accepted state events of the same room. To be checked before `checkAuthEvents`
 * in state DAG rooms.
 */
export function checkPrevStateEvents(event: MatrixEvent, events: { get(eventId: string): MatrixEvent | undefined }): AuthResult {
  if (event.type === "m.room.create") return event.prevStateEventIds.length > 0 ? refuse("1.1", "Create event has prev state events") : ALLOWED;
  for (const id of event.prevStateEventIds) {
    const previous = events.get(id);
    if (previous === undefined) return refuse("MSC4242 2", `Event ${event.eventId} has unknown prev_state_event ${id}`);
    if (previous.roomId !== event.roomId) return refuse("MSC4242 2.1", `Event ${event.eventId} has prev_state_event ${id} of another room`);
    if (!previous.isState()) return refuse("MSC4242 2.2", `Event ${event.eventId} has prev_state_event ${id} which is not state`);
    if (previous.rejectedReason !== undefined) return refuse("MSC4242 2.3", `Event ${event.eventId} has prev_state_event ${id} which is rejected`);
  }
  return ALLOWED;
}

/** Rule 1: all that is asked of a create event. */
function checkCreate(event: MatrixEvent): AuthResult {
  const version = event.roomVersion;
  // Rule 1.1
  if (event.prevEventIds.length > 0) return refuse("1.1", "Create event has prev events");
  // Rule 1.2; before v12 the room id has a domain
  if (version.roomIdIsCreateHash) {
    if (event.json.room_id !== undefined) return refuse("1.2", "Create event has a room_id");
  } else {
    const domain = getDomain(event.roomId);
    if (domain === "" || domain !== getDomain(event.sender)) return refuse("1.2", "Creation event's room_id domain does not match sender's");
  }
  // Rule 1.3
  const stated = event.content.room_version ?? "1";
  if (typeof stated !== "string" || roomVersion(stated) === undefined) return refuse("1.3", `room appears to have unsupported version ${String(stated)}`);
  // Until v10, rule 1.4
  if (!version.implicitCreator && event.content.creator === undefined) return refuse("v1 1.4", "Create event lacks a 'creator' property");
  // Rule 1.4 (v12 on)
  if (version.creatorsHavePower && event.content.additional_creators !== undefined) return checkAdditionalCreators(event.content.additional_creators);
  return ALLOWED;
}

/** Rule 1.4: also for the `additional_creators` of /createRoom and /upgrade. */
export function checkAdditionalCreators(creators: unknown): AuthResult {
  if (!Array.isArray(creators)) return malformed("1.4", "additional_creators must be an array");
  for (const creator of creators) {
    if (typeof creator !== "string") return malformed("1.4", "entry in additional_creators is not a string");
    if (!isUserId(creator)) return malformed("1.4", "entry in additional_creators is not a valid user ID");
  }
  return ALLOWED;
}
