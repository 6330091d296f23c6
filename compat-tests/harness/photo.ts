import sharp from "sharp";

/** Blurs of this many random dots across, and how much of the picture each is: what is large in a picture is strong, what is small is weak. */
const LAYERS = [
  { dots: 6, share: 0.5 },
  { dots: 40, share: 0.25 },
  { dots: 260, share: 0.15 },
  { dots: 1_300, share: 0.1 },
] as const;

/** Something like a photo, in pixels: soft areas, edges and grain. Compressed it is about as long as a photo of its size. */
export class Photo {
  private constructor(
    private readonly pixels: Buffer,
    private readonly width: number,
    private readonly height: number,
  ) {}

  static async make(width: number, height: number): Promise<Photo> {
    const sum = new Float32Array(width * height * 3);
    for (const [layer, { dots, share }] of LAYERS.entries()) {
      const rows = Math.max(2, Math.round((dots * height) / width));
      const blurred = await sharp(dotsOf(dots * rows * 3, layer + 1), { raw: { width: dots, height: rows, channels: 3 } })
        .resize(width, height, { fit: "fill", kernel: "cubic" })
        .raw()
        .toBuffer();
      for (let at = 0; at < sum.length; at++) sum[at]! += blurred[at]! * share;
    }
    return new Photo(Buffer.from(Uint8ClampedArray.from(sum, (value) => (value - 128) * 1.6 + 128)), width, height);
  }

  /** A part of it as JPEG; each `index` gives another. */
  async jpeg(width: number, height: number, quality: number, index = 0): Promise<Buffer> {
    const [left, top] = [index % (this.width - width + 1), Math.floor(index / (this.width - width + 1)) % (this.height - height + 1)];
    return await sharp(this.pixels, { raw: { width: this.width, height: this.height, channels: 3 } })
      .extract({ left, top, width, height })
      .jpeg({ quality })
      .toBuffer();
  }
}

/** The same each time. */
function dotsOf(count: number, seed: number): Buffer {
  const dots = Buffer.alloc(count);
  for (let at = 0, state = seed * 2_654_435_761; at < count; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    dots[at] = state >>> 24;
  }
  return dots;
}
