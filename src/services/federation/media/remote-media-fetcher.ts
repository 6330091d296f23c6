import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { DestinationDenied, isUnknownEndpoint, RemoteError } from "../../../outbound/federation/client.ts";
import { BadMultipart, boundaryOf, partsOf } from "../../../outbound/federation/multipart.ts";
import { MatrixError, notFound } from "../../../protocol/errors.ts";
import { isUniqueViolation } from "../../../storage/database.ts";
import { isHashQuarantined } from "../../../storage/media/local-media.ts";
import { insertRemoteMedia, type RemoteMedia, remoteMedia } from "../../../storage/media/remote-media.ts";
import type { Context } from "../../context.ts";
import { MediaIsSpam } from "../../media/judge-media.ts";
import { MediaIncomplete, MediaTooLarge, type StoredFile } from "../../media/media-store.ts";
import type { RemoteMediaFetcher as Fetcher } from "../../media/repository.ts";
import { makeThumbnails } from "../../media/thumbnails.ts";
import { fileNameOf } from "../../media/content-disposition.ts";

type Needs = Pick<Context, "clock" | "config" | "federationClient" | "limits" | "log" | "media" | "random" | "read" | "transaction">;

/** Who makes this server fetch; what is fetched counts against the budget of the address. */
interface Asker {
  readonly timeoutMs: number;
  readonly ip: string;
}

interface Fetched {
  readonly stored: StoredFile;
  readonly mediaType: string;
  readonly uploadName: string | undefined;
}

/** An address with less left than this makes the server fetch nothing. */
const LEAST_BUDGET = 1024 * 1024;
const MAX_METADATA = 64 * 1024;
const TRANSFER_TIMEOUT_MS = 10 * 60_000;

/** Fetches media of other servers into the media store: each file once, however many ask for it. */
export class RemoteMediaFetcher implements Fetcher {
  private readonly underway = new Map<string, Promise<RemoteMedia>>();

  constructor(private readonly context: () => Needs) {}

  async fetch(origin: string, mediaId: string, options: Asker & { userId: string | undefined }): Promise<RemoteMedia> {
    const key = `${origin}/${mediaId}`;
    let fetching = this.underway.get(key);
    if (fetching === undefined) {
      fetching = fetchMedia(this.context(), origin, mediaId, options).finally(() => this.underway.delete(key));
      this.underway.set(key, fetching);
    }
    return await fetching;
  }
}

async function fetchMedia(ctx: Needs, origin: string, mediaId: string, asker: Asker): Promise<RemoteMedia> {
  // Somebody may have fetched it since the caller looked.
  const known = await remoteMedia(ctx.read, origin, mediaId);
  if (known !== undefined) return known;
  const fileId = ctx.random.letters(24);
  const fetched = await download(ctx, origin, mediaId, fileId, asker);
  const { stored, mediaType, uploadName } = fetched;
  const createdTs = ctx.clock.now();
  const quarantinedBy = (await isHashQuarantined(ctx.read, stored.sha256)) ? "system" : undefined;
  const authenticated = ctx.config.media.enableAuthenticatedMedia;
  try {
    await ctx.transaction("store_cached_remote_media", (txn) =>
      insertRemoteMedia(txn, {
        origin,
        mediaId,
        mediaType,
        length: stored.length,
        createdTs,
        uploadName,
        filesystemId: fileId,
        sha256: stored.sha256,
        quarantinedBy,
        authenticated,
      }),
    );
  } catch (error) {
    await ctx.media.files.delete({ origin, fileId });
    // Another process was faster.
    const theirs = isUniqueViolation(error) ? await remoteMedia(ctx.read, origin, mediaId) : undefined;
    if (theirs === undefined) throw error;
    return theirs;
  }
  await makeThumbnails(ctx, { origin, mediaId, fileId, mediaType, bytes: stored.bytes });
  const media = await remoteMedia(ctx.read, origin, mediaId);
  if (media === undefined) throw notFound();
  return media;
}

/** @throws MatrixError 404 as the other server says, 429, 502 */
async function download(ctx: Needs, origin: string, mediaId: string, fileId: string, asker: Asker): Promise<Fetched> {
  await ctx.limits.check("remoteMediaDownloads", asker.ip, { cost: LEAST_BUDGET, count: false });
  const id = encodeURIComponent(mediaId);
  const transfer = new Transfer(ctx, { origin, fileId }, asker.ip);
  const get = (
    path: string,
    query: Record<string, string>,
    read: (answer: Dispatcher.ResponseData) => Promise<Fetched | MatrixError>,
  ): Promise<Fetched | MatrixError> =>
    ctx.federationClient.withAnswer(
      { method: "GET", destination: origin, path, query: { timeout_ms: String(asker.timeoutMs), ...query }, timeoutMs: TRANSFER_TIMEOUT_MS },
      read,
    );
  try {
    let result: Fetched | MatrixError;
    try {
      result = await get(`/_matrix/federation/v1/media/download/${id}`, {}, (answer) => transfer.takeMultipart(answer));
    } catch (error) {
      // A server from before authenticated media (MSC3916).
      if (!isUnknownEndpoint(error)) throw error;
      const legacy = `/_matrix/media/v3/download/${encodeURIComponent(origin)}/${id}`;
      result = await get(legacy, { allow_remote: "false" }, (answer) => transfer.takePlain(answer));
    }
    if (result instanceof MatrixError) throw result;
    return result;
  } catch (error) {
    if (error instanceof MatrixError) throw error;
    ctx.log.named("synapse.media.media_repository").warn(`Failed to fetch remote media ${origin}/${mediaId}`, { error });
    if (error instanceof RemoteError && error.status === 404) throw notFound();
    if (error instanceof RemoteError && error.status === 504 && error.errcode === "M_NOT_YET_UPLOADED")
      throw new MatrixError(504, "M_NOT_YET_UPLOADED", "Media has not been uploaded yet");
    if (error instanceof DestinationDenied) throw new MatrixError(403, "M_FORBIDDEN", `Federation denied with ${origin}.`);
    throw new MatrixError(502, "M_UNKNOWN", "Failed to fetch remote media");
  }
}

