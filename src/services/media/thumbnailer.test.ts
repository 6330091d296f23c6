import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "mocha";
import sharp, { type Sharp } from "sharp";
import { NotAnImage, outputSize, Thumbnailer, type WantedImage } from "./thumbnailer.ts";

const SIZES = [
  { width: 32, height: 32, method: "crop" },
  { width: 96, height: 96, method: "crop" },
  { width: 320, height: 240, method: "scale" },
  { width: 800, height: 600, method: "scale" },
] as const;

describe("thumbnails made of one decoded image", () => {
  let folder: string;
  const thumbnailer = new Thumbnailer(32_000_000);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "thumbnailer-"));
  });
  after(() => rm(folder, { recursive: true }));

  /** Smooth colours, with one corner that tells which way is up. */
  function picture(width: number, height: number, channels: 1 | 2 | 3 | 4): Sharp {
    const data = Buffer.alloc(width * height * channels);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const values = [(x * 255) / width, (y * 255) / height, x < width / 4 && y < height / 4 ? 255 : 40];
        const pixel = channels < 3 ? [values[0]!, (y * 255) / height] : [...values, (x * 255) / width];
        for (let c = 0; c < channels; c++) data[(y * width + x) * channels + c] = pixel[c]!;
      }
    }
    return sharp(data, { raw: { width, height, channels } });
  }

  const images: [string, string, () => Sharp][] = [
    ["a photo", "image/jpeg", () => picture(1600, 1200, 3).jpeg()],
    ["a photo that was taken sideways", "image/jpeg", () => picture(1600, 1200, 3).jpeg().withMetadata({ orientation: 6 })],
    ["a photo for print", "image/jpeg", () => picture(1200, 900, 3).toColourspace("cmyk").jpeg()],
    ["a photo without colour", "image/jpeg", () => picture(900, 700, 3).toColourspace("b-w").jpeg()],
    ["a picture that is transparent in parts", "image/png", () => picture(640, 480, 4).png()],
    ["a grey picture that is transparent in parts", "image/png", () => picture(640, 480, 2).toColourspace("b-w").png()],
    ["a grey picture", "image/png", () => picture(640, 480, 1).toColourspace("b-w").png()],
    ["a picture of 16 bits a channel", "image/png", () => picture(640, 480, 3).toColourspace("rgb16").png()],
    ["a grey picture of 16 bits", "image/png", () => picture(640, 480, 1).toColourspace("grey16").png()],
    ["a picture with a palette", "image/png", () => picture(640, 480, 3).png({ palette: true, colours: 64 })],
    ["a very wide picture", "image/png", () => picture(3000, 90, 3).png()],
    ["a tiny picture", "image/png", () => picture(20, 10, 3).png()],
    ["a transparent WebP", "image/webp", () => picture(640, 480, 4).webp()],
  ];

  for (const [name, mediaType, make] of images) {
    it(`look like those made one by one: ${name}`, async () => {
      const file = join(folder, name.replaceAll(" ", "-"));
      await writeFile(file, await make().toBuffer());
      const image = await thumbnailer.open(file, mediaType);
      const type = mediaType === "image/jpeg" ? mediaType : "image/png";
      const wanted: WantedImage[] = SIZES.map((size) => ({ size: outputSize(image, size, size.method), method: size.method, type }));
      let index = 0;
      for await (const bytes of thumbnailer.makeAll(file, image, wanted)) {
        const one = wanted[index++]!;
        const [all, alone] = await Promise.all([bytes, await thumbnailer.make(file, one)].map((each) => sharp(each).metadata()));
        assert.deepEqual([all!.width, all!.height, all!.format, all!.hasAlpha], [one.size.width, one.size.height, alone!.format, alone!.hasAlpha]);
        const [a, b] = await Promise.all(
          [bytes, await thumbnailer.make(file, one)].map((each) => sharp(each).toColourspace("srgb").ensureAlpha().raw().toBuffer()),
        );
        let off = 0;
        for (let i = 0; i < a!.length; i++) off += Math.abs(a![i]! - b![i]!);
        assert.ok(off / a!.length < 4, `${one.size.width}x${one.size.height}: ${off / a!.length} of 255 off`);
      }
      assert.equal(index, wanted.length);
    });
  }

  it("are refused when the image breaks off", async () => {
    const file = join(folder, "broken");
    const whole = await picture(640, 480, 3).png().toBuffer();
    await writeFile(file, whole.subarray(0, whole.length / 2));
    const image = await thumbnailer.open(file, "image/png");
    const wanted = SIZES.map((size) => ({ size: outputSize(image, size, size.method), method: size.method, type: "image/png" }));
    await assert.rejects(async () => {
      for await (const bytes of thumbnailer.makeAll(file, image, wanted)) assert.ok(bytes);
    }, NotAnImage);
  });
});
