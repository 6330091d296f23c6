import type { MatrixEvent } from "../event/event.ts";
import { getDomain } from "../ids.ts";
import { creatorOf, JOIN_RULES_KEY, memberKey, PowerLevels, type AuthState } from "../power-levels.ts";
import { checkThirdPartyInvite } from "./third-party-invite.ts";
import { ALLOWED, refuse, type AuthResult } from "./result.ts";

/** What the rules for one membership look at. */
interface Change {
  readonly event: MatrixEvent;
  readonly state: AuthState;
  readonly levels: PowerLevels;
  readonly target: string;
  readonly senderMembership: string | undefined;
  readonly targetMembership: string | undefined;
}

/** Rule 5: changes of membership. */
export function checkMember(event: MatrixEvent, create: MatrixEvent, state: AuthState): AuthResult {
  const target = event.stateKey;
  const { membership } = event;
  // Rule 5.1
  if (target === undefined || membership === undefined) return refuse("5.1", "Member event without state key or membership");
  // Rule 5.3.1
  if (membership === "join" && event.prevEventIds.length === 1 && event.prevEventIds[0] === create.eventId && creatorOf(create) === target) return ALLOWED;
  // Rule 4 speaks of the sender; Synapse keeps foreign targets out too, so that nobody is invited in vain.
  if (getDomain(target) !== getDomain(create.sender) && !isFederated(create)) return refuse("4", "This room has been marked as unfederatable.");
  const change: Change = {
    event,
    state,
    levels: PowerLevels.of(state),
    target,
    senderMembership: state.get(memberKey(event.sender))?.membership,
    targetMembership: state.get(memberKey(target))?.membership,
  };
  switch (membership) {
    case "join":
      return checkJoin(change);
    case "invite":
      return checkInvite(change);
    case "leave":
      return checkLeave(change);
    case "ban":
      return checkBan(change);
    case "knock":
      // Knocks are of v7 on; before, the membership is unknown.
      if (event.roomVersion.knocking) return checkKnock(change);
  }
  // Rule 5.8
  return refuse("5.8", `Unknown membership ${membership}`);
}

/** Rule 4's condition: a create event that says anything but true keeps other servers out, as Synapse reads it. */
export function isFederated(create: MatrixEvent): boolean {
  const federate = create.content["m.federate"];
  return federate === undefined || federate === true;
}

/** `join_rule` of the state; `invite` where there is none. */
export function joinRuleOf(state: AuthState): string {
  const rule = state.get(JOIN_RULES_KEY)?.content.join_rule;
  return typeof rule === "string" ? rule : "invite";
}

/** Rule 5.3 */
function checkJoin({ event, state, levels, target, senderMembership, targetMembership }: Change): AuthResult {
  const version = event.roomVersion;
  // Rule 5.3.2
  if (event.sender !== target) return refuse("5.3.2", "Cannot force another user to join.");
  // Rule 5.3.3
  if (targetMembership === "ban") return refuse("5.3.3", "You are banned from this room");
  const rule = joinRuleOf(state);
  const invited = senderMembership === "join" || senderMembership === "invite";
  // Rule 5.3.6
  if (rule === "public") return ALLOWED;
  // Rule 5.3.5 (v8 on; knock_restricted v10 on)
  if ((rule === "restricted" && version.restrictedJoins) || (rule === "knock_restricted" && version.knockRestrictedJoins)) {
    // Rule 5.3.5.1
    if (invited) return ALLOWED;
    // Rule 5.3.5.2, else 5.3.5.3
    const authoriser = event.content.join_authorised_via_users_server;
    if (typeof authoriser !== "string") return refuse("5.3.5.2", "Join event is missing authorising user.");
    if (state.get(memberKey(authoriser))?.membership !== "join") return refuse("5.3.5.2", `User ${authoriser} not in room ${event.roomId}`);
    return levels.user(authoriser) >= levels.level("invite") ? ALLOWED : refuse("5.3.5.2", "Join event authorised by invalid server.");
  }
  // Rule 5.3.4 (knock: v7 on)
  if (rule === "invite" || (rule === "knock" && version.knocking)) return invited ? ALLOWED : refuse("5.3.4", "You are not invited to this room.");
  // Rule 5.3.7
  return refuse("5.3.7", "You are not allowed to join this room");
}

