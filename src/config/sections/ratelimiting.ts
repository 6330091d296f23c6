import type { ConfigReader } from "../reader.ts";

/** Token buckets (`rc_...`). */
export type RatelimitConfig = ReturnType<typeof parseRatelimiting>;

export interface RateLimit {
  /** Actions a second that the bucket regains. */
  readonly perSecond: number;
  /** Actions that fit into the bucket. */
  readonly burstCount: number;
}

export function parseRatelimiting(raw: ConfigReader) {
  const login = raw.object("rc_login");
  const joins = raw.object("rc_joins");
  const invites = raw.object("rc_invites");
  return {
    message: parseMessage(raw),
    registration: limit(raw, "rc_registration", 0.17, 3),
    registrationTokenValidity: limit(raw, "rc_registration_token_validity", 0.1, 5),
    loginAddress: limit(login, "address", 0.003, 5),
    loginAccount: limit(login, "account", 0.003, 5),
    loginFailedAttempts: limit(login, "failed_attempts", 0.17, 3),
    /** undefined: redactions by admins count as messages. */
    adminRedaction: raw.has("rc_admin_redaction") ? limit(raw, "rc_admin_redaction", 0.17, 3) : undefined,
    joinsLocal: limit(joins, "local", 0.1, 10),
    joinsRemote: limit(joins, "remote", 0.01, 10),
    joinsPerRoom: limit(raw, "rc_joins_per_room", 1, 10),
    keyRequests: limit(raw, "rc_key_requests", 20, 100),
    threepidValidation: limit(raw, "rc_3pid_validation", 0.003, 5),
    invitesPerRoom: limit(invites, "per_room", 0.3, 10),
    invitesPerUser: limit(invites, "per_user", 0.003, 5),
    invitesPerIssuer: limit(invites, "per_issuer", 0.3, 10),
    thirdPartyInvite: limit(raw, "rc_third_party_invite", 0.0025, 5),
    mediaCreate: limit(raw, "rc_media_create", 10, 50),
    /** In bytes. */
    remoteMediaDownloads: {
      perSecond: raw.size("remote_media_download_per_second", "87K"),
      burstCount: raw.size("remote_media_download_burst_count", "500M"),
    },
    presencePerUser: limit(raw.object("rc_presence"), "per_user", 0.1, 1),
    delayedEventMgmt: limit(raw, "rc_delayed_event_mgmt", 1, 5),
    roomCreation: limit(raw, "rc_room_creation", 0.016, 10),
    reports: limit(raw, "rc_reports", 1, 5),
    userDirectory: limit(raw, "rc_user_directory", 0.016, 200),
    federation: parseFederationLimit(raw),
    federationRrTransactionsPerRoomPerSecond: raw.integer("federation_rr_transactions_per_room_per_second", 50),
  };
}

function limit(raw: ConfigReader, key: string, perSecond: number, burstCount: number): RateLimit {
  const reader = raw.object(key);
  return {
    perSecond: reader.number("per_second", perSecond),
    burstCount: Math.trunc(reader.number("burst_count", burstCount)),
  };
}

function parseMessage(raw: ConfigReader): RateLimit {
  const legacy = {
    perSecond: raw.number("rc_messages_per_second", 0.2),
    burstCount: Math.trunc(raw.number("rc_message_burst_count", 10)),
  };
  return raw.has("rc_message") ? limit(raw, "rc_message", 0.2, 10) : legacy;
}

/** How many requests of one server are worked at, slowed down, refused. */
function parseFederationLimit(raw: ConfigReader) {
  const legacy = {
    windowSizeMs: raw.integer("federation_rc_window_size", 1000),
    sleepLimit: raw.integer("federation_rc_sleep_limit", 10),
    sleepDelayMs: raw.integer("federation_rc_sleep_delay", 500),
    rejectLimit: raw.integer("federation_rc_reject_limit", 50),
    concurrent: raw.integer("federation_rc_concurrent", 3),
  };
  if (!raw.has("rc_federation")) return legacy;
  const reader = raw.object("rc_federation");
  return {
    windowSizeMs: reader.integer("window_size", 1000),
    sleepLimit: reader.integer("sleep_limit", 10),
    sleepDelayMs: reader.integer("sleep_delay", 500),
    rejectLimit: reader.integer("reject_limit", 50),
    concurrent: reader.integer("concurrent", 3),
  };
}
