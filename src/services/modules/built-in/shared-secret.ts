import { createHmac, timingSafeEqual } from "node:crypto";
import type { ConfigReader } from "../../../config/reader.ts";
import type { ModuleApi } from "../api.ts";
import type { AuthResult, CheckAuth } from "../callbacks/password-auth.ts";

/**
 * `shared_secret_authenticator.SharedSecretAuthProvider`: whoever knows the secret logs in as anybody, by the HMAC-SHA512 of the user's full
 * id as hexadecimal text. @throws ConfigError
 */
export function sharedSecretAuth(config: ConfigReader, api: ModuleApi): void {
  const secret = config.requiredString("shared_secret");
  const check = checker(secret, api);
  api.register_password_auth_provider_callbacks({
    auth_checkers: [
      { login_type: "com.devture.shared_secret_auth", fields: ["token"], check_auth: (username, _type, { token }) => check(username, token) },
      ...(config.boolean("m_login_password_support_enabled", false) ? [byPassword(check)] : []),
    ],
  });
}

/** The module's form before its second version, with `sharedSecret`, for `m.login.password` alone. @throws ConfigError */
export function oldSharedSecretAuth(config: ConfigReader, api: ModuleApi): void {
  api.register_password_auth_provider_callbacks({ auth_checkers: [byPassword(checker(config.requiredString("sharedSecret"), api))] });
}

type Check = (username: string, token: unknown) => Promise<AuthResult>;

const byPassword = (check: Check): { login_type: string; fields: string[]; check_auth: CheckAuth } => ({
  login_type: "m.login.password",
  fields: ["password"],
  check_auth: (username, _type, { password }) => check(username, password),
});

function checker(secret: string, api: ModuleApi): Check {
  return async (username, token) => {
    const userId = api.get_qualified_user_id(username);
    const expected = Buffer.from(createHmac("sha512", secret).update(userId).digest("hex"));
    const given = Buffer.from(typeof token === "string" ? token : "");
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    return (await api.get_userinfo_by_id(userId)) === undefined ? undefined : [userId];
  };
}
