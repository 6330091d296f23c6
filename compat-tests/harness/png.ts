import { createHash } from "node:crypto";
import { crc32, deflateSync } from "node:zlib";

/** A PNG of the size with a gradient; the same bytes each time for the same arguments. */
export function png(width: number, height: number, shade: number): Buffer {
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * (1 + width * 3) + 1 + x * 3;
      rows[at] = (x * 255) / width;
      rows[at + 1] = (y * 255) / height;
      rows[at + 2] = shade;
    }
  }
  return encoded(width, height, rows);
}

/** A PNG of the size that nothing compresses: three bytes a pixel. The same bytes each time for the same seed. */
export function noise(width: number, height: number, seed: string): Buffer {
  const row = 1 + width * 3;
  const rows = createHash("shake256", { outputLength: height * row })
    .update(seed)
    .digest();
  for (let y = 0; y < height; y++) rows[y * row] = 0; // no filter
  return encoded(width, height, rows);
}

function encoded(width: number, height: number, rows: Buffer): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
