import type { ConfigReader } from "../../../config/reader.ts";
import { pythonMatcher } from "../../../lib/python-regexp.ts";
import type { ModuleApi } from "../api.ts";

const PERMISSIONS = ["invite", "create_room"] as const;
type Permission = (typeof PERMISSIONS)[number];

/** `synapse_user_restrictions.UserRestrictionsModule`: who may invite and make rooms, by patterns of user ids. @throws ConfigError */
export function userRestrictions(config: ConfigReader, api: ModuleApi): void {
  const permissions = (reader: ConfigReader, key: string): readonly string[] => {
    const found = reader.strings(key);
    for (const name of found) if (!(PERMISSIONS as readonly string[]).includes(name)) throw reader.error(key, `${name} is none of ${PERMISSIONS.join(", ")}`);
    return found;
  };
  const rules = config.objects("rules").map((reader) => {
    // The whole id must match.
    const matcher = pythonMatcher(`(?:${reader.requiredString("match")})$`);
    return { matches: (userId: string) => matcher.test(userId), allow: permissions(reader, "allow"), deny: permissions(reader, "deny") };
  });
  const deniedByDefault = permissions(config, "default_deny");
  const may = (userId: string, permission: Permission): string => {
    for (const rule of rules) {
      if (!rule.matches(userId)) continue;
      if (rule.allow.includes(permission)) return api.NOT_SPAM;
      if (rule.deny.includes(permission)) return "M_FORBIDDEN";
    }
    return deniedByDefault.includes(permission) ? "M_FORBIDDEN" : api.NOT_SPAM;
  };
  api.register_spam_checker_callbacks({
    user_may_create_room: (userId) => may(userId, "create_room"),
    user_may_invite: (inviter) => may(inviter, "invite"),
    user_may_send_3pid_invite: (inviter) => may(inviter, "invite"),
  });
}
