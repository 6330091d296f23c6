import type { ConfigReader } from "../reader.ts";

/** Message retention (`retention`). Durations in milliseconds; undefined: no bound. */
export type RetentionConfig = ReturnType<typeof parseRetention>;

export function parseRetention(root: ConfigReader) {
  const raw = root.object("retention");
  const policy = raw.object("default_policy");
  const config = {
    enabled: raw.boolean("enabled", false),
    defaultMinLifetimeMs: policy.duration("min_lifetime"),
    defaultMaxLifetimeMs: policy.duration("max_lifetime"),
    allowedLifetimeMinMs: raw.duration("allowed_lifetime_min"),
    allowedLifetimeMaxMs: raw.duration("allowed_lifetime_max"),
  };
  if (exceeds(config.defaultMinLifetimeMs, config.defaultMaxLifetimeMs)) throw policy.error("min_lifetime", "must not be greater than max_lifetime");
  if (exceeds(config.allowedLifetimeMinMs, config.allowedLifetimeMaxMs)) {
    throw raw.error("allowed_lifetime_min", "must not be greater than retention.allowed_lifetime_max");
  }
  const purgeJobs = raw.objects("purge_jobs").map(parsePurgeJob);
  return {
    ...config,
    purgeJobs: purgeJobs.length > 0 ? purgeJobs : [{ intervalMs: 86_400_000, shortestMaxLifetimeMs: undefined, longestMaxLifetimeMs: undefined }],
  };
}

interface PurgeJob {
  readonly intervalMs: number;
  /** The job looks at rooms whose max_lifetime is above this ... */
  readonly shortestMaxLifetimeMs: number | undefined;
  /** ... and at most this. */
  readonly longestMaxLifetimeMs: number | undefined;
}

function parsePurgeJob(raw: ConfigReader): PurgeJob {
  const intervalMs = raw.duration("interval");
  const shortestMaxLifetimeMs = raw.duration("shortest_max_lifetime");
  const longestMaxLifetimeMs = raw.duration("longest_max_lifetime");
  if (intervalMs === undefined) throw raw.wrong("interval", "a duration (the option is required)");
  if (exceeds(shortestMaxLifetimeMs, longestMaxLifetimeMs)) throw raw.error("shortest_max_lifetime", "must not be greater than longest_max_lifetime");
  return { intervalMs, shortestMaxLifetimeMs, longestMaxLifetimeMs };
}

function exceeds(low: number | undefined, high: number | undefined): boolean {
  return low !== undefined && high !== undefined && low > high;
}
