import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { type PageClient, PageUnavailable } from "../../../outbound/page-client.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import { LastStatements } from "../../../storage/database.ts";
import { insertLocalMedia, type NewLocalMedia } from "../../../storage/media/local-media.ts";
import type { Context } from "../../context.ts";
import { fileNameOf } from "../content-disposition.ts";
import { MediaIncomplete, MediaTooLarge, type StoredFile } from "../media-store.ts";
import type { UrlBlocklist } from "./url-blocklist.ts";

export type FetchContext = Pick<Context, "clock" | "config" | "log" | "media" | "random" | "read" | "transaction">;

/** A file that was fetched for a preview; it is in the media store. */
export interface FetchedFile {
  readonly mediaId: string;
  readonly mediaType: string;
  readonly length: number;
  /** The content, where it is short. */
  readonly bytes: Buffer | undefined;
  readonly uploadName: string | undefined;
  readonly createdTs: number;
  /** Where it was found, after redirects. */
  readonly url: string;
  readonly status: number;
  readonly etag: string | undefined;
}

type Source = Pick<FetchedFile, "mediaType" | "uploadName" | "url" | "status" | "etag"> & { readonly body: Readable };

const BODY_TIMEOUT_MS = 30_000;

/**
 * Fetches what is at an address into the media store, in the name of a user. With `unwritten`, whoever calls writes its row, which is added there,
 * or removes the file.
 * @throws MatrixError 403 for addresses out of reach, 400 for what is no address, 502 for what cannot be previewed or fetched, 504 for what does not come in time
 */
export async function fetchFile(
  ctx: FetchContext,
  client: PageClient,
  blocklist: UrlBlocklist,
  url: string,
  request: { userId: string; allowData: boolean; unwritten?: NewLocalMedia[] },
): Promise<FetchedFile> {
  const mayFetch = (address: string): void => {
    if (blocklist.blocks(address)) throw new MatrixError(403, "M_UNKNOWN", "URL blocked by url pattern blocklist entry");
  };
  const isData = /^data:/i.test(url);
  if (isData && !request.allowData) throw new MatrixError(400, "M_UNKNOWN", "Previewing of data: URLs is forbidden");
  if (isData) mayFetch(url);
  const { body, ...source } = isData ? dataSource(url) : await webSource(ctx, client, url, mayFetch);
  const createdTs = ctx.clock.now();
  const mediaId = `${new Date(createdTs).toISOString().slice(0, 10)}_${ctx.random.letters(16)}`;
  const { bytes, ...stored } = await store(ctx, mediaId, body);
  const row: NewLocalMedia = {
    mediaId,
    mediaType: source.mediaType,
    createdTs,
    uploadName: source.uploadName,
    userId: request.userId,
    urlCache: url.replaceAll("\0", ""),
    authenticated: ctx.config.media.enableAuthenticatedMedia,
    ...stored,
  };
  if (request.unwritten !== undefined) request.unwritten.push(row);
  else {
    try {
      await ctx.transaction("store_local_media", async (txn) => new LastStatements(insertLocalMedia(txn, row)));
    } catch (error) {
      await removeFetched(ctx, mediaId);
      throw error;
    }
  }
  return { ...source, mediaId, length: stored.length, bytes, createdTs };
}

/** Removes a file that has no row: nothing else ever would. */
export async function removeFetched(ctx: FetchContext, mediaId: string): Promise<void> {
  await ctx.media.files.delete({ origin: undefined, fileId: mediaId, urlCache: true });
}

/** The bytes of a file that was fetched. */
export async function readFetched(ctx: FetchContext, file: FetchedFile): Promise<Buffer> {
  if (file.bytes !== undefined) return file.bytes;
  const local = await ctx.media.files.localFile({ origin: undefined, fileId: file.mediaId, urlCache: true });
  return local === undefined ? Buffer.alloc(0) : await readFile(local);
}

