import type { Readable } from "node:stream";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import { LastStatements } from "../../storage/database.ts";
import {
  fillLocalMedia,
  insertLocalMedia,
  insertMediaId,
  type LocalMedia,
  localMedia,
  pendingMedia,
  touchMedia,
  uploadedBytes,
} from "../../storage/media/local-media.ts";
import type { RemoteMedia } from "../../storage/media/remote-media.ts";
import type { Context } from "../context.ts";
import { MediaIsSpam } from "./judge-media.ts";
import { MediaIncomplete, MediaTooLarge, type StoredFile } from "./media-store.ts";
import { BadMediaPath } from "./paths.ts";
import { makeThumbnails } from "./thumbnails.ts";

export type MediaContext = Pick<Context, "clock" | "config" | "limits" | "log" | "media" | "modules" | "random" | "read" | "remoteMedia" | "transaction">;

/** How often a download of media that is still being uploaded looks again, milliseconds. */
const LOOK_AGAIN_MS = 500;

export interface Upload {
  readonly content: Readable;
  /** Bytes, as the client announced. */
  readonly length: number;
  readonly mediaType: string;
  readonly uploadName: string | undefined;
}

/** Reserves a media id for a later upload (client-server API, "Asynchronous uploads"). */
export async function createMedia(ctx: MediaContext, userId: string): Promise<{ contentUri: string; unusedExpiresAt: number }> {
  const { maxPendingMediaUploads, unusedExpirationTimeMs, enableAuthenticatedMedia } = ctx.config.media;
  const lifetime = unusedExpirationTimeMs ?? 86_400_000;
  const now = ctx.clock.now();
  const pending = await pendingMedia(ctx.read, userId, now - lifetime);
  if (pending.count >= maxPendingMediaUploads) {
    const wait = Math.max(0, (pending.oldest ?? now) + lifetime - now);
    throw new MatrixError(
      429,
      "M_LIMIT_EXCEEDED",
      "Too Many Requests",
      { retry_after_ms: wait, "org.myelin.limit": "max_pending_media_uploads" },
      { "Retry-After": String(Math.ceil(wait / 1000)) },
    );
  }
  const mediaId = ctx.random.letters(24);
  await ctx.transaction("store_local_media_id", (txn) => insertMediaId(txn, { mediaId, createdTs: now, userId, authenticated: enableAuthenticatedMedia }));
  return { contentUri: mxc(ctx, mediaId), unusedExpiresAt: now + lifetime };
}

/** Stores an upload under a new id; returns its mxc URI. @throws MatrixError 413 M_TOO_LARGE, 403 M_USER_LIMIT_EXCEEDED */
export async function uploadMedia(ctx: MediaContext, userId: string, upload: Upload): Promise<string> {
  await checkUploadLimits(ctx, userId, upload.length);
  const mediaId = ctx.random.letters(24);
  const { bytes, ...stored } = await store(ctx, mediaId, upload);
  const row = {
    mediaId,
    mediaType: upload.mediaType,
    createdTs: ctx.clock.now(),
    uploadName: upload.uploadName,
    userId,
    authenticated: ctx.config.media.enableAuthenticatedMedia,
    ...stored,
  };
  noteQuarantine(ctx, await ctx.transaction("store_local_media", async (txn) => new LastStatements(insertLocalMedia(txn, row))));
  await makeThumbnails(ctx, { origin: undefined, mediaId, fileId: mediaId, mediaType: upload.mediaType, bytes });
  return mxc(ctx, mediaId);
}

/**
 * Fills a reserved id. @throws MatrixError 404 for unknown and expired ids, 403 for those of others, 409 M_CANNOT_OVERWRITE_MEDIA for
 * filled ones
 */
export async function uploadReservedMedia(ctx: MediaContext, userId: string, mediaId: string, upload: () => Upload): Promise<void> {
  const media = await localMedia(ctx.read, mediaId);
  if (media === undefined) throw notFound("Unknown media ID");
  if (media.user_id !== userId) throw new MatrixError(403, "M_FORBIDDEN", "Only the creator of the media ID can upload to it");
  if (media.media_length !== null) throw cannotOverwrite("Media ID already has content");
  if (hasExpired(ctx, media)) throw notFound("Media ID has expired");
  if (!ctx.media.beginUpload(mediaId)) throw cannotOverwrite("Media ID cannot be overwritten");
  try {
    const { content, length, mediaType, uploadName } = upload();
    await checkUploadLimits(ctx, userId, length);
    const { bytes, ...stored } = await store(ctx, mediaId, { content, length, mediaType, uploadName });
    const filled = await ctx.transaction("update_local_media", (txn) => fillLocalMedia(txn, { mediaId, mediaType, uploadName, ...stored }));
    if (filled === undefined) throw cannotOverwrite("Media ID already has content");
    noteQuarantine(ctx, filled);
    await makeThumbnails(ctx, { origin: undefined, mediaId, fileId: mediaId, mediaType, bytes });
  } finally {
    ctx.media.endUpload(mediaId);
  }
}

/** What a download or thumbnail request may see of media. */
export interface MediaAccess {
  /** How long to wait for an upload under way, milliseconds. */
  readonly timeoutMs: number;
  /** The request carried a token, or came from another server by the authenticated endpoint: media marked so may be given out. */
  readonly authenticated: boolean;
  /** Admins look at quarantined media. */
  readonly quarantined?: boolean;
  readonly signal: AbortSignal;
}

