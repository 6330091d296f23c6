import type { ConfigReader } from "../../../config/reader.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { ModuleApi } from "../api.ts";

/** `synapse_domain_rule_checker.DomainRuleChecker`: users of which servers may be invited by users of which others. @throws ConfigError */
export function domainRuleChecker(config: ConfigReader, api: ModuleApi): void {
  if (!config.has("can_invite_if_not_in_domain_mapping")) throw config.wrong("can_invite_if_not_in_domain_mapping", "true or false (the option is required)");
  const unmapped = config.boolean("can_invite_if_not_in_domain_mapping", false);
  const mapping = new Map(config.names("domain_mapping").map((domain) => [domain, config.object("domain_mapping").strings(domain)]));
  const onlyInvited = config.boolean("can_only_join_rooms_with_invite", false);
  const onlyAtCreation = config.boolean("can_only_invite_during_room_creation", false);
  const byThreepid = config.boolean("can_invite_by_third_party_id", true);
  const keptFromPublic = config.strings("domains_prevented_from_being_invited_to_published_rooms");

  const tooLate = async (roomId: string): Promise<boolean> => onlyAtCreation && !(await looksNew(api, roomId));
  const verdict = (allowed: boolean): string => (allowed ? api.NOT_SPAM : "M_FORBIDDEN");
  api.register_spam_checker_callbacks({
    async user_may_invite(inviter, invitee, roomId) {
      if (await tooLate(roomId)) return verdict(false);
      const domain = getDomain(invitee);
      if (keptFromPublic.includes(domain) && (await api.public_room_list_manager.room_is_in_public_room_list(roomId))) return verdict(false);
      const allowed = mapping.get(getDomain(inviter));
      return verdict(allowed === undefined ? unmapped : allowed.includes(domain));
    },
    user_may_send_3pid_invite: async (_inviter, _medium, _address, roomId) => verdict(byThreepid && !(await tooLate(roomId))),
    user_may_join_room: (_userId, _roomId, isInvited) => verdict(isInvited || !onlyInvited),
  });
}

/** Nobody but the creator is in the room, and others only as the creator's guests or invited. */
async function looksNew(api: ModuleApi, roomId: string): Promise<boolean> {
  const state = await api.get_room_state(roomId, [
    ["m.room.create", ""],
    ["m.room.member", undefined],
  ]);
  const creator = state.get("m.room.create")?.sender;
  for (const event of state.values())
    if (event.type === "m.room.member" && event.state_key !== creator && event.sender !== creator && event.membership !== "invite") return false;
  return true;
}
