import { availableParallelism } from "node:os";
import { Turns } from "../../lib/turns.ts";
import { notFound } from "../../protocol/errors.ts";
import type { RemoteMedia } from "../../storage/media/remote-media.ts";
import { KnownMedia } from "./known-media.ts";
import { LaterThumbnails } from "./later-thumbnails.ts";
import type { MediaStore } from "./media-store.ts";
import type { Thumbnailer } from "./thumbnailer.ts";

/** What the media repository keeps while the server runs: the store, the thumbnailer, uploads under way, uses not written down yet. */
export class MediaRepository {
  readonly known = new KnownMedia();
  readonly later = new LaterThumbnails();
  private readonly uploads = new Set<string>();
  private readonly uses = new Map<string, readonly [string | undefined, string, number]>();
  private readonly turns = new Turns(Math.min(4, availableParallelism()));

  constructor(
    readonly files: MediaStore,
    readonly thumbnailer: Thumbnailer,
  ) {}

  /** False when an upload to the id is under way. */
  beginUpload(mediaId: string): boolean {
    if (this.uploads.has(mediaId)) return false;
    this.uploads.add(mediaId);
    return true;
  }

  endUpload(mediaId: string): void {
    this.uploads.delete(mediaId);
  }

  noteUse(origin: string | undefined, mediaId: string, now: number): void {
    this.uses.set(`${origin ?? ""}/${mediaId}`, [origin, mediaId, now]);
  }

  takeUses(): (readonly [string | undefined, string, number])[] {
    const uses = [...this.uses.values()];
    this.uses.clear();
    return uses;
  }

  /** As many images as there are processors are worked on at a time, at most four: pictures take memory. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.turns.run(work);
  }
}

/** Fetches media of other servers. Federation provides it. */
export interface RemoteMediaFetcher {
  /** Fetches, stores, and makes thumbnails. @throws MatrixError 404, 502, 429 */
  fetch(origin: string, mediaId: string, options: { timeoutMs: number; ip: string; userId: string | undefined }): Promise<RemoteMedia>;
}

export const noRemoteMedia: RemoteMediaFetcher = { fetch: () => Promise.reject(notFound()) };
