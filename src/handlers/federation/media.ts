import { Readable } from "node:stream";
import { missingParam, notFound } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import { findLocalMedia } from "../../services/media/media.ts";
import { BadMediaPath } from "../../services/media/paths.ts";
import { findThumbnail } from "../../services/media/thumbnails.ts";
import { RawReply } from "../http/reply.ts";
import { readFile, timeoutOf } from "../media/download.ts";
import { mediaReply } from "../media/respond.ts";
import { federationEndpoint } from "./endpoint.ts";

const V1 = "/_matrix/federation/v1/media";

export const downloadMedia = federationEndpoint({
  servlet: "FederationMediaDownloadServlet",
  method: "GET",
  path: `${V1}/download/:mediaId`,
  when: (config) => config.media.canLoadMediaRepo,
  async handle(ctx, { params, query, signal }) {
    const media = await findLocalMedia(ctx, params.mediaId, { timeoutMs: timeoutOf(query), authenticated: true, signal });
    const file = { origin: undefined, fileId: params.mediaId, ...(media.url_cache === null ? {} : { urlCache: true }) };
    const content = await readFile(ctx, file, signal);
    return multipart(ctx, { mediaType: media.media_type ?? "application/octet-stream", uploadName: media.upload_name ?? undefined, content });
  },
});

export const thumbnailMedia = federationEndpoint({
  servlet: "FederationMediaThumbnailServlet",
  method: "GET",
  path: `${V1}/thumbnail/:mediaId`,
  when: (config) => config.media.canLoadMediaRepo,
  async handle(ctx, { params, query, url, signal }) {
    const size = (name: string): number => {
      const value = query.integer(name);
      if (value === undefined) throw missingParam(`Missing required integer query parameter ${name}`);
      return value;
    };
    const wanted = {
      width: size("width"),
      height: size("height"),
      method: query.string("method", "scale"),
      type: query.boolean("animated", false) ? "image/webp" : "image/png",
      path: url.split("?", 1)[0]!,
      signal,
    };
    const media = await findLocalMedia(ctx, params.mediaId, { timeoutMs: timeoutOf(query), authenticated: true, signal });
    const source = {
      origin: undefined,
      mediaId: params.mediaId,
      fileId: params.mediaId,
      mediaType: media.media_type ?? "application/octet-stream",
      ...(media.url_cache === null ? {} : { urlCache: true }),
    };
    try {
      const found = await findThumbnail(ctx, source, wanted);
      return multipart(ctx, { mediaType: found.type, uploadName: undefined, content: found.content });
    } catch (error) {
      if (error instanceof BadMediaPath) throw notFound();
      throw error;
    }
  },
});

/** A part with metadata, then one with the file, under the headers that it would have by itself (server-server API, "Content Repository"). */
function multipart(ctx: Context, file: { mediaType: string; uploadName: string | undefined; content: Readable | Buffer }): RawReply {
  const boundary = ctx.random.letters(32);
  const { contentType, headers } = mediaReply({ ...file, length: undefined });
  const head = `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n--${boundary}\r\nContent-Type: ${contentType}\r\nContent-Disposition: ${String(headers["Content-Disposition"])}\r\n\r\n`;
  const parts = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.from(head, "utf8");
    if (file.content instanceof Readable) yield* file.content as AsyncIterable<Buffer>;
    else yield file.content;
    yield Buffer.from(`\r\n--${boundary}--\r\n\r\n`, "utf8");
  };
  return new RawReply(200, `multipart/mixed; boundary=${boundary}`, Readable.from(parts(), { objectMode: false }));
}

export const federationMediaRoutes = [downloadMedia, thumbnailMedia];
