import type sharpModule from "sharp";
import type { Metadata, OutputInfo, Sharp } from "sharp";
import { lazyModule } from "../../lib/lazy-module.ts";
import { plainPng } from "./plain-png.ts";

/** Images that are decoded, by declared type; what the bytes are must agree. Everything else (SVG, PDF, video, PSD...) never reaches a decoder. */
const DECODED: ReadonlyMap<string, readonly string[]> = new Map([
  ["image/jpeg", ["jpeg"]],
  ["image/jpg", ["jpeg"]],
  ["image/png", ["png"]],
  ["image/gif", ["gif"]],
  ["image/webp", ["webp"]],
  ["image/avif", ["heif"]],
]);

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

export interface OpenImage extends ImageSize {
  readonly animated: boolean;
  /** Something shows through; told only where the type of thumbnails depends on it. */
  readonly transparent: boolean;
  /** A PNG that lies as it is to be seen. */
  readonly isUprightPng: boolean;
}

/** A thumbnail to make; `size` is what comes out. */
export interface WantedImage {
  readonly size: ImageSize;
  readonly method: "crop" | "scale";
  readonly type: string;
}

/** An image that was decoded, in pixels. */
interface Pixels {
  readonly data: Buffer;
  readonly info: OutputInfo;
}

const loadSharp = lazyModule<typeof sharpModule>("sharp");

/** Thrown for what is no image, not of its declared type, or too large to be decoded. */
export class NotAnImage extends Error {}

/** True when thumbnails are made of media of this type. */
export const hasThumbnails = (mediaType: string): boolean => DECODED.has(baseType(mediaType));

/** The media type without parameters, in lower case. */
export const baseType = (mediaType: string): string => mediaType.split(";", 1)[0]!.trim().toLowerCase();

/** The type of thumbnails of media of this type: JPEG, or PNG where transparency must be kept. */
export function thumbnailType(mediaType: string, image: OpenImage): "image/jpeg" | "image/png" {
  const base = baseType(mediaType);
  if (base === "image/png" || base === "image/gif") return "image/png";
  return (base === "image/webp" || base === "image/avif") && image.transparent ? "image/png" : "image/jpeg";
}

/**
 * Makes thumbnails with libvips. The decoders of other formats are blocked for the whole process; at most `maxPixels` are decoded.
 */
export class Thumbnailer {
  private ready = false;

  constructor(private readonly maxPixels: number) {}

  private get sharp(): typeof sharpModule {
    const sharp = loadSharp();
    if (this.ready) return sharp;
    this.ready = true;
    sharp.cache(false);
    sharp.concurrency(1);
    sharp.block({ operation: ["VipsForeignLoad"] });
    sharp.unblock({
      operation: ["Jpeg", "Png", "Webp", "Nsgif", "Heif"].flatMap((format) => [`VipsForeignLoad${format}File`, `VipsForeignLoad${format}Buffer`]),
    });
    return sharp;
  }

  /** Size (turned upright by EXIF) and nature of an image, from its file or its bytes. @throws NotAnImage */
  async open(file: string | Buffer, mediaType: string): Promise<OpenImage> {
    const formats = DECODED.get(baseType(mediaType));
    if (formats === undefined) throw new NotAnImage(`no thumbnails are made of ${mediaType}`);
    let metadata: Metadata;
    try {
      metadata = await this.sharp(file, { limitInputPixels: this.maxPixels, failOn: "error" }).metadata();
    } catch (error) {
      throw new NotAnImage("not a readable image", { cause: error });
    }
    if (metadata.format === undefined || !formats.includes(metadata.format)) throw new NotAnImage(`declared as ${mediaType}, is ${String(metadata.format)}`);
    const { width, height, orientation = 1, pages = 1 } = metadata;
    if (width < 1 || height < 1 || width * height > this.maxPixels) throw new NotAnImage(`${width}x${height} pixels are too many`);
    const upright = orientation < 5 ? { width, height } : { width: height, height: width };
    // Only these have thumbnails of another type where they are transparent, and only a look at all pixels tells.
    const mayShow = metadata.hasAlpha === true && (metadata.format === "webp" || metadata.format === "heif");
    const transparent = mayShow && !(await this.sharp(file, { limitInputPixels: this.maxPixels }).stats()).isOpaque;
    return { ...upright, animated: pages > 1, transparent, isUprightPng: metadata.format === "png" && orientation === 1 };
  }

