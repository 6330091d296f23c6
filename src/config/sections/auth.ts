import type { ConfigReader } from "../reader.ts";

/** Passwords and interactive authentication (`auth`). */
export type AuthConfig = ReturnType<typeof parseAuth>;

export function parseAuth(root: ConfigReader, authDelegated: boolean) {
  const raw = root.object("password_config");
  const enabled = raw.oneOf("enabled", [true, false, "only_for_reauth"]) ?? !authDelegated;
  const policy = raw.object("policy");
  const existing = root.object("login_via_existing_session");
  return {
    passwordEnabledForLogin: enabled === true,
    passwordEnabledForReauth: enabled !== false,
    passwordLocaldbEnabled: raw.boolean("localdb_enabled", true),
    /** Appended to a password before it is hashed. */
    passwordPepper: raw.string("pepper", ""),
    passwordPolicy: {
      enabled: policy.boolean("enabled", false),
      minimumLength: policy.integer("minimum_length", 0),
      requireDigit: policy.boolean("require_digit", false),
      requireSymbol: policy.boolean("require_symbol", false),
      requireLowercase: policy.boolean("require_lowercase", false),
      requireUppercase: policy.boolean("require_uppercase", false),
    },
    /** How long a completed interactive authentication is good for further actions; 0: for one. */
    uiAuthSessionTimeoutMs: root.value("ui_auth") === 0 ? 0 : root.object("ui_auth").duration("session_timeout", 0),
    loginViaExistingEnabled: existing.boolean("enabled", false),
    loginViaExistingRequireUiAuth: existing.boolean("require_ui_auth", true),
    loginViaExistingTokenTimeoutMs: existing.duration("token_timeout", "5m"),
  };
}