/** Rule 5.4 */
function checkInvite({ event, state, levels, target, senderMembership, targetMembership }: Change): AuthResult {
  // Rule 5.4.1
  if (event.content.third_party_invite !== undefined) {
    const result = checkThirdPartyInvite(event, state);
    if (!result.allowed) return result;
    // Rule 5.4.1.1
    return targetMembership === "ban" ? refuse("5.4.1.1", `${target} is banned from the room`) : ALLOWED;
  }
  // Rule 5.4.2
  if (senderMembership !== "join") return notInRoom("5.4.2", event);
  // Rule 5.4.3
  if (targetMembership === "ban") return refuse("5.4.3", `${target} is banned from the room`);
  if (targetMembership === "join") return refuse("5.4.3", `${target} is already in the room.`, "M_ALREADY_JOINED");
  // Rule 5.4.4, else 5.4.5
  return levels.user(event.sender) >= levels.level("invite") ? ALLOWED : refuse("5.4.5", "You don't have permission to invite users", "M_INSUFFICIENT_POWER");
}

/** Rule 5.5 */
function checkLeave({ event, levels, target, senderMembership, targetMembership }: Change): AuthResult {
  // Rule 5.5.1 (knock: v7 on)
  if (event.sender === target && (senderMembership === "invite" || (senderMembership === "knock" && event.roomVersion.knocking))) return ALLOWED;
  // Rule 5.5.2
  if (senderMembership !== "join") return notInRoom("5.5.2", event);
  if (event.sender === target) return ALLOWED; // rule 5.5.1
  const senderLevel = levels.user(event.sender);
  // Rule 5.5.3
  if (targetMembership === "ban" && senderLevel < levels.level("ban")) return refuse("5.5.3", `You cannot unban user ${target}.`, "M_INSUFFICIENT_POWER");
  // Rule 5.5.4, else 5.5.5
  if (senderLevel >= levels.level("kick") && levels.user(target) < senderLevel) return ALLOWED;
  return refuse("5.5.5", `You cannot kick user ${target}.`, "M_INSUFFICIENT_POWER");
}

/** Rule 5.6 */
function checkBan({ event, levels, target, senderMembership }: Change): AuthResult {
  // Rule 5.6.1
  if (senderMembership !== "join") return notInRoom("5.6.1", event);
  const senderLevel = levels.user(event.sender);
  // Rule 5.6.2, else 5.6.3
  if (senderLevel < levels.level("ban")) return refuse("5.6.3", "You don't have permission to ban", "M_INSUFFICIENT_POWER");
  if (senderLevel <= levels.user(target)) return refuse("5.6.3", "You don't have permission to ban this user", "M_INSUFFICIENT_POWER");
  return ALLOWED;
}

/** Rule 5.7 (v7 on) */
function checkKnock({ event, state, target, senderMembership }: Change): AuthResult {
  // Rule 5.7.1 (knock_restricted: v10 on)
  const rule = joinRuleOf(state);
  if (rule !== "knock" && !(rule === "knock_restricted" && event.roomVersion.knockRestrictedJoins))
    return refuse("5.7.1", "You don't have permission to knock");
  // Rule 5.7.2
  if (event.sender !== target) return refuse("5.7.2", "You cannot knock for other users");
  // Rule 5.7.3, else 5.7.4
  switch (senderMembership) {
    case "join":
      return refuse("5.7.4", "You cannot knock on a room you are already in", "M_ALREADY_JOINED");
    case "invite":
      return refuse("5.7.4", "You are already invited to this room");
    case "ban":
      return refuse("5.7.4", "You are banned from this room");
    default:
      return ALLOWED;
  }
}

const notInRoom = (rule: string, event: MatrixEvent): AuthResult => refuse(rule, `${event.sender} not in room ${event.roomId}.`, "M_NOT_JOINED");
