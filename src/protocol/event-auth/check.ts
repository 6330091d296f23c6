import type { MatrixEvent } from "../event/event.ts";
import { getDomain, isUserId } from "../ids.ts";
import { CREATE_KEY, memberKey, PowerLevels, type AuthState } from "../power-levels.ts";
import { checkMember, isFederated } from "./member.ts";
import { checkPowerLevelsEvent } from "./power-levels-event.ts";
import { redactionRight } from "./redaction.ts";
import { ALLOWED, malformed, refuse, type AuthResult } from "./result.ts";

/**
 * The rules that depend on the room's state: rule 4 on. `state` is the state that the event is judged by: its auth events, the
 * state before it, or the current state; at least what `authTypesForEvent` names. Create events have no such rules.
 */
export function checkStateDependentAuth(event: MatrixEvent, state: AuthState): AuthResult {
  if (event.type === "m.room.create") return ALLOWED;
  const create = state.get(CREATE_KEY);
  if (create === undefined) return refuse("2", `Event ${event.eventId} is missing a create event in auth_events.`);
  // Rule 4
  if (getDomain(event.sender) !== getDomain(create.sender) && !isFederated(create)) return refuse("4", "This room has been marked as unfederatable.");
  // Until v5, rule 4
  if (event.type === "m.room.aliases" && event.roomVersion.specialAliases) return checkAliases(event);
  // Rule 5
  if (event.type === "m.room.member") return checkMember(event, create, state);
  // Rule 6
  if (state.get(memberKey(event.sender))?.membership !== "join") return refuse("6", `User ${event.sender} not in room ${event.roomId}`, "M_NOT_JOINED");
  const levels = PowerLevels.of(state);
  const own = levels.user(event.sender);
  // Rule 7
  if (event.type === "m.room.third_party_invite") {
    return own >= levels.level("invite") ? ALLOWED : refuse("7.1", "You don't have permission to invite users", "M_INSUFFICIENT_POWER");
  }
  // Rule 8
  const needed = levels.toSend(event.type, event.isState());
  if (own < needed) {
    return refuse("8", `You don't have permission to post that to the room. user_level (${own}) < send_level (${needed})`, "M_INSUFFICIENT_POWER");
  }
  // Rule 9
  const owned = checkOwnedState(event, levels);
  if (!owned.allowed) return owned;
  // Rule 10
  if (event.type === "m.room.power_levels") return checkPowerLevelsEvent(event, create, state, levels);
  // Until v2, rule 11
  if (event.type === "m.room.redaction" && redactionRight(event, levels) === "none") return refuse("v1 11.3", "You don't have permission to redact events");
  // Rule 11
  return ALLOWED;
}

/** Rule 4 of room versions 1 to 5. */
function checkAliases(event: MatrixEvent): AuthResult {
  if (event.stateKey === undefined) return refuse("v1 4.1", "Alias event must be a state event");
  if (event.stateKey === "") return refuse("v1 4.1", "Alias event must have non-empty state_key");
  return event.stateKey === getDomain(event.sender) ? ALLOWED : refuse("v1 4.2", "Alias event's state_key does not match sender's domain");
}

/** Rule 9: state under a user's id is that user's. With MSC3757 also `<user id>_suffix`, and also for those of greater power. */
function checkOwnedState(event: MatrixEvent, levels: PowerLevels): AuthResult {
  const key = event.stateKey;
  if (key === undefined || key[0] !== "@" || key === event.sender) return ALLOWED;
  if (!event.roomVersion.ownedState) return refuse("9", "You are not allowed to set others state");
  const suffix = key.indexOf("_", key.indexOf(":") + 1);
  const owner = suffix === -1 || !key.includes(":") ? key : key.slice(0, suffix);
  if (!isUserId(owner)) return malformed("9", "State key neither equals a valid user ID, nor starts with one plus an underscore", "M_BAD_JSON");
  return owner === event.sender || levels.user(event.sender) > levels.user(owner) ? ALLOWED : refuse("9", "You are not allowed to set others state");
}
