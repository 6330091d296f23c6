import { pythonMatcher } from "../../lib/python-regexp.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";

/** Registration of accounts and their tokens (`registration`). Durations in milliseconds; undefined lifetime: for ever. */
export type RegistrationConfig = ReturnType<typeof parseRegistration>;

const PRESETS = ["public_chat", "private_chat", "trusted_private_chat"] as const;

export function parseRegistration(raw: ConfigReader, ctx: ParseContext, serverName: string, authDelegated: boolean) {
  const delegates = raw.object("account_threepid_delegates");
  if (delegates.has("email")) throw delegates.error("email", "no longer exists; set up email so that the server sends its own mails, and remove it");
  if (raw.boolean("invite_3pid_guest", false)) throw raw.error("invite_3pid_guest", "no longer exists; remove it");
  return {
    enableRegistration: parseEnabled(raw),
    enableRegistrationWithoutVerification: raw.looseBoolean("enable_registration_without_verification", false),
    /** Media ("email", "msisdn") that a new account must have. */
    registrationsRequire3pid: raw.strings("registrations_require_3pid"),
    /** Empty: all. `pattern` is a regular expression as Python's, from the start of the address. */
    allowedLocal3pids: raw.objects("allowed_local_3pids").map((entry) => ({
      medium: entry.requiredString("medium"),
      pattern: parsePattern(entry, "pattern"),
    })),
    enable3pidLookup: raw.boolean("enable_3pid_lookup", true),
    registrationRequiresToken: raw.boolean("registration_requires_token", false),
    enableRegistrationToken3pidBypass: raw.boolean("enable_registration_token_3pid_bypass", false),
    registrationSharedSecret: raw.secret("registration_shared_secret", "registration_shared_secret_path", ctx),
    bcryptRounds: raw.integer("bcrypt_rounds", 12, { min: 4, max: 31 }),
    /** Identity server that verifies phone numbers. */
    threepidDelegateMsisdn: delegates.string("msisdn"),
    defaultIdentityServer: raw.string("default_identity_server"),
    allowGuestAccess: raw.boolean("allow_guest_access", false),
    ...parseAutoJoin(raw, serverName),
    enableSetDisplayname: raw.boolean("enable_set_displayname", true),
    enableSetAvatarUrl: raw.boolean("enable_set_avatar_url", true),
    enable3pidChanges: raw.boolean("enable_3pid_changes", !authDelegated),
    disableMsisdnRegistration: raw.boolean("disable_msisdn_registration", false),
    allowUnderscorePrefixedLocalpart: raw.boolean("allow_underscore_prefixed_localpart", false),
    ...parseLifetimes(raw),
    inhibitUserInUseError: raw.boolean("inhibit_user_in_use_error", false),
    dontNotifyNewDevicesFor: raw.strings("dont_notify_new_devices_for"),
  };
}

function parseEnabled(raw: ConfigReader): boolean {
  const enabled = raw.looseBoolean("enable_registration", false);
  return raw.has("disable_registration") ? !raw.looseBoolean("disable_registration", false) : enabled;
}

function parsePattern(raw: ConfigReader, key: string): string {
  const pattern = raw.requiredString(key);
  try {
    pythonMatcher(pattern);
  } catch {
    throw raw.wrong(key, "a regular expression");
  }
  return pattern;
}

function parseAutoJoin(raw: ConfigReader, serverName: string) {
  const autoJoinRooms = raw.strings("auto_join_rooms");
  for (const [index, alias] of autoJoinRooms.entries()) {
    if (!/^#[^:]*:.+$/.test(alias))
      throw raw.error(`auto_join_rooms[${index}]`, `found ${JSON.stringify(alias)}, wanted a room alias such as "#lobby:${serverName}"`);
  }
  const autocreateAutoJoinRooms = raw.boolean("autocreate_auto_join_rooms", true);
  const preset = raw.oneOf("autocreate_auto_join_room_preset", PRESETS, "public_chat");
  const localpart = raw.string("auto_join_mxid_localpart");
  const requiresInvite = preset !== "public_chat";
  if (autocreateAutoJoinRooms && requiresInvite && !localpart) {
    throw raw.wrong("auto_join_mxid_localpart", `the localpart of the user who invites, since autocreate_auto_join_room_preset is ${preset}`);
  }
  return {
    autoJoinRooms,
    autocreateAutoJoinRooms,
    autocreateAutoJoinRoomsFederated: raw.boolean("autocreate_auto_join_rooms_federated", true),
    autocreateAutoJoinRoomPreset: preset,
    autoJoinRoomRequiresInvite: requiresInvite,
    /** Who creates the rooms and invites; undefined: the joining user. */
    autoJoinUserId: localpart ? `@${localpart}:${serverName}` : undefined,
    autoJoinRoomsForGuests: raw.boolean("auto_join_rooms_for_guests", true),
  };
}

function parseLifetimes(raw: ConfigReader) {
  const lifetimes = {
    sessionLifetimeMs: raw.duration("session_lifetime"),
    /** Of tokens given to clients that can refresh them; undefined: refreshing is off. */
    refreshableAccessTokenLifetimeMs: raw.nullableDuration("refreshable_access_token_lifetime", "5m"),
    nonrefreshableAccessTokenLifetimeMs: raw.duration("nonrefreshable_access_token_lifetime"),
    refreshTokenLifetimeMs: raw.duration("refresh_token_lifetime"),
  };
  const checks = [
    ["refreshable_access_token_lifetime", raw.has("refreshable_access_token_lifetime") ? lifetimes.refreshableAccessTokenLifetimeMs : undefined],
    ["nonrefreshable_access_token_lifetime", lifetimes.nonrefreshableAccessTokenLifetimeMs],
    ["refresh_token_lifetime", lifetimes.refreshTokenLifetimeMs],
  ] as const;
  for (const [key, lifetime] of checks) {
    if (lifetimes.sessionLifetimeMs !== undefined && lifetime !== undefined && lifetime > lifetimes.sessionLifetimeMs) {
      throw raw.error(key, "must not exceed session_lifetime");
    }
  }
  return lifetimes;
}
