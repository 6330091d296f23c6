import * as zlib from "node:zlib";

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 as in zlib; `before`: that of what goes before. For Node before 20.15. */
export function crc32ByTable(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** CRC-32 as in zlib; `before`: that of what goes before. */
export const crc32: (bytes: Uint8Array, before?: number) => number = (zlib as Partial<Pick<typeof zlib, "crc32">>).crc32 ?? crc32ByTable;
