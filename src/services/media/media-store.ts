import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import path from "node:path";
import { finished, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Logger } from "../../lib/log.ts";
import type { Random } from "../../lib/random.ts";
import { releaseBuffers } from "../../lib/release-buffers.ts";
import { HotFiles } from "./hot-files.ts";
import { type MediaFile, mediaPath, thumbnailFolder } from "./paths.ts";
import { isFile, type StorageProvider } from "./storage-provider.ts";
import { writeNewFile } from "./write-new-file.ts";

/** What was written: its length in bytes and the SHA-256 in lower-case hex. */
export interface StoredFile {
  readonly length: number;
  readonly sha256: string;
  /** What was written, where it is short. */
  readonly bytes: Buffer | undefined;
}

/** Read at once of files that are streamed: each turn costs more than its bytes. */
const CHUNK_BYTES = 256 * 1024;
/** Gathered of a stream before it is written; what is no longer is written at once. */
const BATCH_BYTES = 1024 * 1024;
/** Gathered of all streams together: from there on all is written as it comes. */
const GATHERED_BYTES = 32 * 1024 * 1024;
/** Files up to this length are at hand after they were written. */
const SHORT_BYTES = 256 * 1024;

export interface WriteOptions {
  readonly maxBytes: number;
  /** The length that was announced. */
  readonly exactly?: number | undefined;
  /** Nobody else has the stream's chunks: their memory goes back as soon as they are written. */
  readonly ownChunks?: boolean;
}

/** Thrown when more bytes come than were allowed; nothing is left behind. */
export class MediaTooLarge extends Error {}

/** Thrown when the sender breaks off, or sends fewer bytes than it announced; nothing is left behind. */
export class MediaIncomplete extends Error {}

/**
 * The files of the media repository: the local store, and storage providers behind it. What is at hand is written under its name, and what is long
 * gets it when it is whole: either way before there is a row that says so, and nobody looks for a file without one.
 */
export class MediaStore {
  private readonly hot = new HotFiles();
  /** Bytes of all streams that are not written yet. */
  private gathered = 0;

  constructor(
    private readonly root: string,
    private readonly providers: readonly StorageProvider[],
    private readonly random: Random,
    private readonly log: Logger,
    /** False: files are kept by providers alone. */
    private readonly keepLocal = true,
    /** Judges a file that is whole before it appears under its name; refuses it by throwing, and nothing is left behind. */
    private readonly judge: (file: MediaFile, path: string) => Promise<void> = () => Promise.resolve(),
  ) {}

  /** Writes a stream. @throws MediaTooLarge, MediaIncomplete */
  async write(file: MediaFile, content: Readable, options: WriteOptions): Promise<StoredFile> {
    const relative = mediaPath(file);
    const temporary = this.temporary(relative);
    const { length, sha256, chunks } = await this.receive(content, temporary, options);
    if (chunks === undefined) {
      await this.place(file, relative, temporary, () => Promise.resolve());
      return { length, sha256, bytes: undefined };
    }
    try {
      await this.writeChunks(file, chunks);
      return { length, sha256, bytes: length <= SHORT_BYTES ? Buffer.concat(chunks, length) : undefined };
    } finally {
      this.gathered -= length;
      if (options.ownChunks === true) releaseBuffers(chunks);
    }
  }

  /** Writes bytes (thumbnails). */
  async writeBytes(file: MediaFile, bytes: Buffer): Promise<void> {
    await this.writeChunks(file, [bytes]);
  }

  /** Under its name from the beginning, if it is the first of it. */
  private async writeChunks(file: MediaFile, chunks: readonly Buffer[]): Promise<void> {
    const relative = mediaPath(file);
    // Previews of a day lie in one folder, and so do thumbnails; else most files are the first in theirs.
    const isFirst = file.urlCache !== true && file.thumbnail === undefined;
    const write = async (to: string): Promise<void> => {
      if (isFirst) await mkdir(path.dirname(to), { recursive: true });
      await inFolder(to, () => writeNewFile(to, chunks));
    };
    try {
      await this.place(file, relative, path.join(this.root, relative), write);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      await this.place(file, relative, this.temporary(relative), write);
    }
  }

