import type { ConfigReader } from "../reader.ts";

/** Features behind flags, by the number of their proposal (`experimental`). */
export type ExperimentalConfig = ReturnType<typeof parseExperimental>;

export function parseExperimental(root: ConfigReader, authDelegated: boolean) {
  const raw = root.object("experimental_features");
  const msc3866 = raw.object("msc3866");
  const mode = raw.oneOf("msc4388_mode", ["off", "open", "authenticated"], "off");
  const config = {
    msc1763Enabled: raw.boolean("msc1763_enabled", false),
    msc1767Enabled: raw.boolean("msc1767_enabled", false),
    msc2409ToDeviceMessagesEnabled: raw.boolean("msc2409_to_device_messages_enabled", false),
    msc2654Enabled: raw.boolean("msc2654_enabled", false),
    msc2815Enabled: raw.boolean("msc2815_enabled", false),
    msc3026Enabled: raw.boolean("msc3026_enabled", false),
    msc3202TransactionExtensions: raw.boolean("msc3202_transaction_extensions", false),
    msc3381PollsEnabled: raw.boolean("msc3381_polls_enabled", false),
    msc3391Enabled: raw.boolean("msc3391_enabled", false),
    msc3575Enabled: raw.boolean("msc3575_enabled", true),
    msc3664Enabled: raw.boolean("msc3664_enabled", false),
    msc3720Enabled: raw.boolean("msc3720_enabled", false),
    msc3773Enabled: raw.boolean("msc3773_enabled", false),
    msc3814Enabled: raw.boolean("msc3814_enabled", false),
    msc3848Enabled: raw.boolean("msc3848_enabled", false),
    /** New accounts wait for an admin's approval. */
    msc3866: {
      enabled: msc3866.boolean("enabled", false),
      requireApprovalForNewAccounts: msc3866.boolean("require_approval_for_new_accounts", false),
    },
    msc3874Enabled: raw.boolean("msc3874_enabled", false),
    msc3881Enabled: raw.boolean("msc3881_enabled", false),
    msc3890Enabled: raw.boolean("msc3890_enabled", false),
    msc3912Enabled: raw.boolean("msc3912_enabled", false),
    msc3983AppserviceOtkClaims: raw.boolean("msc3983_appservice_otk_claims", false),
    msc3984AppserviceKeyQuery: raw.boolean("msc3984_appservice_key_query", false),
    msc4028PushEncryptedEvents: raw.boolean("msc4028_push_encrypted_events", false),
    msc4069ProfileInhibitPropagation: raw.boolean("msc4069_profile_inhibit_propagation", false),
    msc4076Enabled: raw.boolean("msc4076_enabled", false),
    msc4108Enabled: raw.boolean("msc4108_enabled", false),
    msc4108DelegationEndpoint: raw.string("msc4108_delegation_endpoint"),
    msc4133Enabled: raw.boolean("msc4133_enabled", false),
    msc4143Enabled: raw.boolean("msc4143_enabled", false),
    msc4155Enabled: raw.boolean("msc4155_enabled", false),
    msc4169Enabled: raw.boolean("msc4169_enabled", false),
    msc4210Enabled: raw.boolean("msc4210_enabled", false),
    msc4222Enabled: raw.boolean("msc4222_enabled", false),
    msc4235Enabled: raw.boolean("msc4235_enabled", false),
    msc4242Enabled: raw.boolean("msc4242_enabled", false),
    msc4263LimitKeyQueriesToUsersWhoShareRooms: raw.boolean("msc4263_limit_key_queries_to_users_who_share_rooms", false),
    msc4267Enabled: raw.boolean("msc4267_enabled", false),
    msc4277Enabled: raw.boolean("msc4277_enabled", false),
    msc4293Enabled: raw.boolean("msc4293_enabled", false),
    msc4306Enabled: raw.boolean("msc4306_enabled", false),
    msc4354Enabled: raw.boolean("msc4354_enabled", false),
    msc4370Enabled: raw.boolean("msc4370_enabled", false),
    msc4388Enabled: mode !== "off",
    msc4388RequiresAuthentication: mode === "authenticated",
    msc4446Enabled: raw.boolean("msc4446_enabled", false),
    msc4450Enabled: raw.boolean("msc4450_enabled", false),
    msc4452Enabled: raw.boolean("msc4452_enabled", false),
    msc4491Enabled: raw.boolean("msc4491_enabled", false),
    msc4502Enabled: raw.boolean("msc4502_enabled", false),
  };
  const removed = raw.rawObject("msc3861");
  if (removed !== undefined && Object.keys(removed).length > 0) throw raw.error("msc3861", "no longer exists; use matrix_authentication_service");
  if (config.msc3890Enabled && !config.msc3391Enabled) throw raw.error("msc3890_enabled", "needs experimental_features.msc3391_enabled");
  if (config.msc4108Enabled && config.msc4108DelegationEndpoint !== undefined) {
    throw raw.error("msc4108_delegation_endpoint", "cannot be set together with msc4108_enabled");
  }
  const needMas: readonly (readonly [string, boolean])[] = [
    ["msc4108_enabled", config.msc4108Enabled],
    ["msc4108_delegation_endpoint", config.msc4108DelegationEndpoint !== undefined],
    ["msc4388_mode", config.msc4388Enabled],
  ];
  for (const [key, on] of needMas) {
    if (on && !authDelegated) throw raw.error(key, "needs matrix_authentication_service");
  }
  return config;
}
