import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { stateKeyOf, type MatrixEvent, type StateKey } from "../event/event.ts";
import { getDomain } from "../ids.ts";
import { CREATE_KEY, JOIN_RULES_KEY, memberKey, POWER_LEVELS_KEY } from "../power-levels.ts";
import type { RoomVersion } from "../room-versions.ts";

/** What of an event decides which state authorises it; a `NewEvent` will do. */
export interface EventHead {
  readonly type: string;
  readonly sender: string;
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
}

/**
 * The state that an event's authorisation may depend on, and that its `auth_events` may name (server-server API, "Auth events
 * selection"). The create event is among them in room version 12 too, where PDUs leave it out and `buildEvent` drops it.
 */
export function authTypesForEvent(version: RoomVersion, event: EventHead): StateKey[] {
  if (event.type === "m.room.create") return [];
  const keys = new Set<StateKey>([CREATE_KEY, POWER_LEVELS_KEY, memberKey(event.sender)]);
  if (event.type === "m.room.member") {
    const { membership } = event.content;
    if (membership === "join" || membership === "invite" || membership === "knock") keys.add(JOIN_RULES_KEY);
    if (event.stateKey !== undefined) keys.add(memberKey(event.stateKey));
    const token = membership === "invite" ? thirdPartyToken(event.content) : undefined;
    if (token !== undefined) keys.add(stateKeyOf("m.room.third_party_invite", token));
    const authoriser = version.restrictedJoins && membership === "join" ? event.content.join_authorised_via_users_server : undefined;
    if (typeof authoriser === "string") keys.add(memberKey(authoriser));
  }
  return [...keys];
}

/** `third_party_invite.signed.token` of an invite. */
export function thirdPartyToken(content: JsonObject): string | undefined {
  const invite = content.third_party_invite;
  const signed = isJsonObject(invite) ? invite.signed : undefined;
  return isJsonObject(signed) && typeof signed.token === "string" ? signed.token : undefined;
}

/**
 * The servers whose valid signature an event needs (server-server API, "Validating hashes and signatures on received events"):
 * the sender's, in room versions 1 and 2 that of the event id, for a restricted join the one that authorised it. An invite from a
 * third-party invite needs none of its sender: the auth rules judge it by the third party's.
 */
export function requiredSigners(event: MatrixEvent): string[] {
  const servers = new Set<string>();
  const isThirdPartyInvite = event.membership === "invite" && event.content.third_party_invite !== undefined;
  if (!isThirdPartyInvite) servers.add(getDomain(event.sender));
  if (event.roomVersion.eventFormat === 1) servers.add(getDomain(event.eventId));
  // Rule 5.2.1 (v8 on)
  const authoriser = event.content.join_authorised_via_users_server;
  if (event.roomVersion.restrictedJoins && event.membership === "join" && authoriser !== undefined)
    servers.add(typeof authoriser === "string" ? getDomain(authoriser) : "");
  return [...servers];
}
