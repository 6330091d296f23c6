import type { Readable } from "node:stream";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import { LastStatements } from "../../storage/database.ts";
import { storeLocalThumbnails, storeRemoteThumbnails, type Thumbnail } from "../../storage/media/thumbnails.ts";
import type { Context } from "../context.ts";
import { chooseThumbnail, type WantedThumbnail } from "./choose-thumbnail.ts";
import type { MediaFile } from "./paths.ts";
import { hasThumbnails, type ImageSize, NotAnImage, outputSize, thumbnailType, type WantedImage } from "./thumbnailer.ts";

type Needs = Pick<Context, "config" | "log" | "media" | "read" | "transaction">;

/** The media that thumbnails are made of. */
export interface ThumbnailSource {
  readonly origin: string | undefined;
  readonly mediaId: string;
  readonly fileId: string;
  readonly mediaType: string;
  readonly urlCache?: boolean;
  /** The file itself, where it is at hand. */
  readonly bytes?: Buffer | undefined;
}

/** A thumbnail to answer with. */
export interface FoundThumbnail {
  readonly type: string;
  readonly length: number | undefined;
  readonly content: Readable | Buffer;
}

/** Makes the configured thumbnails of new media; what is no image has none. Never fails. */
export async function makeThumbnails(ctx: Needs, source: ThumbnailSource): Promise<void> {
  await attempted(ctx, source, () => generate(ctx, source, ctx.config.media.thumbnailSizes));
}

/** Has the thumbnails of a picture in a preview made when there is time, once its row is there. Resolves at once unless there is much to do. */
export async function makeThumbnailsLater(ctx: Needs, source: ThumbnailSource): Promise<void> {
  await ctx.media.later.add(source.mediaId, () => makeThumbnails(ctx, source));
}

/** The size of an image of which thumbnails can be made, as it says itself; undefined for everything else. Never fails. */
export async function imageSize(ctx: Needs, source: ThumbnailSource): Promise<ImageSize | undefined> {
  return await attempted(ctx, source, async () => {
    const { width, height } = await ctx.media.thumbnailer.open(await contentOf(ctx, source), source.mediaType);
    return { width, height };
  });
}

/** undefined for what is no image. Never fails. */
async function attempted<T>(ctx: Needs, source: ThumbnailSource, work: () => Promise<T>): Promise<T | undefined> {
  if (!hasThumbnails(source.mediaType)) return undefined;
  try {
    return await ctx.media.inTurn(work);
  } catch (error) {
    if (!(error instanceof NotAnImage)) ctx.log.named("synapse.media.media_repository").warn("Failed to make thumbnails", { error });
    return undefined;
  }
}

/**
 * The thumbnail that fits best; with dynamic thumbnails exactly what is asked for.
 * @throws MatrixError 404 when there is no file, 400 when no thumbnails can be made of the media
 */
export async function findThumbnail(
  ctx: Needs,
  source: ThumbnailSource,
  wanted: WantedThumbnail & { readonly path: string; readonly signal: AbortSignal },
): Promise<FoundThumbnail> {
  let stored = await ctx.media.known.thumbnails(ctx.read, source.origin, source.mediaId);
  if (stored.length === 0 && source.urlCache === true) {
    await ctx.media.later.ready(source.mediaId, () => makeThumbnails(ctx, source)); // a crash may have come in between
    stored = await ctx.media.known.thumbnails(ctx.read, source.origin, source.mediaId);
  }
  const chosen = ctx.config.media.dynamicThumbnails ? await exactThumbnail(ctx, source, stored, wanted) : chooseThumbnail(stored, wanted);
  if (chosen === undefined) {
    const supported = ["image/jpeg", "image/jpg", "image/webp", "image/gif", "image/png"];
    throw new MatrixError(
      400,
      "M_UNKNOWN",
      `Cannot find any thumbnails for the requested media ('${wanted.path}'). This might mean the media is not a supported_media_format=(${supported.join(", ")}) or that thumbnailing failed for some other reason. (Dynamic thumbnails are ${ctx.config.media.dynamicThumbnails ? "enabled" : "disabled"} on this server.)`,
    );
  }
  const file = fileOf(source, chosen);
  const content = await ctx.media.files.read(file, wanted.signal);
  if (content !== undefined) return { type: chosen.type, length: chosen.length, content };
  // The row is there and the file is gone (a restored database, a moved store): made again.
  const bytes = await remake(ctx, source, chosen);
  return { type: chosen.type, length: bytes.length, content: bytes };
}