export const isImage = (mediaType: string): boolean => /^image\//i.test(mediaType);
export const isHtml = (mediaType: string): boolean => /^(text\/html|application\/xhtml)/i.test(mediaType);
export const isJson = (mediaType: string): boolean => /^application\/json/i.test(mediaType);

async function webSource(ctx: FetchContext, client: PageClient, url: string, mayFetch: (url: string) => void): Promise<Source> {
  try {
    const page = await client.get(url, mayFetch);
    const declared = page.header("content-type");
    const refusal =
      page.status > 299
        ? `Got error ${page.status}`
        : declared !== undefined && !isImage(declared) && !isHtml(declared) && !isJson(declared)
          ? `Requested file's content type not allowed for this operation: ${declared}`
          : undefined;
    if (refusal !== undefined) {
      page.body.on("error", () => {}).destroy();
      throw new MatrixError(502, "M_UNKNOWN", refusal);
    }
    return {
      body: page.body,
      url: page.url,
      status: page.status,
      mediaType: (declared ?? "application/octet-stream").slice(0, 1_000),
      uploadName: fileNameOf(page.header("content-disposition")),
      etag: page.header("etag"),
    };
  } catch (error) {
    if (!(error instanceof PageUnavailable)) throw error;
    ctx.log.named("synapse.media.url_previewer").warn("Error downloading for a preview", { error });
    throw refusalOf(error);
  }
}

function refusalOf(error: PageUnavailable): MatrixError {
  switch (error.reason) {
    case "blocked":
      return new MatrixError(403, "M_UNKNOWN", "IP address blocked");
    case "unresolved":
      return new MatrixError(502, "M_UNKNOWN", "DNS resolution failure during URL preview generation");
    case "address":
      return new MatrixError(400, "M_UNKNOWN", "The URL cannot be previewed");
    case "timeout":
      return new MatrixError(504, "M_UNKNOWN", "Timeout waiting for response");
    case "failed":
      return new MatrixError(502, "M_UNKNOWN", `Failed to download content: ${error.message}`);
  }
}

/** A `data:` URL, as pages give their pictures. */
function dataSource(url: string): Source {
  const match = /^data:([^,]*?)(;\s*base64)?\s*,(.*)$/is.exec(url);
  let body: Buffer | undefined;
  try {
    if (match !== null)
      body = match[2] === undefined ? Buffer.from(decodeURIComponent(match[3]!), "latin1") : Buffer.from(decodeURIComponent(match[3]!), "base64");
  } catch {
    // not percent-encoded as it should be
  }
  if (body === undefined) throw new MatrixError(400, "M_UNKNOWN", "Failed to parse data URL");
  const mediaType = match![1]!.split(";", 1)[0]!.trim().toLowerCase();
  return {
    body: Readable.from([body]),
    url,
    status: 200,
    mediaType: mediaType === "" ? "text/plain" : mediaType.slice(0, 1_000),
    uploadName: undefined,
    etag: undefined,
  };
}

async function store(ctx: FetchContext, mediaId: string, body: Readable): Promise<StoredFile> {
  const maxBytes = ctx.config.media.maxSpiderSize;
  let late = false;
  const timer = ctx.clock.after(BODY_TIMEOUT_MS, () => {
    late = true;
    body.destroy(new Error("too slow"));
  });
  try {
    return await ctx.media.files.write({ origin: undefined, fileId: mediaId, urlCache: true }, body, { maxBytes });
  } catch (error) {
    if (error instanceof MediaTooLarge) throw new MatrixError(502, "M_TOO_LARGE", `Requested file is too large > ${maxBytes} bytes`);
    if (late) throw new MatrixError(502, "M_TOO_LARGE", "Requested file took too long to download");
    if (error instanceof MediaIncomplete) throw new MatrixError(502, "M_UNKNOWN", "Failed to download remote body");
    throw error;
  } finally {
    timer.cancel();
  }
}
