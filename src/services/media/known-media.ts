import { lruCache } from "../../lib/lru-cache.ts";
import type { ReadHandle } from "../../storage/database.ts";
import { type LocalMedia, localMedia } from "../../storage/media/local-media.ts";
import type { MediaName } from "../../storage/media/quarantine.ts";
import { type RemoteMedia, remoteMedia } from "../../storage/media/remote-media.ts";
import { localThumbnails, remoteThumbnails, type Thumbnail } from "../../storage/media/thumbnails.ts";

const MAX_KNOWN = 5_000;
/** For what changes the database without telling us. */
const LIFETIME_MS = 5_000;

/**
 * What the database says of media that is whole, for a few seconds: a fresh picture is asked for by everyone in a room at once. What is
 * not there, or not yet, is looked up each time. Whoever deletes media or moves it into quarantine calls `forget` when that is done.
 */
export class KnownMedia {
  private readonly rows = new Kept<LocalMedia | RemoteMedia | undefined>((row) => row !== undefined && row.media_length !== null);
  private readonly made = new Kept<Thumbnail[]>((thumbnails) => thumbnails.length > 0);

  local(read: ReadHandle, mediaId: string): Promise<LocalMedia | undefined> {
    return this.rows.get(keyOf(undefined, mediaId), () => localMedia(read, mediaId)) as Promise<LocalMedia | undefined>;
  }

  remote(read: ReadHandle, origin: string, mediaId: string): Promise<RemoteMedia | undefined> {
    return this.rows.get(keyOf(origin, mediaId), () => remoteMedia(read, origin, mediaId)) as Promise<RemoteMedia | undefined>;
  }

  thumbnails(read: ReadHandle, origin: string | undefined, mediaId: string): Promise<readonly Thumbnail[]> {
    return this.made.get(keyOf(origin, mediaId), () => (origin === undefined ? localThumbnails(read, mediaId) : remoteThumbnails(read, origin, mediaId)));
  }

  forget(media: readonly MediaName[]): void {
    for (const { origin, mediaId } of media) {
      this.rows.delete(keyOf(origin, mediaId));
      this.made.delete(keyOf(origin, mediaId));
    }
  }
}

/** No server name and no id has a space. */
const keyOf = (origin: string | undefined, mediaId: string): string => `${origin ?? ""} ${mediaId}`;

class Kept<V> {
  private readonly entries = lruCache<string, Promise<V>>(MAX_KNOWN, { ttl: LIFETIME_MS });

  constructor(private readonly isToBeKept: (value: V) => boolean) {}

  /** One lookup serves all who ask meanwhile; what was looked up before `delete` is not kept after it. */
  async get(key: string, load: () => Promise<V>): Promise<V> {
    const known = this.entries.get(key);
    if (known !== undefined) return await known;
    const loading = load();
    this.entries.set(key, loading);
    let keeps = false;
    try {
      const value = await loading;
      keeps = this.isToBeKept(value);
      return value;
    } finally {
      if (!keeps && this.entries.peek(key) === loading) this.entries.delete(key);
    }
  }

  delete(key: string): void {
    this.entries.delete(key);
  }
}