/**
 * Takes an answer into the store. Refusals that are ours are returned, not thrown: they say nothing about how the other server is doing.
 */
class Transfer {
  constructor(
    private readonly ctx: Needs,
    private readonly file: { readonly origin: string; readonly fileId: string },
    private readonly ip: string,
  ) {}

  /** The file itself, under its own headers. Other servers may send us elsewhere. */
  async takePlain(answer: Dispatcher.ResponseData): Promise<Fetched | MatrixError> {
    return await this.take(answer, answer.body, headerOf(answer, "content-type"), headerOf(answer, "content-disposition"));
  }

  /** Metadata, then the file or where it is (MSC3916). */
  async takeMultipart(answer: Dispatcher.ResponseData): Promise<Fetched | MatrixError> {
    const boundary = boundaryOf(headerOf(answer, "content-type"));
    if (boundary === undefined) {
      answer.body.destroy();
      return new MatrixError(502, "M_UNKNOWN", "Remote response is malformed: expected Content-Type of multipart/mixed with a boundary present.");
    }
    try {
      const parts = partsOf(answer.body as AsyncIterable<Buffer>, boundary);
      const metadata = await parts.next();
      let size = 0;
      if (metadata.done !== true)
        for await (const chunk of metadata.value.content) if ((size += chunk.length) > MAX_METADATA) throw new BadMultipart("the metadata is too long");
      const second = await parts.next();
      if (second.done === true) throw new BadMultipart("there is no file");
      const { headers, content } = second.value;
      const location = headers.get("location");
      if (location === undefined) return await this.take(answer, content, headers.get("content-type"), headers.get("content-disposition"));
      answer.body.destroy();
      return await this.ctx.federationClient.fetchUrl(location, TRANSFER_TIMEOUT_MS, (redirected) => this.takePlain(redirected));
    } catch (error) {
      answer.body.destroy();
      if (error instanceof BadMultipart) return new MatrixError(502, "M_UNKNOWN", "Failed to fetch remote media");
      throw error;
    }
  }

  private async take(
    answer: Dispatcher.ResponseData,
    content: AsyncIterable<Buffer>,
    type: string | undefined,
    disposition: string | undefined,
  ): Promise<Fetched | MatrixError> {
    const { limits, media, config } = this.ctx;
    const maxBytes = config.media.maxUploadSize;
    const announced = /^\d{1,15}$/.test(headerOf(answer, "content-length") ?? "") ? Number(headerOf(answer, "content-length")) : undefined;
    // The frame of a multipart answer counts little.
    if (announced !== undefined && announced > maxBytes + MAX_METADATA) return this.refuse(answer, tooLarge(maxBytes));
    if (announced !== undefined && !(await limits.allows("remoteMediaDownloads", this.ip, { cost: announced }))) {
      return this.refuse(answer, new MatrixError(429, "M_LIMIT_EXCEEDED", "Requested file size exceeds ratelimits"));
    }
    try {
      const stored = await media.files.write(this.file, Readable.from(content, { objectMode: false }), { maxBytes });
      if (announced === undefined) limits.record("remoteMediaDownloads", this.ip, stored.length);
      return { stored, mediaType: mediaTypeOf(type), uploadName: fileNameOf(disposition) };
    } catch (error) {
      if (announced === undefined && error instanceof MediaTooLarge) limits.record("remoteMediaDownloads", this.ip, maxBytes);
      if (error instanceof MediaTooLarge) return this.refuse(answer, tooLarge(maxBytes));
      if (error instanceof MediaIsSpam) return this.refuse(answer, error);
      if (error instanceof MediaIncomplete) return this.refuse(answer, new MatrixError(502, "M_UNKNOWN", "Failed to fetch remote media"));
      throw error;
    }
  }

  private refuse(answer: Dispatcher.ResponseData, refusal: MatrixError): MatrixError {
    answer.body.destroy();
    return refusal;
  }
}

const tooLarge = (maxBytes: number): MatrixError => new MatrixError(502, "M_TOO_LARGE", `Requested file is too large > ${maxBytes} bytes`);

function headerOf(answer: Dispatcher.ResponseData, name: string): string | undefined {
  const value = answer.headers[name];
  return typeof value === "string" ? value : value?.[0];
}

/** What can be stored and sent on as a header. */
const mediaTypeOf = (type: string | undefined): string => (type !== undefined && /^[\x20-\x7e]{1,255}$/.test(type) ? type : "application/octet-stream");
