import type { LRUCache } from "lru-cache";
import { lruCache } from "./lru-cache.ts";

/** A row of a stream, as far as its place is concerned. */
export interface PlacedRow {
  readonly position: number;
}

interface Tail<R> {
  /** All rows of the key after this position are in `rows`. */
  readonly from: number;
  /** Ascending positions. */
  readonly rows: R[];
}

/**
 * The last rows of each key of a stream, from memory: what most readers of a stream ask for. Says "unknown" (undefined) for positions
 * older than what is held.
 */
export class RecentRows<R extends PlacedRow> {
  private readonly tails: LRUCache<string, Tail<R>>;
  /** Keys that are not held have no row after this position. */
  private floor: number;

  /** @param since the position from which on all rows will be recorded */
  constructor(
    since: number,
    keys = 10_000,
    private readonly perKey = 50,
  ) {
    this.floor = since;
    this.tails = lruCache<string, Tail<R>>(keys, {
      dispose: (tail, _key, reason) => {
        if (reason === "evict") this.floor = Math.max(this.floor, tail.rows.at(-1)?.position ?? tail.from);
      },
    });
  }

  record(key: string, row: R): void {
    const tail = this.tails.get(key) ?? { from: this.floor, rows: [] };
    if (row.position <= tail.from) return; // from before what is known of the key
    let at = tail.rows.length;
    while (at > 0 && tail.rows[at - 1]!.position > row.position) at--;
    tail.rows.splice(at, 0, row);
    let { from } = tail;
    while (tail.rows.length > this.perKey) from = tail.rows.shift()!.position;
    this.tails.set(key, { from, rows: tail.rows });
  }

  /** The newest rows of `key` in (`after`, `upTo`], newest first, at most `limit`; undefined when not all of them may be held. */
  latest(key: string, after: number, upTo: number, limit: number): R[] | undefined {
    const tail = this.tails.get(key);
    const found: R[] = [];
    for (let at = (tail?.rows.length ?? 0) - 1; at >= 0 && found.length < limit; at--) {
      const row = tail!.rows[at]!;
      if (row.position <= after) return found;
      if (row.position <= upTo) found.push(row);
    }
    return found.length >= limit || after >= (tail?.from ?? this.floor) ? found : undefined;
  }

  /** Rows of the key were removed: nothing is known of what was before `position`. */
  forget(key: string, position: number): void {
    this.tails.set(key, { from: position, rows: [] });
  }
}