async function exactThumbnail(ctx: Needs, source: ThumbnailSource, stored: readonly Thumbnail[], wanted: WantedThumbnail): Promise<Thumbnail | undefined> {
  const equal = stored.find(
    (item) => item.width === wanted.width && item.height === wanted.height && item.method === wanted.method && item.type === wanted.type,
  );
  if (equal !== undefined) return equal;
  if (!hasThumbnails(source.mediaType)) return undefined;
  const method = wanted.method === "crop" ? "crop" : "scale";
  try {
    const made = await ctx.media.inTurn(() => generate(ctx, source, [{ width: wanted.width, height: wanted.height, method }], wanted.type));
    return made[0];
  } catch (error) {
    if (error instanceof NotAnImage) return undefined;
    throw error;
  }
}

type Sizes = readonly { width: number; height: number; method: "crop" | "scale" }[];

/** Files first, rows then. */
async function generate(ctx: Needs, source: ThumbnailSource, sizes: Sizes, type?: string): Promise<readonly Thumbnail[]> {
  const thumbnails = await writeThumbnails(ctx, source, sizes, type);
  await ctx.transaction("store_thumbnails", async (txn) => {
    txn.afterCommit(() => ctx.media.known.forget([source]));
    return new LastStatements(
      source.origin === undefined
        ? storeLocalThumbnails(txn, source.mediaId, thumbnails)
        : storeRemoteThumbnails(txn, source.origin, source.mediaId, source.fileId, thumbnails),
    );
  });
  return thumbnails;
}

async function writeThumbnails(ctx: Needs, source: ThumbnailSource, sizes: Sizes, type?: string): Promise<Thumbnail[]> {
  const file = await contentOf(ctx, source);
  const image = await ctx.media.thumbnailer.open(file, source.mediaType);
  const types =
    type !== undefined ? [type] : image.animated ? [thumbnailType(source.mediaType, image), "image/webp"] : [thumbnailType(source.mediaType, image)];
  const wanted = new Map<string, WantedImage>();
  for (const { width, height, method } of sizes) {
    const size = outputSize(image, { width, height }, method);
    for (const kind of types) wanted.set(`${size.width} ${size.height} ${kind} ${method}`, { size, method, type: kind });
  }
  const all = [...wanted.values()];
  const thumbnails: Thumbnail[] = [];
  for await (const bytes of ctx.media.thumbnailer.makeAll(file, image, all)) {
    const { size, type: kind, method } = all[thumbnails.length]!;
    const thumbnail = { ...size, type: kind, method, length: bytes.length };
    await ctx.media.files.writeBytes(fileOf(source, thumbnail), bytes);
    thumbnails.push(thumbnail);
  }
  return thumbnails;
}

/** The bytes, or where they are. @throws MatrixError 404 */
async function contentOf(ctx: Needs, source: ThumbnailSource): Promise<string | Buffer> {
  const content = source.bytes ?? (await ctx.media.files.localFile(fileOf(source)));
  if (content === undefined) throw notFound();
  return content;
}

async function remake(ctx: Needs, source: ThumbnailSource, thumbnail: Thumbnail): Promise<Buffer> {
  const file = await contentOf(ctx, source);
  try {
    await ctx.media.thumbnailer.open(file, source.mediaType);
    const bytes = await ctx.media.inTurn(() =>
      ctx.media.thumbnailer.make(file, { size: thumbnail, method: thumbnail.method === "crop" ? "crop" : "scale", type: thumbnail.type }),
    );
    await ctx.media.files.writeBytes(fileOf(source, thumbnail), bytes);
    return bytes;
  } catch (error) {
    if (error instanceof NotAnImage) throw notFound();
    throw error;
  }
}

function fileOf(source: ThumbnailSource, thumbnail?: Omit<Thumbnail, "length">): MediaFile {
  return { origin: source.origin, fileId: source.fileId, ...(source.urlCache ? { urlCache: true } : {}), ...(thumbnail === undefined ? {} : { thumbnail }) };
}