  /**
   * The file, from the local store or a provider; undefined when nobody has it. Small ones come whole, as bytes that are not to be changed:
   * they count as taken until the signal aborts (the client has them, or is gone).
   */
  async read(file: MediaFile, until: AbortSignal): Promise<Readable | Buffer | undefined> {
    const relative = mediaPath(file);
    const hot = this.hot.get(relative);
    if (hot !== undefined) {
      this.hot.hold(hot, until);
      return hot;
    }
    const local = await this.readLocal(relative, until);
    if (local !== undefined) return local;
    for (const provider of this.providersOf(file)) {
      const stream = await provider.fetch(relative);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }

  /** A local path of the file for programs that need one, fetched from a provider where necessary; undefined when nobody has it. */
  async localFile(file: MediaFile): Promise<string | undefined> {
    const relative = mediaPath(file);
    const local = path.join(this.root, relative);
    if (await isFile(local)) return local;
    for (const provider of this.providersOf(file)) {
      const stream = await provider.fetch(relative);
      if (stream === undefined) continue;
      await mkdir(path.dirname(local), { recursive: true });
      const temporary = `${local}.${this.random.letters(8)}`;
      try {
        await pipeline(stream, createWriteStream(temporary, { flags: "wx" }));
        await rename(temporary, local);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      return local;
    }
    return undefined;
  }

  /** Removes the file and its thumbnails, here and at the providers. What is missing already is no error. */
  async delete(file: Omit<MediaFile, "thumbnail">): Promise<void> {
    for (const relative of [mediaPath(file), thumbnailFolder(file)]) {
      this.hot.forget(relative);
      const local = path.join(this.root, relative);
      await rm(local, { force: true, recursive: true });
      await this.removeEmptyParents(path.dirname(local));
      for (const provider of this.providersOf(file)) {
        await provider.delete(relative).catch((error: unknown) => this.log.warn(`Storage provider ${provider.name} could not delete ${relative}`, { error }));
      }
    }
  }

  private async readLocal(relative: string, until: AbortSignal): Promise<Readable | Buffer | undefined> {
    const handle = await open(path.join(this.root, relative)).catch(() => undefined);
    if (handle === undefined) return undefined;
    let streams = false;
    try {
      const found = await handle.stat();
      if (!found.isFile()) return undefined;
      if (!this.hot.hasRoom(found.size)) {
        streams = true;
        return handle.createReadStream({ highWaterMark: CHUNK_BYTES });
      }
      const bytes = Buffer.allocUnsafeSlow(found.size);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
      const content = bytes.subarray(0, bytesRead);
      this.hot.keep(relative, content);
      this.hot.hold(content, until);
      return content;
    } finally {
      if (!streams) await handle.close();
    }
  }

  /** The pages and pictures of previews live too short to be worth keeping elsewhere, as in Synapse. */
  private providersOf(file: Pick<MediaFile, "urlCache">): readonly StorageProvider[] {
    return file.urlCache === true ? [] : this.providers;
  }

  /**
   * Takes a stream in, hashing it: as chunks where it is short, which count as gathered until the caller is done with them; else it is in the new
   * file `temporary`, and no more than a batch of it was in memory. When it fails nothing is left. @throws MediaTooLarge, MediaIncomplete
   */
  private async receive(
    content: Readable,
    temporary: string,
    { maxBytes, exactly, ownChunks }: WriteOptions,
  ): Promise<{ length: number; sha256: string; chunks: readonly Buffer[] | undefined }> {
    const hash = createHash("sha256");
    let length = 0;
    let batch: Buffer[] = [];
    let gathered = 0;
    const file: { handle?: FileHandle; writing?: Promise<void> } = {};
    const flush = async (): Promise<void> => {
      const [chunks, bytes] = [batch, gathered];
      [batch, gathered] = [[], 0];
      try {
        file.handle ??= await inFolder(temporary, () => open(temporary, "wx"));
        await writeAll(file.handle, chunks, bytes);
      } finally {
        this.gathered -= bytes;
        if (ownChunks === true) releaseBuffers(chunks);
      }
    };
    try {
      await consume(content, (chunk) => {
        length += chunk.length;
        if (length > maxBytes) throw new MediaTooLarge();
        hash.update(chunk);
        batch.push(chunk);
        gathered += chunk.length;
        this.gathered += chunk.length;
        return gathered >= BATCH_BYTES || this.gathered >= GATHERED_BYTES ? (file.writing = flush()) : undefined;
      });
      // What came last may have ended the stream while it is being written.
      await file.writing;
      if (exactly !== undefined && length !== exactly) throw new MediaIncomplete(`got ${length} bytes of ${exactly}`);
      const sha256 = hash.digest("hex");
      if (file.handle === undefined) return { length, sha256, chunks: batch };
      await flush();
      await file.handle.close();
      return { length, sha256, chunks: undefined };
    } catch (error) {
      this.gathered -= gathered;
      // The sender may be gone while the file is being opened.
      await file.writing?.catch(() => {});
      if (file.handle !== undefined) {
        await file.handle.close().catch(() => {});
        await rm(temporary, { force: true });
      }
      throw error;
    }
  }

  private temporary(relative: string): string {
    return `${path.join(this.root, relative)}.${this.random.letters(8)}`;
  }

  /** Puts what `write` writes to `target` under its name. */
  private async place(file: MediaFile, relative: string, target: string, write: (to: string) => Promise<unknown>): Promise<void> {
    const local = path.join(this.root, relative);
    try {
      await write(target);
      await this.judge(file, target);
      if (target !== local) await rename(target, local);
      this.hot.forget(relative);
    } catch (error) {
      // What was there before is another's.
      if (codeOf(error) !== "EEXIST") await rm(target, { force: true });
      throw error;
    }
    try {
      await this.copyToProviders(file, relative, local);
    } catch (error) {
      await rm(local, { force: true });
      throw error;
    }
  }

  private async copyToProviders(file: MediaFile, relative: string, local: string): Promise<void> {
    const wanted = this.providersOf(file).filter((provider) => (file.origin === undefined ? provider.storeLocal : provider.storeRemote));
    const awaited: Promise<void>[] = [];
    for (const provider of wanted) {
      const copy = provider.store(relative, local);
      if (provider.synchronous || !this.keepLocal) awaited.push(copy);
      else copy.catch((error: unknown) => this.log.error(`Storage provider ${provider.name} could not store ${relative}`, { error }));
    }
    await Promise.all(awaited);
    if (!this.keepLocal && wanted.length > 0) await rm(local, { force: true });
  }

  private async removeEmptyParents(folder: string): Promise<void> {
    for (let at = folder; at.startsWith(this.root) && at !== this.root; at = path.dirname(at)) {
      try {
        await rmdir(at);
      } catch {
        return; // not empty, or gone
      }
    }
  }
}

/** Hands each chunk of a stream on, and waits where that takes time. @throws MediaIncomplete when it breaks off, and what `take` throws */
function consume(content: Readable, take: (chunk: Buffer) => Promise<void> | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      reject(error as Error);
      content.destroy();
    };
    finished(content, { writable: false }, (error) => {
      if (error) reject(new MediaIncomplete("the content broke off", { cause: error }));
      else resolve();
    });
    // Not by `for await`: that costs several promises a chunk.
    content.on("data", (chunk: Buffer) => {
      try {
        const taken = take(chunk);
        if (taken === undefined) return;
        content.pause();
        taken.then(() => content.resume(), fail);
      } catch (error) {
        fail(error);
      }
    });
  });
}

/** Several files come into one folder: only the first has to make it. */
async function inFolder<T>(file: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    await mkdir(path.dirname(file), { recursive: true });
    return await write();
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code;

async function writeAll(handle: FileHandle, batch: readonly Buffer[], bytes: number): Promise<void> {
  if (bytes === 0) return;
  const { bytesWritten } = await handle.writev(batch);
  // A disk that fills up takes a part; the rest says why.
  if (bytesWritten < bytes) await handle.writeFile(Buffer.concat(batch).subarray(bytesWritten));
}
