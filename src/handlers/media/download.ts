import { invalidParam, notFound } from "../../protocol/errors.ts";
import { isServerName } from "../../protocol/ids.ts";
import type { Context } from "../../services/context.ts";
import { findLocalMedia, findRemoteMedia, type MediaAccess } from "../../services/media/media.ts";
import { BadMediaPath, type MediaFile } from "../../services/media/paths.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";
import type { RawReply } from "../http/reply.ts";
import { mediaReply, notModified } from "./respond.ts";

const DEFAULT_TIMEOUT_MS = 20_000;
const LONGEST_TIMEOUT_MS = 60_000;

/** How long a request is willing to wait for an upload. */
export const timeoutOf = (query: Query): number => Math.min(query.integer("timeout_ms", DEFAULT_TIMEOUT_MS), LONGEST_TIMEOUT_MS);

/** @throws MatrixError 400 for what is no server name */
export function checkServerName(serverName: string): void {
  if (!isServerName(serverName) || /^\.|\.\./.test(serverName)) throw invalidParam(`Server name '${serverName}' does not have a valid format`);
}

interface Download {
  readonly serverName: string;
  readonly mediaId: string;
  readonly fileName: string | undefined;
  readonly access: MediaAccess;
  readonly ip: string;
  readonly userId: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

async function download(ctx: Context, request: Download): Promise<RawReply> {
  const { serverName, mediaId, access } = request;
  checkServerName(serverName);
  const isLocal = serverName === ctx.config.server.serverName;
  const media = isLocal
    ? await findLocalMedia(ctx, mediaId, access)
    : await findRemoteMedia(ctx, serverName, mediaId, access, { ip: request.ip, userId: request.userId });
  const unchanged = notModified(request.ifNoneMatch);
  if (unchanged !== undefined) return unchanged;
  const file: MediaFile =
    "filesystem_id" in media
      ? { origin: serverName, fileId: media.filesystem_id }
      : { origin: undefined, fileId: mediaId, ...(media.url_cache === null ? {} : { urlCache: true }) };
  const content = await readFile(ctx, file, access.signal);
  return mediaReply({
    mediaType: media.media_type ?? "application/octet-stream",
    length: media.media_length ?? undefined,
    uploadName: request.fileName ?? media.upload_name ?? undefined,
    content,
  });
}

/** The content of a file of the store, for a request that ends with the signal. @throws MatrixError 404 */
export async function readFile(
  ctx: Context,
  file: MediaFile,
  until: AbortSignal,
): Promise<NonNullable<Awaited<ReturnType<Context["media"]["files"]["read"]>>>> {
  try {
    const content = await ctx.media.files.read(file, until);
    if (content !== undefined) return content;
  } catch (error) {
    if (!(error instanceof BadMediaPath)) throw error;
  }
  throw notFound();
}

/** A name of the file may follow; synapse-admin ends the path with a slash and none. */
const FORMS = ["", "/", "/:fileName"] as const;

/** The old routes, without a token: only media from before media were authenticated. */
export const legacyDownload = endpoint({
  servlet: "DownloadResource",
  method: "GET",
  path: FORMS.map((form) => `/_matrix/media/(r0|v3|v1)/download/:serverName/:mediaId${form}` as const),
  auth: "none",
  when: (config) => config.media.canLoadMediaRepo,
  handle: (ctx, { params, query, ip, signal, headers }) =>
    download(ctx, {
      serverName: params.serverName,
      mediaId: params.mediaId,
      fileName: (params as { fileName?: string }).fileName,
      access: { timeoutMs: timeoutOf(query), authenticated: false, signal },
      ip,
      userId: undefined,
      ifNoneMatch: headers["if-none-match"],
    }),
});

export const authenticatedDownload = endpoint({
  servlet: "DownloadResource",
  method: "GET",
  path: FORMS.map((form) => `/_matrix/client/v1/media/download/:serverName/:mediaId${form}` as const),
  auth: "guest",
  when: (config) => config.media.canLoadMediaRepo,
  handle: (ctx, { params, query, ip, signal, headers, requester }) =>
    download(ctx, {
      serverName: params.serverName,
      mediaId: params.mediaId,
      fileName: (params as { fileName?: string }).fileName,
      access: { timeoutMs: timeoutOf(query), authenticated: true, signal },
      ip,
      userId: requester.userId,
      ifNoneMatch: headers["if-none-match"],
    }),
});

export const downloadRoutes = [legacyDownload, authenticatedDownload];
