import type { CacheSize } from "../../lib/cache-size.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";

/** Sizes of the caches (`caches`). */
export type CacheConfig = ReturnType<typeof parseCache>;

const ENV_PREFIX = "SYNAPSE_CACHE_FACTOR";
const DEFAULT_FACTOR = 0.5;

export function parseCache(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("caches");
  return {
    /** Events that the event cache holds at the default factor. */
    eventCacheSize: root.size("event_cache_size", "10K"),
    globalFactor: raw.number("global_factor", defaultFactor(ctx.env), { min: 0 }),
    /** By canonical cache name, see `canonicalCacheName`. */
    perCacheFactors: parseFactors(raw, ctx.env),
  };
}

/** Caches grow at most so many times: beyond it they would outgrow the heap before they are full. */
const MAX_GROWTH = 10;

/**
 * Sizes of caches as `caches.per_cache_factors` and, for caches that are not named there, `caches.global_factor` have them. A cache has its
 * own size at Synapse's default factor of 0.5, twice as much at 1.
 */
export function cacheSizes({ globalFactor, perCacheFactors }: Pick<CacheConfig, "globalFactor" | "perCacheFactors">): CacheSize {
  return (name, byDefault) => {
    const factor = perCacheFactors[canonicalCacheName(name)] ?? globalFactor;
    return Math.max(1, Math.floor(byDefault * Math.min(factor / DEFAULT_FACTOR, MAX_GROWTH)));
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
