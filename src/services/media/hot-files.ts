import { LRUCache } from "lru-cache";

/** Longer files are streamed. */
export const WHOLE_BYTES = 1024 * 1024;
const CACHED_BYTES = 32 * 1024 * 1024;
const HELD_BYTES = 64 * 1024 * 1024;
/** What an entry costs beside its bytes, so that tiny files do not come in any number. */
const ENTRY_BYTES = 4096;

/**
 * Files that are sent from memory: avatars and fresh pictures are asked for by everyone in a room at once. A file never changes under its
 * name, and whether it may still be shown is decided before it is looked up here. Both what is kept and what slow clients hold back are bounded.
 */
export class HotFiles {
  private readonly kept = new LRUCache<string, Buffer>({ maxSize: CACHED_BYTES, sizeCalculation: (bytes) => bytes.length + ENTRY_BYTES });
  private readonly users = new Map<Buffer, number>();
  private held = 0;

  get(path: string): Buffer | undefined {
    return this.kept.get(path);
  }

  keep(path: string, bytes: Buffer): void {
    this.kept.set(path, bytes);
  }

  forget(path: string): void {
    this.kept.delete(path);
  }

  /** True when a file of that length may be read whole to be sent. */
  hasRoom(length: number): boolean {
    return length <= WHOLE_BYTES && this.held + length <= HELD_BYTES;
  }

  /** Counts bytes as held until the client has them or is gone. */
  hold(bytes: Buffer, until: AbortSignal): void {
    if (until.aborted) return;
    const users = this.users.get(bytes) ?? 0;
    this.users.set(bytes, users + 1);
    if (users === 0) this.held += bytes.length;
    until.addEventListener("abort", () => this.release(bytes), { once: true });
  }

  private release(bytes: Buffer): void {
    const users = this.users.get(bytes)! - 1;
    if (users > 0) {
      this.users.set(bytes, users);
      return;
    }
    this.users.delete(bytes);
    this.held -= bytes.length;
  }
}
