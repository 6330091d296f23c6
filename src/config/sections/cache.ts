import type { ConfigReader, ParseContext } from "../reader.ts";

/** Sizes and lifetimes of the caches (`caches`). Durations in milliseconds, sizes in bytes unless said otherwise. */
export type CacheConfig = ReturnType<typeof parseCache>;

const ENV_PREFIX = "SYNAPSE_CACHE_FACTOR";
const DEFAULT_FACTOR = 0.5;

export function parseCache(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("caches");
  const tuning = raw.optionalObject("cache_autotuning");
  const expire = raw.boolean("expire_caches", true);
  const entryTtl = raw.duration("cache_entry_ttl", "30m");
  const legacyExpiry = raw.duration("expiry_time");
  if (legacyExpiry) ctx.notice("caches.expiry_time is deprecated; use caches.expire_caches and caches.cache_entry_ttl");
  return {
    /** Entries of the event cache before its factor is applied. */
    eventCacheSize: root.size("event_cache_size", "10K"),
    globalFactor: raw.number("global_factor", defaultFactor(ctx.env), { min: 0 }),
    /** By canonical cache name, see `canonicalCacheName`. */
    perCacheFactors: parseFactors(raw, ctx.env),
    /** Entries unused for this long are dropped; undefined: never. */
    entryTtlMs: legacyExpiry ? legacyExpiry : expire ? entryTtl : undefined,
    autotuning:
      tuning === undefined || tuning.isEmpty
        ? undefined
        : {
            maxCacheMemoryUsage: tuning.size("max_cache_memory_usage"),
            targetCacheMemoryUsage: tuning.size("target_cache_memory_usage"),
            minCacheTtlMs: tuning.duration("min_cache_ttl"),
          },
    syncResponseCacheDurationMs: raw.duration("sync_response_cache_duration", "2m"),
  };
}

/** The form under which a cache's factor is found: lower case, without characters such as `*`. */
export function canonicalCacheName(name: string): string {
  return name.replace(/[^A-Za-z_1-9]/g, "").toLowerCase();
}

function defaultFactor(env: ParseContext["env"]): number {
  const fromEnv = Number(env[ENV_PREFIX] ?? Number.NaN);
  return Number.isFinite(fromEnv) ? fromEnv : DEFAULT_FACTOR;
}

function parseFactors(raw: ConfigReader, env: ParseContext["env"]): Record<string, number> {
  const factors: Record<string, number> = {};
  for (const [name, factor] of Object.entries(raw.numbers("per_cache_factors"))) factors[canonicalCacheName(name)] = factor;
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(`${ENV_PREFIX}_`)) continue;
    const factor = Number(text);
    if (Number.isFinite(factor)) factors[canonicalCacheName(name.slice(ENV_PREFIX.length + 1))] = factor;
  }
  return factors;
}
