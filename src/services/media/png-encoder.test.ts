import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { deflateSync, inflateSync } from "node:zlib";
import { describe, it } from "mocha";
import sharp from "sharp";
import { encodePng, type Pixels } from "./png-encoder.ts";

type Channels = Pixels["channels"];

/** A byte for each place, from a number that is different for each. */
function image(width: number, height: number, channels: Channels, value: (x: number, y: number, channel: number) => number): Pixels {
  const data = Buffer.alloc(width * height * channels);
  for (let i = 0; i < data.length; i++) data[i] = value(Math.floor(i / channels) % width, Math.floor(i / channels / width), i % channels);
  return { data, width, height, channels };
}

const NOISE = createHash("shake256", { outputLength: 320 * 240 * 4 })
  .update("noise")
  .digest();
const scattered = (x: number, y: number, channel: number): number => NOISE[(y * 320 + x) * 4 + channel]!;

/** The bytes of the pixels (PNG, third edition, 9.2), where there is one IDAT chunk behind the header. */
function decoded(png: Buffer, { width, height, channels }: Pixels): Buffer {
  const rows = inflateSync(png.subarray(41, 41 + png.readUInt32BE(33)));
  const bytes = width * channels;
  const out = Buffer.alloc(height * bytes);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < bytes; x++) {
      const left = x < channels ? 0 : out[y * bytes + x - channels]!;
      const above = y === 0 ? 0 : out[(y - 1) * bytes + x]!;
      const corner = x < channels || y === 0 ? 0 : out[(y - 1) * bytes + x - channels]!;
      const [nearest] = [left, above, corner].sort((a, b) => Math.abs(left + above - corner - a) - Math.abs(left + above - corner - b));
      out[y * bytes + x] = rows[y * (bytes + 1) + 1 + x]! + [0, left, above, (left + above) >> 1, nearest!][rows[y * (bytes + 1)]!]!;
    }
  return out;
}

const PICTURES: [string, (x: number, y: number, channel: number) => number][] = [
  ["noise", scattered],
  ["smooth colours", (x, y, channel) => x * (channel + 1) + y * 3],
  ["a drawing", (x, y) => (x % 40 < 2 || y % 30 < 2 ? 0 : 255)],
  ["a photo", (x, y, channel) => 128 + 60 * Math.sin(x / 30 + channel) + 50 * Math.cos(y / 20) + scattered(x, y, channel) / 24],
];
const SIZES = [
  [1, 1],
  [1, 40],
  [40, 1],
  [2, 2],
  [33, 17],
  [200, 150],
] as const;

describe("PNG files", () => {
  for (const [name, value] of PICTURES)
    it(`come out as the pixels that went in: ${name}`, async () => {
      for (const [width, height] of SIZES)
        for (const channels of [1, 2, 3, 4] as const) {
          const pixels = image(width, height, channels, value);
          const bytes = await encodePng(pixels);
          const metadata = await sharp(bytes).metadata();
          assert.deepEqual([metadata.format, metadata.channels, metadata.width, metadata.height], ["png", channels, width, height]);
          await sharp(bytes, { failOn: "warning" }).raw().toBuffer();
          assert.ok(decoded(bytes, pixels).equals(pixels.data), `${width}x${height}, ${channels} channels`);
        }
    });

  for (const [name, value] of PICTURES)
    it(`are hardly longer than with usual settings: ${name}`, async () => {
      const pixels = image(320, 240, 3, value);
      const { width, height, channels } = pixels;
      const usual = await sharp(pixels.data, { raw: { width, height, channels } }).png({ compressionLevel: 6, adaptiveFiltering: true }).toBuffer();
      const bytes = await encodePng(pixels);
      assert.ok(bytes.length < usual.length * 1.15 + 2_000, `${bytes.length} bytes, usually ${usual.length}`);
    });

  it("of noise are no longer than what deflate makes of it", async () => {
    const pixels = image(300, 200, 4, scattered);
    assert.ok((await encodePng(pixels)).length <= deflateSync(pixels.data).length + 2_000);
  });
});
