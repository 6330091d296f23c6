import { lruCache } from "../../lib/lru-cache.ts";

/** Pictures that wait at once: a stop, which sees to them, takes no more than a few seconds longer. */
const MOST_WAITING = 100;
const REMEMBERED = 1_000;
const REMEMBERED_MS = 3_600_000;

/**
 * Thumbnails that nobody waits for, those of the pictures in previews. They are made one picture after the other; as soon as somebody asks for
 * one, that picture comes first. `make` never fails.
 */
export class LaterThumbnails {
  private readonly waiting = new Map<string, () => Promise<void>>();
  private readonly underWay = new Map<string, Promise<void>>();
  /** Pictures that were seen to: there is nothing to be gained by doing it again. */
  private readonly done = lruCache<string, true>(REMEMBERED, { ttl: REMEMBERED_MS });

  /** Puts a picture behind those that wait; where too many do already, resolves when it is done. */
  async add(mediaId: string, make: () => Promise<void>): Promise<void> {
    if (this.waiting.size >= MOST_WAITING) return await this.begin(mediaId, make);
    this.waiting.set(mediaId, make);
    if (this.underWay.size === 0) void this.begin(mediaId, make);
  }

  /** Resolves when the picture is done: at once, when it is already. */
  async ready(mediaId: string, make: () => Promise<void>): Promise<void> {
    if (this.done.get(mediaId) !== undefined) return;
    await (this.underWay.get(mediaId) ?? this.begin(mediaId, make));
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    while (this.underWay.size > 0) await Promise.all(this.underWay.values());
  }

  private begin(mediaId: string, make: () => Promise<void>): Promise<void> {
    this.waiting.delete(mediaId);
    const making = make().finally(() => {
      this.underWay.delete(mediaId);
      this.done.set(mediaId, true);
      const [next] = this.waiting;
      if (next !== undefined && this.underWay.size === 0) void this.begin(...next);
    });
    this.underWay.set(mediaId, making);
    return making;
  }
}
