import { lruCache } from "../../../lib/lru-cache.ts";
import type { Config } from "../../../config/config.ts";
import { stringifyAscii } from "../../../lib/json.ts";
import type { PageClient } from "../../../outbound/page-client.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import { LastStatements } from "../../../storage/database.ts";
import { insertLocalMedia, type NewLocalMedia } from "../../../storage/media/local-media.ts";
import { cachedPreview, insertPreview } from "../../../storage/media/url-cache.ts";
import { imageSize, makeThumbnailsLater, type ThumbnailSource } from "../thumbnails.ts";
import { decodePage } from "./charset.ts";
import { type FetchContext, type FetchedFile, fetchFile, isHtml, isImage, isJson, readFetched, removeFetched } from "./fetch.ts";
import { parseHtml } from "./html.ts";
import { discoverOembed, OembedProviders, readOembed } from "./oembed.ts";
import { type OpenGraph, openGraphOf } from "./open-graph.ts";
import { UrlBlocklist } from "./url-blocklist.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MAX_NAME_LENGTH = 50;
const MAX_VALUE_LENGTH = 1_000;
const MAX_CACHED = 5_000;

interface Read {
  readonly og: OpenGraph;
  readonly authorName?: string | undefined;
  readonly lifetimeMs?: number | undefined;
}

/** What is to be previewed, and what came of it. */
interface Wish {
  readonly url: string;
  readonly userId: string;
  /** What was fetched beside the page: rows that are written together with the preview. */
  readonly media: NewLocalMedia[];
  readonly pictures: ThumbnailSource[];
}

/**
 * Tells what is at an address (client-server API, "preview_url"; as Synapse's `UrlPreviewer`). An address is fetched at most once an
 * hour, however many ask and whatever comes of it; what was found is kept in the database, by the time at which it was.
 */
export class UrlPreviews {
  private readonly recent = lruCache<string, { readonly at: number; readonly json: Promise<string> }>(MAX_CACHED);
  private readonly oembed: OembedProviders;
  private readonly blocklist: UrlBlocklist;

  constructor(
    config: Pick<Config, "media" | "oembed">,
    private readonly context: () => FetchContext,
    private readonly client: PageClient,
  ) {
    this.oembed = new OembedProviders(config.oembed.providers);
    this.blocklist = new UrlBlocklist(config.media.urlPreview.urlBlocklist);
  }

  /** The preview as JSON text. `at`: as of when, milliseconds. @throws MatrixError as `fetchFile` */
  async preview(url: string, userId: string, at: number): Promise<string> {
    const ctx = this.context();
    const now = ctx.clock.now();
    const known = this.recent.get(url);
    if (known !== undefined && now - known.at < HOUR_MS) return await known.json;
    const entry = { at: now, json: this.make(ctx, url, userId, at) };
    this.recent.set(url, entry);
    entry.json.catch((error: unknown) => {
      // What others do wrong stays so for a while; what went wrong here may go right the next time.
      if (!(error instanceof MatrixError) && this.recent.peek(url) === entry) this.recent.delete(url);
    });
    return await entry.json;
  }

  private async make(ctx: FetchContext, url: string, userId: string, at: number): Promise<string> {
    if (url.includes("\0")) throw new MatrixError(400, "M_UNKNOWN", "The URL cannot be previewed");
    const cached = await cachedPreview(ctx.read, url, at);
    if (cached !== undefined && cached.expires_ts > at && Math.trunc(cached.response_code / 100) === 2) return cached.og;
    const oembedAddress = this.oembed.addressFor(url);
    const file = await fetchFile(ctx, this.client, this.blocklist, oembedAddress ?? url, { userId, allowData: false });
    const wish: Wish = { url, userId, media: [], pictures: [] };
    let json: string;
    try {
      json = await this.write(ctx, wish, file, await this.read(ctx, wish, file, oembedAddress !== undefined));
    } catch (error) {
      for (const { mediaId } of wish.media) await removeFetched(ctx, mediaId);
      throw error;
    }
    for (const picture of wish.pictures) await makeThumbnailsLater(ctx, picture);
    return json;
  }

