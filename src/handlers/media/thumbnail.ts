import { missingParam, notFound } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import { findLocalMedia, findRemoteMedia, type MediaAccess } from "../../services/media/media.ts";
import { BadMediaPath } from "../../services/media/paths.ts";
import { findThumbnail, type ThumbnailSource } from "../../services/media/thumbnails.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";
import type { RawReply } from "../http/reply.ts";
import { checkServerName, timeoutOf } from "./download.ts";
import { mediaReply, notModified } from "./respond.ts";

interface Request {
  readonly serverName: string;
  readonly mediaId: string;
  /** As requested, without the query. */
  readonly path: string;
  readonly query: Query;
  readonly access: MediaAccess;
  readonly ip: string;
  readonly userId: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

async function thumbnail(ctx: Context, { serverName, mediaId, path, query, access, ip, userId, ifNoneMatch }: Request): Promise<RawReply> {
  checkServerName(serverName);
  const wanted = {
    width: required(query, "width"),
    height: required(query, "height"),
    method: query.string("method", "scale"),
    type: query.boolean("animated", false) ? "image/webp" : "image/png",
    path,
    signal: access.signal,
  };
  const isLocal = serverName === ctx.config.server.serverName;
  const media = isLocal ? await findLocalMedia(ctx, mediaId, access) : await findRemoteMedia(ctx, serverName, mediaId, access, { ip, userId });
  const unchanged = notModified(ifNoneMatch);
  if (unchanged !== undefined) return unchanged;
  const mediaType = media.media_type ?? "application/octet-stream";
  const source: ThumbnailSource =
    "filesystem_id" in media
      ? { origin: serverName, mediaId, fileId: media.filesystem_id, mediaType }
      : { origin: undefined, mediaId, fileId: mediaId, mediaType, ...(media.url_cache === null ? {} : { urlCache: true }) };
  try {
    const found = await findThumbnail(ctx, source, wanted);
    return mediaReply({ mediaType: found.type, length: found.length, uploadName: undefined, content: found.content });
  } catch (error) {
    if (error instanceof BadMediaPath) throw notFound();
    throw error;
  }
}

const pathOf = (url: string): string => url.split("?", 1)[0]!;

function required(query: Query, name: string): number {
  const value = query.integer(name);
  if (value === undefined) throw missingParam(`Missing required integer query parameter ${name}`);
  return value;
}

export const legacyThumbnail = endpoint({
  servlet: "ThumbnailResource",
  method: "GET",
  path: "/_matrix/media/(r0|v3|v1)/thumbnail/:serverName/:mediaId",
  auth: "none",
  when: (config) => config.media.canLoadMediaRepo,
  handle: (ctx, { params, query, ip, signal, headers, url }) =>
    thumbnail(ctx, {
      ...params,
      path: pathOf(url),
      query,
      ip,
      userId: undefined,
      ifNoneMatch: headers["if-none-match"],
      access: { timeoutMs: timeoutOf(query), authenticated: false, signal },
    }),
});

export const authenticatedThumbnail = endpoint({
  servlet: "ThumbnailResource",
  method: "GET",
  path: "/_matrix/client/v1/media/thumbnail/:serverName/:mediaId",
  auth: "guest",
  when: (config) => config.media.canLoadMediaRepo,
  handle: (ctx, { params, query, ip, signal, headers, requester, url }) =>
    thumbnail(ctx, {
      ...params,
      path: pathOf(url),
      query,
      ip,
      userId: requester.userId,
      ifNoneMatch: headers["if-none-match"],
      access: { timeoutMs: timeoutOf(query), authenticated: true, signal },
    }),
});

export const thumbnailRoutes = [legacyThumbnail, authenticatedThumbnail];
