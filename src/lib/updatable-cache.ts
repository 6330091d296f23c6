import { LRUCache } from "lru-cache";
import { lruCache } from "./lru-cache.ts";
import type { CacheReading } from "./metrics.ts";

/**
 * Values by key, loaded when first asked for and kept in step by those who write: `update` changes a value that is held, and drops a
 * load under way, so that nobody who asks after the update sees a value from before it. The least recently used are dropped.
 */
export class UpdatableCache<K extends string | number, V> {
  private readonly held: LRUCache<K, { readonly value: V }>;
  private readonly loading = new Map<K, Promise<V>>();
  private hits = 0;
  private misses = 0;
  private evicted = 0;

  /** @param limit total weight kept; @param weight of a value, at least 1 (default 1: the limit counts values) */
  constructor(limit: number, weight?: (value: V) => number) {
    const dispose = (_value: { readonly value: V }, _key: K, reason: string): void => void (reason === "evict" && this.evicted++);
    this.held =
      weight === undefined
        ? lruCache(limit, { dispose })
        : new LRUCache({ maxSize: limit, maxEntrySize: limit, dispose, sizeCalculation: (entry) => Math.max(1, weight(entry.value)) });
  }

  /** The value held, or undefined; counts as a use. */
  peek(key: K): V | undefined {
    const entry = this.held.get(key);
    this.count(entry !== undefined);
    return entry?.value;
  }

  async get(key: K, load: () => Promise<V>): Promise<V> {
    const entry = this.held.get(key);
    this.count(entry !== undefined);
    if (entry !== undefined) return entry.value;
    let promise = this.loading.get(key);
    if (promise === undefined) {
      promise = load();
      this.loading.set(key, promise);
      const settle = (value?: { value: V }): void => {
        if (this.loading.get(key) !== promise) return; // changed meanwhile
        this.loading.delete(key);
        if (value !== undefined) this.held.set(key, value);
      };
      promise.then(
        (value) => settle({ value }),
        () => settle(),
      );
    }
    return await promise;
  }

  set(key: K, value: V): void {
    this.loading.delete(key);
    this.held.set(key, { value });
  }

  /** Replaces the value held by `change(value)`; without one, makes sure that a load under way is not kept. */
  update(key: K, change: (value: V) => V): void {
    this.loading.delete(key);
    const entry = this.held.peek(key);
    if (entry !== undefined) this.held.set(key, { value: change(entry.value) });
  }

  delete(key: K): void {
    this.loading.delete(key);
    this.held.delete(key);
  }

  clear(): void {
    this.loading.clear();
    this.held.clear();
  }

  get size(): number {
    return this.held.size;
  }

  /** For the metrics; sizes by weight. */
  get reading(): CacheReading {
    return { size: this.held.calculatedSize, maxSize: this.held.maxSize, hits: this.hits, misses: this.misses, evictedBySize: this.evicted };
  }

  private count(isHit: boolean): void {
    if (isHit) this.hits++;
    else this.misses++;
  }
}
