import type sharpModule from "sharp";
import type { Metadata } from "sharp";
import { lazyModule } from "../../lib/lazy-module.ts";

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
  readonly transparent: boolean;
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

  /** Size (turned upright by EXIF) and nature of an image file. @throws NotAnImage */
  async open(file: string, mediaType: string): Promise<OpenImage> {
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
    const transparent = metadata.hasAlpha === true && !(await this.sharp(file, { limitInputPixels: this.maxPixels }).stats()).isOpaque;
    return { ...upright, animated: pages > 1, transparent };
  }

  /** One thumbnail as bytes; `size` is what comes out. Animated images keep their frames when `type` is WebP. @throws NotAnImage */
  async make(file: string, size: ImageSize, method: "crop" | "scale", type: string): Promise<Buffer> {
    const animated = type === "image/webp";
    try {
      const image = this.sharp(file, { limitInputPixels: this.maxPixels, failOn: "error", animated })
        .autoOrient()
        .resize(size.width, size.height, { fit: method === "crop" ? "cover" : "fill", position: "centre" });
      if (type === "image/jpeg") return await image.flatten({ background: "#ffffff" }).jpeg({ quality: 80 }).toBuffer();
      if (type === "image/webp") return await image.webp({ quality: 80 }).toBuffer();
      return await image.png().toBuffer();
    } catch (error) {
      throw new NotAnImage("the image could not be read", { cause: error });
    }
  }
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
