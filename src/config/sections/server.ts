import { blockedRanges, DEFAULT_BLOCKED_RANGES, expandRanges } from "../ip-ranges.ts";
import { parseModule } from "./modules.ts";
import { DEFAULT_LISTENER, type Listener, parseListener, plainListener } from "../listeners.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { parseServerName } from "../../protocol/ids.ts";

/** Options of the server as a whole (Synapse's `server` section). Durations in milliseconds, sizes in bytes. */
export type ServerConfig = ReturnType<typeof parseServer>;

const KNOWN_ROOM_VERSIONS: readonly string[] = [
  ...Array.from({ length: 12 }, (_, index) => String(index + 1)),
  "org.matrix.msc3757.10",
  "org.matrix.msc3757.11",
  "org.matrix.hydra.11",
];

const TOO_COMPLEX =
  "Your homeserver is unable to join rooms this large or complex. Please speak to your server administrator, or upgrade your instance to join this room.";

export function parseServer(raw: ConfigReader, ctx: ParseContext) {
  const serverName = raw.requiredString("server_name");
  if (parseServerName(serverName) === undefined) throw raw.wrong("server_name", 'a domain such as "example.org"');
  const baseUrl = raw.string("public_baseurl");
  const limitUsageByMau = raw.boolean("limit_usage_by_mau", false);
  const maxMauValue = raw.integer("max_mau_value", 0);
  const maxEventDelay = raw.duration("max_event_delay_duration");
  if (maxEventDelay !== undefined && maxEventDelay <= 0) throw raw.wrong("max_event_delay_duration", "a duration above zero");
  const maxDelayedEventsPerUser = raw.object("experimental_features").integer("msc4140_max_delayed_events_per_user", 100, { min: 0 });
  return {
    serverName,
    serverContext: raw.string("server_context"),
    /** With a trailing slash. */
    publicBaseurl: parseBaseUrl(raw, baseUrl, serverName),
    /** `/.well-known/matrix/client` is served when `public_baseurl` was set by the admin. */
    serveClientWellknown: baseUrl !== undefined,
    serveServerWellknown: raw.boolean("serve_server_wellknown", false),
    extraWellKnownClientContent: parseExtraWellKnown(raw),
    pidFile: raw.filePath("pid_file", ctx),
    daemonize: raw.boolean("daemonize", false),
    printPidfile: raw.boolean("print_pidfile", false),
    userAgentSuffix: raw.string("user_agent_suffix"),
    webClientLocation: parseWebClient(raw),
    listeners: parseListeners(raw, ctx),
    presence: parsePresence(raw, serverName),
    requireAuthForProfileRequests: raw.boolean("require_auth_for_profile_requests", false),
    limitProfileRequestsToUsersWhoShareRooms: raw.boolean("limit_profile_requests_to_users_who_share_rooms", false),
    includeProfileDataOnInvite: raw.boolean("include_profile_data_on_invite", true),
    includeProfileUpdatesInSync: raw.boolean("include_profile_updates_in_sync", false),
    ...parsePublicRooms(raw),
    defaultRoomVersion: parseRoomVersion(raw),
    enableSearch: raw.boolean("enable_search", true),
    /** Most events that a filter may ask for in one timeline; -1: no limit. */
    filterTimelineLimit: raw.integer("filter_timeline_limit", 100),
    blockNonAdminInvites: raw.boolean("block_non_admin_invites", false),
    limitUsageByMau,
    maxMauValue: limitUsageByMau ? maxMauValue : 0,
    mauStatsOnly: raw.boolean("mau_stats_only", false),
    mauLimitReservedThreepids: raw
      .objects("mau_limit_reserved_threepids")
      .map((entry) => ({ medium: entry.requiredString("medium"), address: entry.requiredString("address") })),
    mauTrialDays: raw.integer("mau_trial_days", 0),
    /** By appservice id. */
    mauAppserviceTrialDays: raw.numbers("mau_appservice_trial_days"),
    mauLimitAlerting: raw.boolean("mau_limit_alerting", true),
    /** How long redacted events keep their content in the database; undefined: for ever. */
    redactionRetentionPeriodMs: raw.nullableDuration("redaction_retention_period", "7d"),
    /** After which a room that all local users forgot is purged; undefined: never. */
    forgottenRoomRetentionPeriodMs: raw.duration("forgotten_room_retention_period"),
    /** undefined: rows of user_ips stay for ever. */
    userIpsMaxAgeMs: raw.nullableDuration("user_ips_max_age", "28d"),
    hsDisabled: raw.boolean("hs_disabled", false),
    hsDisabledMessage: raw.string("hs_disabled_message", ""),
    adminContact: raw.string("admin_contact"),
    ...parseIpRanges(raw),
    requireMembershipForAliases: raw.boolean("require_membership_for_aliases", true),
    allowPerRoomProfiles: raw.boolean("allow_per_room_profiles", true),
    maxAvatarSize: raw.size("max_avatar_size"),
    allowedAvatarMimetypes: raw.optionalStrings("allowed_avatar_mimetypes"),
    limitRemoteRooms: parseLimitRemoteRooms(raw.object("limit_remote_rooms")),
    proxy: parseProxy(raw, ctx.env),
    cleanupExtremitiesWithDummyEvents: raw.boolean("cleanup_extremities_with_dummy_events", true),
    dummyEventsThreshold: raw.integer("dummy_events_threshold", 10),
    enableEphemeralMessages: raw.boolean("enable_ephemeral_messages", false),
    requestTokenInhibit3pidErrors: raw.boolean("request_token_inhibit_3pid_errors", false),
    /** undefined: any domain. */
    nextLinkDomainWhitelist: raw.optionalStrings("next_link_domain_whitelist"),
    /** Searched first for templates; as written in the file. */
    customTemplateDirectory: raw.object("templates").filePath("custom_template_directory", ctx),
    useAccountValidityInAccountStatus: raw.boolean("use_account_validity_in_account_status", false),
    excludeRoomsFromSync: raw.strings("exclude_rooms_from_sync"),
    deleteStaleDevicesAfterMs: raw.duration("delete_stale_devices_after"),
    /** MSC4140; 0: no delayed events. */
    maxEventDelayDurationMs: maxEventDelay ?? 0,
    maxDelayedEventsPerUser,
    msc4140Enabled: maxDelayedEventsPerUser > 0 && maxEventDelay !== undefined,
  };
}

