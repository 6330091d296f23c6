import { createReadStream } from "node:fs";
import { copyFile, mkdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { Readable } from "node:stream";

/** A second place where media is kept, beside or instead of the local store (`media_storage_providers`). Paths are relative to the store. */
export interface StorageProvider {
  /** For messages. */
  readonly name: string;
  readonly storeLocal: boolean;
  readonly storeRemote: boolean;
  /** An upload waits for the provider. */
  readonly synchronous: boolean;
  /** Copies the file at `localFile` to the provider. */
  store(relativePath: string, localFile: string): Promise<void>;
  /** The file, or undefined when the provider does not have it. */
  fetch(relativePath: string): Promise<Readable | undefined>;
  delete(relativePath: string): Promise<void>;
  close?(): void;
}

/** Synapse's `FileStorageProviderBackend`: another folder. */
export class FileStorageProvider implements StorageProvider {
  readonly name = "file_system";
  constructor(
    private readonly directory: string,
    readonly storeLocal: boolean,
    readonly storeRemote: boolean,
    readonly synchronous: boolean,
  ) {}

  async store(relativePath: string, localFile: string): Promise<void> {
    const target = path.join(this.directory, relativePath);
    await mkdir(path.dirname(target), { recursive: true });
    await copyFile(localFile, target);
  }

  async fetch(relativePath: string): Promise<Readable | undefined> {
    const file = path.join(this.directory, relativePath);
    return (await isFile(file)) ? createReadStream(file) : undefined;
  }

  async delete(relativePath: string): Promise<void> {
    await rm(path.join(this.directory, relativePath), { force: true, recursive: true });
  }
}

/** True for a file that exists. */
export async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** An entry of `media_storage_providers`. */
export interface ProviderSettings {
  readonly module: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly storeLocal: boolean;
  readonly storeRemote: boolean;
  readonly storeSynchronous: boolean;
}
