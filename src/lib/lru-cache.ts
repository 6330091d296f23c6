import { LRUCache } from "lru-cache";

/**
 * A map of at most `max` entries that drops the least recently used. It takes memory for what it holds: the library's own limit by count
 * would set aside room for all entries at once, in every cache, before anything is in them.
 */
export function lruCache<K extends {}, V extends {}>(max: number, options: Pick<LRUCache.OptionsBase<K, V, unknown>, "dispose" | "ttl"> = {}): LRUCache<K, V> {
  return new LRUCache<K, V>({ ...options, maxSize: max, sizeCalculation: () => 1 });
}
