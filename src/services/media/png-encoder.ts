import { promisify } from "node:util";
import { constants, deflate } from "node:zlib";
import { crc32 } from "../../lib/crc32.ts";

/** An image in memory: rows from top to bottom, a byte for each channel. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 2 | 3 | 4;
}

const SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");
/** Colour types by channels: grey, grey with alpha, colour, colour with alpha (PNG, third edition, 11.2.1). */
const COLOUR_TYPES = [0, 0, 4, 2, 6] as const;
/** One row of so many is looked at before the way is chosen. */
const SAMPLED = 8;

/** Images of so few bytes take no time whatever is done with them. */
const SMALL_BYTES = 32 * 1024;

const deflateAsync = promisify(deflate);

interface Way {
  filter(row: number, pixels: Pixels, out: Uint8Array, at: number): void;
  readonly filterType: number;
  readonly level: number;
  readonly strategy: number;
}

/** Text, drawings: what is repeated is found by deflate, and filters would hide it. */
const AS_IT_IS: Way = { filter: copyRow, filterType: 0, level: 4, strategy: constants.Z_DEFAULT_STRATEGY };
/** Smooth colours: what is left of them is nearly nothing. */
const SMOOTH: Way = { filter: paethRow, filterType: 4, level: 4, strategy: constants.Z_FILTERED };
/** Photos: nothing is ever repeated in them, and looking for it is what takes the time. */
const PHOTO: Way = { filter: averageRow, filterType: 3, level: 1, strategy: constants.Z_RLE };

/**
 * The image as a PNG file of 8 bits a channel. Files are about as long as those of other programs' usual settings, for a part of the time: one
 * way to filter is chosen for the whole image, and photos are only coded. Filtering takes the thread of the caller, some ns a byte.
 */
export async function encodePng(pixels: Pixels): Promise<Buffer> {
  const { width, height, channels } = pixels;
  const way = chooseWay(pixels);
  const rowBytes = width * channels;
  const filtered = Buffer.allocUnsafeSlow(height * (rowBytes + 1));
  for (let row = 0; row < height; row++) {
    const at = row * (rowBytes + 1);
    filtered[at] = way.filterType;
    way.filter(row, pixels, filtered, at + 1);
  }
  const { level, strategy } = way;
  // All in one piece: each costs a turn of the thread pool.
  const chunkSize = filtered.length + (filtered.length >> 8) + 1024;
  const data = await deflateAsync(filtered, { level, strategy, chunkSize });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, COLOUR_TYPES[channels], 0, 0, 0], 8);
  return Buffer.concat([SIGNATURE, ...chunk("IHDR", header), ...chunk("IDAT", data), ...chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer[] {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length);
  head.write(type, 4, "latin1");
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(data, crc32(head.subarray(4))));
  return [head, data, sum];
}

/** How the image is best written, by some of its rows. */
function chooseWay({ data, width, height, channels }: Pixels): Way {
  const rowBytes = width * channels;
  const before = new Uint8Array(channels);
  let pixels = 0;
  let plain = 0;
  let repeated = 0;
  for (let row = 1; row < height; row += SAMPLED) {
    for (let at = row * rowBytes + channels; at < (row + 1) * rowBytes; at += channels) {
      let same = true;
      for (let channel = 0; channel < channels; channel++) {
        const i = at + channel;
        const x = data[i]!;
        const left = data[i - channels]!;
        const above = data[i - rowBytes]!;
        if (x !== left || x !== above) same = false;
        const rest = (x - paeth(left, above, data[i - rowBytes - channels]!)) & 0xff;
        if (rest === before[channel]) repeated++;
        before[channel] = rest;
      }
      if (same) plain++;
      pixels++;
    }
  }
  if (plain * 2 > pixels) return AS_IT_IS;
  if (data.length <= SMALL_BYTES) return SMOOTH;
  return repeated * 5 > pixels * channels * 2 ? SMOOTH : PHOTO;
}

function copyRow(row: number, { data, width, channels }: Pixels, out: Uint8Array, at: number): void {
  const rowBytes = width * channels;
  out.set(data.subarray(row * rowBytes, (row + 1) * rowBytes), at);
}

function averageRow(row: number, { data, width, channels }: Pixels, out: Uint8Array, at: number): void {
  const rowBytes = width * channels;
  const begin = row * rowBytes;
  const end = begin + rowBytes;
  let to = at;
  for (let i = begin; i < begin + channels; i++) out[to++] = data[i]! - (row === 0 ? 0 : data[i - rowBytes]! >> 1);
  if (row === 0) for (let i = begin + channels; i < end; i++) out[to++] = data[i]! - (data[i - channels]! >> 1);
  else for (let i = begin + channels; i < end; i++) out[to++] = data[i]! - ((data[i - channels]! + data[i - rowBytes]!) >> 1);
}

function paethRow(row: number, { data, width, channels }: Pixels, out: Uint8Array, at: number): void {
  const rowBytes = width * channels;
  const begin = row * rowBytes;
  const end = begin + rowBytes;
  let to = at;
  for (let i = begin; i < begin + channels; i++) out[to++] = data[i]! - (row === 0 ? 0 : data[i - rowBytes]!);
  if (row === 0) for (let i = begin + channels; i < end; i++) out[to++] = data[i]! - data[i - channels]!;
  else for (let i = begin + channels; i < end; i++) out[to++] = data[i]! - paeth(data[i - channels]!, data[i - rowBytes]!, data[i - rowBytes - channels]!);
}

/** Which of its neighbours (left, above, above left) a byte should be like (PNG, third edition, 9.4). */
function paeth(left: number, above: number, corner: number): number {
  const byLeft = Math.abs(above - corner);
  const byAbove = Math.abs(left - corner);
  const byCorner = Math.abs(left + above - 2 * corner);
  if (byLeft <= byAbove && byLeft <= byCorner) return left;
  return byAbove <= byCorner ? above : corner;
}