function parseBaseUrl(raw: ConfigReader, text: string | undefined, serverName: string): string {
  if (text === undefined) return `https://${serverName}/`;
  const withSlash = text.endsWith("/") ? text : `${text}/`;
  const wanted = "an http or https URL without query or fragment";
  if (!/^https?:\/\//i.test(withSlash) || /[?#]/.test(withSlash) || !URL.canParse(withSlash)) throw raw.wrong("public_baseurl", wanted);
  return withSlash;
}

function parseExtraWellKnown(raw: ConfigReader): Record<string, unknown> {
  const content = raw.rawObject("extra_well_known_client_content") ?? {};
  const taken = { "m.homeserver": "public_baseurl", "m.identity_server": "default_identity_server" };
  for (const [key, option] of Object.entries(taken)) {
    if (key in content) throw raw.error("extra_well_known_client_content", `holds ${key}; set ${option} instead`);
  }
  return content;
}

function parseWebClient(raw: ConfigReader): string | undefined {
  const location = raw.string("web_client_location");
  if (location && !/^https?:\/\//.test(location)) throw raw.wrong("web_client_location", "an http or https URL");
  return location || undefined;
}

function parseListeners(raw: ConfigReader, ctx: ParseContext): Listener[] {
  const configured = raw.optionalObjects("listeners");
  let listeners = configured?.map(parseListener) ?? [];
  const noTls = raw.boolean("no_tls", false);
  if (noTls) listeners = listeners.filter((listener) => !listener.tls);

  const bindPort = raw.port("bind_port");
  const bindHost = raw.string("bind_host", "");
  const unsecurePort = raw.port("unsecure_port");
  const compress = raw.boolean("gzip_responses", true);
  if (bindPort) {
    if (noTls) throw raw.error("no_tls", "cannot be set together with bind_port");
    const resources = [
      { names: ["client" as const], compress },
      { names: ["federation" as const], compress: false },
    ];
    listeners = [plainListener("http", bindPort, bindHost, resources, true)];
    const plainPort = unsecurePort ?? bindPort - 400;
    if (plainPort > 0) listeners.push(plainListener("http", plainPort, bindHost, resources));
    ctx.notice("bind_port is an option of long ago; use listeners");
  }
  const metricsPort = raw.port("metrics_port");
  const metricsHost = raw.string("metrics_bind_host", "127.0.0.1");
  if (metricsPort) {
    listeners.push(plainListener("http", metricsPort, metricsHost, [{ names: ["metrics"], compress: false }]));
    ctx.notice("metrics_port is an option of long ago; use a listener of type metrics");
  }
  const isWorker = raw.string("worker_app") !== undefined && raw.string("worker_app") !== "synapse.app.homeserver";
  if (configured === undefined && !bindPort && !isWorker) {
    ctx.notice("There are no listeners in the configuration; listening on port 8008 of the loopback addresses");
    listeners.unshift(DEFAULT_LISTENER);
  }
  return listeners;
}

function parsePresence(raw: ConfigReader, serverName: string) {
  const presence = raw.object("presence");
  const setting = presence.value("enabled") === "untracked" ? "untracked" : presence.boolean("enabled", raw.boolean("use_presence", true));
  const timers = {
    /** How long after an activity a user counts as currently active. */
    lastActiveGranularityMs: presence.duration("last_active_granularity", "1m"),
    /** After this long without a sync a client counts as gone. */
    syncOnlineTimeoutMs: presence.duration("sync_online_timeout", "30s"),
    /** After this long without activity a user counts as idle. */
    idleTimeoutMs: presence.duration("idle_timeout", "5m"),
  };
  const router = presence.optionalObject("presence_router");
  if (timers.lastActiveGranularityMs <= 0) throw presence.wrong("last_active_granularity", "a duration above zero");
  if (timers.syncOnlineTimeoutMs <= 0) throw presence.wrong("sync_online_timeout", "a duration above zero");
  if (timers.idleTimeoutMs <= timers.lastActiveGranularityMs) throw presence.error("idle_timeout", "must be greater than presence.last_active_granularity");
  return {
    serverName,
    enabled: setting !== false,
    /** Presence is computed from syncs and timers, not only set by modules. */
    tracked: setting === true,
    /** MSC3026: users may be `busy`. */
    busy: raw.object("experimental_features").boolean("msc3026_enabled", false),
    includeOfflineUsersOnSync: presence.boolean("include_offline_users_on_sync", false),
    timers,
    /** A module that routes presence, in the old form. */
    router: router === undefined ? undefined : parseModule(router),
    /** Rooms through which nobody's presence is told. */
    excludedRooms: new Set(raw.strings("exclude_rooms_from_presence")) as ReadonlySet<string>,
  };
}

function parsePublicRooms(raw: ConfigReader) {
  const withoutAuth = raw.boolean("allow_public_rooms_without_auth", false);
  const overFederation = raw.boolean("allow_public_rooms_over_federation", false);
  const restricted = raw.boolean("restrict_public_rooms_to_local_users", false);
  if (raw.has("restrict_public_rooms_to_local_users") && (raw.has("allow_public_rooms_without_auth") || raw.has("allow_public_rooms_over_federation"))) {
    throw raw.error(
      "restrict_public_rooms_to_local_users",
      "cannot be set together with allow_public_rooms_without_auth or allow_public_rooms_over_federation",
    );
  }
  return { allowPublicRoomsWithoutAuth: withoutAuth && !restricted, allowPublicRoomsOverFederation: overFederation && !restricted };
}

function parseRoomVersion(raw: ConfigReader): string {
  const version = raw.text("default_room_version") ?? "11";
  const experimental = raw.object("experimental_features");
  const known = [...KNOWN_ROOM_VERSIONS];
  if (experimental.boolean("msc1767_enabled", false)) known.push("org.matrix.msc1767.10");
  if (experimental.boolean("msc4242_enabled", false)) known.push("org.matrix.msc4242.12");
  if (!known.includes(version)) throw raw.wrong("default_room_version", `one of ${known.join(", ")}`);
  return version;
}

function parseIpRanges(raw: ConfigReader) {
  const ipRangeBlocklist = blockedRanges(raw.strings("ip_range_blacklist", DEFAULT_BLOCKED_RANGES), "ip_range_blacklist");
  const ipRangeAllowlist = expandRanges(raw.strings("ip_range_whitelist"), "ip_range_whitelist");
  const federation = raw.optionalStrings("federation_ip_range_blacklist");
  return {
    /** CIDR ranges that outgoing connections must not reach, IPv6 forms included. */
    ipRangeBlocklist,
    /** Exceptions from the blocklist. */
    ipRangeAllowlist,
    federationIpRangeBlocklist: federation === undefined ? ipRangeBlocklist : blockedRanges(federation, "federation_ip_range_blacklist"),
    federationIpRangeAllowlist: federation === undefined ? ipRangeAllowlist : [],
  };
}

function parseLimitRemoteRooms(raw: ConfigReader) {
  return {
    enabled: raw.boolean("enabled", false),
    complexity: raw.number("complexity", 1),
    complexityError: raw.string("complexity_error", TOO_COMPLEX),
    adminsCanJoin: raw.boolean("admins_can_join", false),
  };
}

/** Forward proxies for outgoing requests: the options, else the environment variables of the same name in any letter case. */
export function parseProxy(raw: ConfigReader, env: ParseContext["env"]) {
  const fromEnv = (name: string): string | undefined => {
    const value = env[name] ?? Object.entries(env).find(([key]) => key.toLowerCase() === name)?.[1];
    return value === "" ? undefined : value;
  };
  const noProxy = fromEnv("no_proxy");
  return {
    http: raw.string("http_proxy") ?? fromEnv("http_proxy"),
    https: raw.string("https_proxy") ?? fromEnv("https_proxy"),
    /** Hosts, addresses and ranges that are reached directly. */
    noProxyHosts: raw.optionalStrings("no_proxy_hosts") ?? noProxy?.split(",").map((host) => host.trim()) ?? [],
  };
}