  /** One thumbnail as bytes. Animated images keep their frames when `type` is WebP. @throws NotAnImage */
  async make(file: string | Buffer, wanted: WantedImage): Promise<Buffer> {
    return await this.readable(() => encode(resize(this.read(file, wanted.type === ANIMATED).autoOrient(), wanted), wanted.type));
  }

  /**
   * Several thumbnails of one image, each as bytes; as `make` would make them, but the image is decoded once, to the smallest size from which
   * all can be made, and a PNG stands for itself in its own size. @throws NotAnImage
   */
  async *makeAll(file: string | Buffer, image: OpenImage, wanted: readonly WantedImage[]): AsyncGenerator<Buffer> {
    const still = wanted.filter(({ type }) => type !== ANIMATED);
    const pixels = still.length > 1 ? await this.decode(file, image, still) : undefined;
    for (const one of wanted) {
      if (pixels === undefined || one.type === ANIMATED) yield await this.make(file, one);
      else
        yield (
          (await asItIs(file, image, one)) ?? (await this.readable(() => encode(resize(this.sharp(pixels.data, { raw: rawOf(pixels.info) }), one), one.type)))
        );
    }
  }

  private async decode(file: string | Buffer, image: ImageSize, wanted: readonly WantedImage[]): Promise<Pixels> {
    const part = Math.min(1, Math.max(...wanted.map(({ size }) => Math.max(size.width / image.width, size.height / image.height))));
    const size = { width: Math.max(1, Math.ceil(image.width * part)), height: Math.max(1, Math.ceil(image.height * part)) };
    const upright = this.read(file, false).autoOrient();
    return await this.readable(() => resize(upright, { size, method: "scale" }).raw().toBuffer({ resolveWithObject: true }));
  }

  private read(file: string | Buffer, animated: boolean): Sharp {
    return this.sharp(file, { limitInputPixels: this.maxPixels, failOn: "error", animated });
  }

  private async readable<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new NotAnImage("the image could not be read", { cause: error });
    }
  }
}

async function asItIs(file: string | Buffer, image: OpenImage, { size, type }: WantedImage): Promise<Buffer | undefined> {
  const isSame = image.isUprightPng && type === "image/png" && size.width === image.width && size.height === image.height;
  return isSame ? await plainPng(file, image) : undefined;
}

/** The type of thumbnails that keep the frames of animated images. */
const ANIMATED = "image/webp";

const rawOf = ({ width, height, channels }: OutputInfo): { width: number; height: number; channels: OutputInfo["channels"] } => ({ width, height, channels });

const resize = (image: Sharp, { size, method }: Pick<WantedImage, "size" | "method">): Sharp =>
  image.resize(size.width, size.height, { fit: method === "crop" ? "cover" : "fill", position: "centre" });

function encode(image: Sharp, type: string): Promise<Buffer> {
  // Codes of their own for each picture make files a thirtieth smaller, for up to twice the work.
  if (type === "image/jpeg") return image.flatten({ background: "#ffffff" }).jpeg({ quality: 80, optimiseCoding: false }).toBuffer();
  if (type === ANIMATED) return image.webp({ quality: 80 }).toBuffer();
  // A higher level makes files a twentieth smaller, for twice the work.
  return image.png({ compressionLevel: 4 }).toBuffer();
}

/** The largest size of the image's shape that fits, at least one pixel. */
export function fitInto(image: ImageSize, box: ImageSize): ImageSize {
  if (box.width * image.height < box.height * image.width)
    return { width: box.width, height: Math.max(Math.floor((box.width * image.height) / image.width), 1) };
  return { width: Math.max(Math.floor((box.height * image.width) / image.height), 1), height: box.height };
}

/** What a thumbnail of that method comes out as: never larger than the image when scaled. */
export function outputSize(image: ImageSize, wanted: ImageSize, method: "crop" | "scale"): ImageSize {
  if (method === "crop") return wanted;
  const fitted = fitInto(image, wanted);
  return { width: Math.min(image.width, fitted.width), height: Math.min(image.height, fitted.height) };
}
