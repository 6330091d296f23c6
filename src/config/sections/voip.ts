import type { ConfigReader, ParseContext } from "../reader.ts";

/** TURN servers for calls (`voip`). */
export type VoipConfig = ReturnType<typeof parseVoip>;

export function parseVoip(raw: ConfigReader, ctx: ParseContext) {
  return {
    turnUris: raw.strings("turn_uris"),
    turnSharedSecret: raw.secret("turn_shared_secret", "turn_shared_secret_path", ctx),
    turnUsername: raw.string("turn_username"),
    turnPassword: raw.string("turn_password"),
    turnUserLifetimeMs: raw.duration("turn_user_lifetime", "1h"),
    turnAllowGuests: raw.boolean("turn_allow_guests", true),
  };
}
