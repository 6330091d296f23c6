import type { LRUCache } from "lru-cache";
import { lruCache } from "./lru-cache.ts";
import type { CacheReading } from "./metrics.ts";

/**
 * Values by key, loaded when first asked for; the least recently used are dropped. What is cached is the promise of the load, so
 * that one load serves all who ask meanwhile, and a value that was loaded before an invalidation is never kept after it.
 */
export class LoadingCache<V> {
  private readonly entries: LRUCache<string, Promise<V>>;
  private hits = 0;
  private misses = 0;
  private evicted = 0;

  /** @param max number of entries kept */
  constructor(max: number) {
    this.entries = lruCache(max, { dispose: (_value, _key, reason) => void (reason === "evict" && this.evicted++) });
  }

  async get(key: string, load: () => Promise<V>): Promise<V> {
    let entry = this.entries.get(key);
    if (entry !== undefined) this.hits++;
    else {
      this.misses++;
      entry = load();
      this.keep(key, entry);
    }
    return await entry;
  }

  /** The values of `keys`; `load` is called once, with those that are missing, and answers for all of them. */
  async getMany(keys: readonly string[], load: (missing: string[]) => Promise<ReadonlyMap<string, V>>): Promise<Map<string, V>> {
    const found = new Map<string, Promise<V>>();
    const missing: string[] = [];
    for (const key of new Set(keys)) {
      const entry = this.entries.get(key);
      if (entry === undefined) missing.push(key);
      else found.set(key, entry);
    }
    this.hits += found.size;
    this.misses += missing.length;
    if (missing.length > 0) {
      const loading = load(missing);
      for (const key of missing) {
        const entry = loading.then((values) => {
          if (!values.has(key)) throw new Error(`nothing was loaded for ${key}`);
          return values.get(key)!;
        });
        this.keep(key, entry);
        found.set(key, entry);
      }
    }
    const values = new Map<string, V>();
    const settled = await Promise.all(found.values());
    let index = 0;
    for (const key of found.keys()) values.set(key, settled[index++]!);
    return values;
  }

  invalidate(key: string): void {
    this.entries.delete(key);
  }

  clear(): void {
    this.entries.clear();
  }

  get size(): number {
    return this.entries.size;
  }

  /** For the metrics. */
  get reading(): CacheReading {
    return { size: this.entries.size, maxSize: this.entries.maxSize, hits: this.hits, misses: this.misses, evictedBySize: this.evicted };
  }

  /** A failed load is not remembered. */
  private keep(key: string, entry: Promise<V>): void {
    this.entries.set(key, entry);
    entry.catch(() => {
      if (this.entries.peek(key) === entry) this.entries.delete(key);
    });
  }
}
