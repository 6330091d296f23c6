import { open } from "node:fs/promises";
import type { ImageSize } from "./thumbnailer.ts";

const SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");
/** For what a file has beside its pixels. */
const FRAME_BYTES = 64 * 1024;

/**
 * The PNG file, where it can stand for a thumbnail of its own size: it is not animated, and no longer than its pixels without compression.
 * undefined otherwise. That it can be decoded is not looked at.
 */
export async function plainPng(file: string | Buffer, { width, height }: ImageSize): Promise<Buffer | undefined> {
  const bytes = typeof file === "string" ? await readUpTo(file, width * height * 4 + FRAME_BYTES) : file;
  return bytes !== undefined && bytes.length <= width * height * 4 + FRAME_BYTES && isStill(bytes) ? bytes : undefined;
}

async function readUpTo(file: string, most: number): Promise<Buffer | undefined> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    return size > most ? undefined : await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** An animation says so before the first pixels (PNG, third edition, 11.3.6.1). */
function isStill(bytes: Buffer): boolean {
  if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return false;
  for (let at = SIGNATURE.length; at + 8 <= bytes.length; at += bytes.readUInt32BE(at) + 12) {
    const type = bytes.toString("latin1", at + 4, at + 8);
    if (type === "acTL") return false;
    if (type === "IDAT") return true;
  }
  return false;
}
