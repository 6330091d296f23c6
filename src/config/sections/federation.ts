import type { ConfigReader } from "../reader.ts";

/** Talking with other servers (`federation`). Durations in milliseconds. */
export type FederationConfig = ReturnType<typeof parseFederation>;

/** As Synapse: beyond this the retry interval would not fit the column. */
const LONGEST_RETRY_INTERVAL = 2 ** 62;

export function parseFederation(root: ConfigReader) {
  const raw = root.object("federation");
  return {
    /** undefined: all servers; []: none. */
    domainWhitelist: root.optionalStrings("federation_domain_whitelist"),
    whitelistEndpointEnabled: root.boolean("federation_whitelist_endpoint_enabled", false),
    metricsDomains: root.strings("federation_metrics_domains"),
    allowProfileLookupOverFederation: root.boolean("allow_profile_lookup_over_federation", true),
    allowDeviceNameLookupOverFederation: root.boolean("allow_device_name_lookup_over_federation", false),
    clientTimeoutMs: raw.duration("client_timeout", "60s"),
    maxLongRetryDelayMs: raw.duration("max_long_retry_delay", "60s"),
    maxShortRetryDelayMs: raw.duration("max_short_retry_delay", "2s"),
    maxLongRetries: raw.integer("max_long_retries", 10),
    maxShortRetries: raw.integer("max_short_retries", 3),
    destinationMinRetryIntervalMs: raw.duration("destination_min_retry_interval", "10m"),
    destinationRetryMultiplier: raw.number("destination_retry_multiplier", 2),
    destinationMaxRetryIntervalMs: Math.min(raw.duration("destination_max_retry_interval", "7d"), LONGEST_RETRY_INTERVAL),
  };
}