/** Local media that is there and may be shown. @throws MatrixError 404 M_NOT_FOUND, 504 M_NOT_YET_UPLOADED */
export async function findLocalMedia(ctx: MediaContext, mediaId: string, access: MediaAccess): Promise<LocalMedia & { readonly media_length: number }> {
  const deadline = ctx.clock.now() + access.timeoutMs;
  for (;;) {
    const media = await ctx.media.known.local(ctx.read, mediaId);
    if (media === undefined || (media.quarantined_by !== null && !access.quarantined)) throw notFound();
    if (media.media_length !== null) {
      if (media.authenticated && !access.authenticated && ctx.config.media.enableAuthenticatedMedia) throw notFound();
      ctx.media.noteUse(undefined, mediaId, ctx.clock.now());
      return { ...media, media_length: media.media_length };
    }
    if (hasExpired(ctx, media)) throw notFound();
    if (ctx.clock.now() >= deadline || access.signal.aborted) throw new MatrixError(504, "M_NOT_YET_UPLOADED", "Media has not been uploaded yet");
    await ctx.clock.sleep(LOOK_AGAIN_MS, access.signal);
  }
}

/**
 * Media of another server: the copy here, else fetched from there. Unauthenticated requests never make the server fetch.
 * @throws MatrixError 404 M_NOT_FOUND, 502 when the other server cannot be asked, 429 when too much was fetched
 */
export async function findRemoteMedia(
  ctx: MediaContext,
  origin: string,
  mediaId: string,
  access: MediaAccess,
  requester: { ip: string; userId: string | undefined },
): Promise<RemoteMedia> {
  const { preventMediaDownloadsFrom, enableAuthenticatedMedia } = ctx.config.media;
  if (preventMediaDownloadsFrom.includes(origin)) throw notFound();
  const known = await ctx.media.known.remote(ctx.read, origin, mediaId);
  const mayFetch = access.authenticated || !enableAuthenticatedMedia;
  if (known === undefined && !mayFetch) throw notFound();
  const media = known ?? (await ctx.remoteMedia.fetch(origin, mediaId, { timeoutMs: access.timeoutMs, ...requester }));
  if (media.quarantined_by !== null && !access.quarantined) throw notFound();
  if (media.authenticated && !mayFetch) throw notFound();
  ctx.media.noteUse(origin, mediaId, ctx.clock.now());
  return media;
}

/** Writes down when media was used last. */
export async function flushMediaUses(ctx: MediaContext): Promise<void> {
  const uses = ctx.media.takeUses();
  if (uses.length > 0) await ctx.transaction("update_cached_last_access_time", (txn) => touchMedia(txn, uses), { isolation: "read committed" });
}

async function store(ctx: MediaContext, mediaId: string, upload: Upload): Promise<StoredFile> {
  const maxBytes = ctx.config.media.maxUploadSize;
  if (upload.length > maxBytes) throw tooLarge();
  try {
    return await ctx.media.files.write({ origin: undefined, fileId: mediaId }, upload.content, { maxBytes, exactly: upload.length, ownChunks: true });
  } catch (error) {
    if (error instanceof MediaTooLarge) throw tooLarge();
    if (error instanceof MediaIncomplete) throw new MatrixError(400, "M_UNKNOWN", "The upload broke off");
    if (error instanceof BadMediaPath) throw notFound();
    if (error instanceof MediaIsSpam) throw new MatrixError(400, "M_UNKNOWN", "Bad content"); // whatever code the module chose, as in Synapse
    throw error;
  }
}

function noteQuarantine(ctx: Pick<Context, "log">, { quarantined }: { quarantined: boolean }): void {
  if (quarantined) ctx.log.named("synapse.media.media_repository").warn("Media was quarantined as it is equal to media that is quarantined");
}

async function checkUploadLimits(ctx: MediaContext, userId: string, length: number): Promise<void> {
  const { media: modules } = ctx.modules;
  if (length > ctx.config.media.maxUploadSize || !(await modules.maySend(userId, length))) throw tooLarge();
  const limits = (await modules.limitsFor(userId))?.map((limit) => ({
    maxBytes: limit.max_bytes,
    timePeriodMs: limit.time_period_ms,
    infoUri: limit.info_uri,
    canUpgrade: limit.can_upgrade ?? false,
  }));
  for (const limit of limits ?? ctx.config.media.uploadLimits) {
    const sent = await uploadedBytes(ctx.read, userId, ctx.clock.now() - limit.timePeriodMs);
    if (sent + length <= limit.maxBytes) continue;
    const told = { max_bytes: limit.maxBytes, time_period_ms: limit.timePeriodMs, info_uri: limit.infoUri, can_upgrade: limit.canUpgrade };
    await modules.limitExceeded(userId, told, sent, length);
    const infoUri = limit.infoUri ?? `${ctx.config.server.publicBaseurl}_synapse/client/media_upload_limit_exceeded`;
    throw new MatrixError(403, "M_USER_LIMIT_EXCEEDED", "Media upload limit exceeded", { info_uri: infoUri, can_upgrade: limit.canUpgrade });
  }
}

function hasExpired(ctx: MediaContext, media: LocalMedia): boolean {
  return media.created_ts < ctx.clock.now() - (ctx.config.media.unusedExpirationTimeMs ?? 86_400_000);
}

const tooLarge = (): MatrixError => new MatrixError(413, "M_TOO_LARGE", "Upload request body is too large", {}, { Connection: "close" });
const cannotOverwrite = (message: string): MatrixError => new MatrixError(409, "M_CANNOT_OVERWRITE_MEDIA", message);
const mxc = (ctx: Pick<Context, "config">, mediaId: string): string => `mxc://${ctx.config.server.serverName}/${mediaId}`;