  private async write(ctx: FetchContext, { url, media }: Wish, file: FetchedFile, read: Read): Promise<string> {
    const og: OpenGraph = { ...read.og };
    if (!og["og:title"] && read.authorName !== undefined) og["og:title"] = read.authorName;
    for (const [name, value] of Object.entries(og)) if (name.length > MAX_NAME_LENGTH || [...String(value)].length > MAX_VALUE_LENGTH) delete og[name];
    const json = stringifyAscii(og);
    const expiresTs = file.createdTs + Math.min(read.lifetimeMs ?? HOUR_MS, DAY_MS);
    const row = { url, responseCode: file.status, etag: file.etag, expiresTs, og: json, mediaId: file.mediaId, downloadTs: file.createdTs };
    await ctx.transaction("store_url_cache", async (txn) => {
      const files = media.map((one) => insertLocalMedia(txn, one));
      return new LastStatements(Promise.all([...files, insertPreview(txn, row)]));
    });
    return json;
  }

  private async read(ctx: FetchContext, wish: Wish, file: FetchedFile, isOembed: boolean): Promise<Read> {
    if (isImage(file.mediaType)) return { og: { "og:description": file.uploadName ?? null, ...(await this.picture(ctx, wish, file)) } };
    if (isHtml(file.mediaType)) return await this.readPage(ctx, wish, file);
    if (!isOembed || !isJson(file.mediaType)) return { og: {} };
    const { og, authorName, cacheAge } = await readOembed(wish.url, await readFetched(ctx, file));
    return { og: await this.withPicture(ctx, wish, file, og), authorName, lifetimeMs: cacheAge };
  }

  /** What the page says goes before what its oEmbed answer says: often that is a stub. */
  private async readPage(ctx: FetchContext, wish: Wish, file: FetchedFile): Promise<Read> {
    const page = await parseHtml(decodePage(await readFetched(ctx, file), file.mediaType));
    if (page === undefined) return { og: {} };
    const oembedLink = discoverOembed(page);
    const oembed = oembedLink === undefined ? undefined : await this.oembedAt(ctx, wish, file, oembedLink);
    const og: OpenGraph = { ...oembed?.og };
    for (const [name, value] of Object.entries(openGraphOf(page))) if (value !== null || og[name] === undefined) og[name] = value;
    return { og: await this.withPicture(ctx, wish, file, og), authorName: oembed?.authorName, lifetimeMs: oembed?.cacheAge };
  }

  private async oembedAt(ctx: FetchContext, wish: Wish, page: FetchedFile, link: string): Promise<Awaited<ReturnType<typeof readOembed>> | undefined> {
    const answer = await this.beside(ctx, wish, page, link);
    return answer === undefined || !isJson(answer.mediaType) ? undefined : await readOembed(wish.url, await readFetched(ctx, answer));
  }

  /** Replaces the address of the picture by an mxc URI; leaves it out when there is no picture. */
  private async withPicture(ctx: FetchContext, wish: Wish, page: FetchedFile, og: OpenGraph): Promise<OpenGraph> {
    const { "og:image": address, ...rest } = og;
    if (typeof address !== "string" || address === "") return rest;
    const file = await this.beside(ctx, wish, page, address);
    return file === undefined || !isImage(file.mediaType) ? rest : { ...rest, ...(await this.picture(ctx, wish, file)) };
  }

  /** Fetches what a page refers to; a preview does not fail for want of it. */
  private async beside(ctx: FetchContext, { userId, media }: Wish, page: FetchedFile, link: string): Promise<FetchedFile | undefined> {
    try {
      const url = /^data:/i.test(link) || !URL.canParse(link, page.url) ? link : new URL(link, page.url).toString();
      return await fetchFile(ctx, this.client, this.blocklist, url, { userId, allowData: true, unwritten: media });
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      ctx.log.named("synapse.media.url_previewer").warn("Something that a page refers to could not be fetched for its preview", { error });
      return undefined;
    }
  }

  private async picture(ctx: FetchContext, wish: Wish, file: FetchedFile): Promise<OpenGraph> {
    const { mediaId, mediaType, length, bytes } = file;
    const source: ThumbnailSource = { origin: undefined, mediaId, fileId: mediaId, mediaType, urlCache: true };
    const size = await imageSize(ctx, { ...source, bytes });
    if (size !== undefined) wish.pictures.push(source);
    return {
      "og:image": `mxc://${ctx.config.server.serverName}/${mediaId}`,
      "og:image:type": mediaType,
      "matrix:image:size": length,
      ...(size === undefined ? {} : { "og:image:width": size.width, "og:image:height": size.height }),
    };
  }
}
