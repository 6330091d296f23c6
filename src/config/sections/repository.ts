import { resolve } from "node:path";
import { blockedRanges, expandRanges } from "../ip-ranges.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { parseProxy } from "./server.ts";

/** The media repository (`media`). Sizes in bytes, durations in milliseconds. */
export type MediaConfig = ReturnType<typeof parseMedia>;

export interface MediaStorageProvider {
  /** Python class name, such as `synapse.media.storage_provider.FileStorageProviderBackend`. */
  readonly module: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Takes new local uploads. */
  readonly storeLocal: boolean;
  /** Takes copies of remote media. */
  readonly storeRemote: boolean;
  /** An upload waits until the provider has it. */
  readonly storeSynchronous: boolean;
}

export interface ThumbnailSize {
  readonly width: number;
  readonly height: number;
  readonly method: "crop" | "scale";
}

const FILE_PROVIDER = "synapse.media.storage_provider.FileStorageProviderBackend";

const DEFAULT_THUMBNAIL_SIZES: readonly ThumbnailSize[] = [
  { width: 32, height: 32, method: "crop" },
  { width: 96, height: 96, method: "crop" },
  { width: 320, height: 240, method: "scale" },
  { width: 640, height: 480, method: "scale" },
  { width: 800, height: 600, method: "scale" },
];

export function parseMedia(raw: ConfigReader, ctx: ParseContext) {
  const backgroundJobsOn = raw.string("media_instance_running_background_jobs");
  // Of Synapse's processes another one may serve media; of Myelin's it is the main process all the same.
  const hasMediaWorker = backgroundJobsOn !== undefined || raw.object("redis").boolean("enabled", false);
  const retention = raw.object("media_retention");
  return {
    /** False where this server has no media. */
    canLoadMediaRepo: raw.boolean("enable_media_repo", true) || hasMediaWorker,
    maxUploadSize: raw.size("max_upload_size", "50M"),
    maxImagePixels: raw.size("max_image_pixels", "32M"),
    maxSpiderSize: raw.size("max_spider_size", "10M"),
    preventMediaDownloadsFrom: raw.strings("prevent_media_downloads_from"),
    unusedExpirationTimeMs: raw.duration("unused_expiration_time", "24h"),
    maxPendingMediaUploads: raw.integer("max_pending_media_uploads", 5),
    mediaStorePath: raw.filePath("media_store_path", ctx) ?? resolve(ctx.dataDir, "media_store"),
    enableLocalMediaStorage: raw.boolean("enable_local_media_storage", true),
    storageProviders: parseStorageProviders(raw, ctx),
    dynamicThumbnails: raw.boolean("dynamic_thumbnails", false),
    thumbnailSizes: parseThumbnailSizes(raw),
    urlPreview: parseUrlPreview(raw, ctx),
    localMediaLifetimeMs: retention.duration("local_media_lifetime"),
    remoteMediaLifetimeMs: retention.duration("remote_media_lifetime"),
    enableAuthenticatedMedia: raw.boolean("enable_authenticated_media", true),
    uploadLimits: raw.objects("media_upload_limits").map(parseUploadLimit),
  };
}

function parseStorageProviders(raw: ConfigReader, ctx: ParseContext): MediaStorageProvider[] {
  const providers = raw.objects("media_storage_providers").map((reader): MediaStorageProvider => {
    const name = reader.requiredString("module");
    const isFile = ["file_system", "synapse.rest.media.v1.storage_provider", FILE_PROVIDER].includes(name);
    const config = reader.rawObject("config") ?? {};
    const directory = config["directory"];
    if (isFile && typeof directory !== "string") throw reader.object("config").wrong("directory", "a directory (the option is required)");
    return {
      module: isFile ? FILE_PROVIDER : name,
      config: typeof directory === "string" ? { ...config, directory: resolve(ctx.dataDir, directory) } : config,
      storeLocal: reader.boolean("store_local", false),
      storeRemote: reader.boolean("store_remote", false),
      storeSynchronous: reader.boolean("store_synchronous", false),
    };
  });
  const backup = raw.filePath("backup_media_store_path", ctx);
  const synchronous = raw.boolean("synchronous_backup_media_store", false);
  if (backup === undefined) return providers;
  if (providers.length > 0) throw raw.error("backup_media_store_path", "cannot be set together with media_storage_providers");
  return [{ module: FILE_PROVIDER, config: { directory: backup }, storeLocal: true, storeRemote: true, storeSynchronous: synchronous }];
}

function parseThumbnailSizes(raw: ConfigReader): readonly ThumbnailSize[] {
  const sizes = raw.optionalObjects("thumbnail_sizes");
  if (sizes === undefined) return DEFAULT_THUMBNAIL_SIZES;
  return sizes.map((reader) => {
    const width = reader.integer("width", 0);
    const height = reader.integer("height", 0);
    const method = reader.oneOf("method", ["crop", "scale"]);
    if (width < 1) throw reader.wrong("width", "a number of pixels (the option is required)");
    if (height < 1) throw reader.wrong("height", "a number of pixels (the option is required)");
    if (method === undefined) throw reader.wrong("method", "crop or scale (the option is required)");
    return { width, height, method };
  });
}

function parseUrlPreview(raw: ConfigReader, ctx: ParseContext) {
  const enabled = raw.boolean("url_preview_enabled", false);
  const proxy = parseProxy(raw, ctx.env);
  const hasProxy = proxy.http !== undefined || proxy.https !== undefined;
  const blocked = raw.optionalStrings("url_preview_ip_range_blacklist");
  if (enabled && blocked === undefined && !hasProxy) {
    throw raw.wrong(
      "url_preview_ip_range_blacklist",
      "a list of ranges, since url_preview_enabled is true (without it anyone could make the server fetch from its own network)",
    );
  }
  if (enabled && blocked !== undefined && hasProxy) {
    ctx.notice("url_preview_ip_range_blacklist has no effect on requests that go through the forward proxy: the proxy resolves names");
  }
  return {
    enabled,
    ipRangeBlocklist: blockedRanges(blocked ?? [], "url_preview_ip_range_blacklist"),
    ipRangeAllowlist: expandRanges(raw.strings("url_preview_ip_range_whitelist"), "url_preview_ip_range_whitelist"),
    /** An address is refused when all attributes of an entry match: a regular expression when it begins with ^, else a glob. */
    urlBlocklist: raw.objects("url_preview_url_blacklist").map(parseUrlPattern),
    acceptLanguage: nonEmpty(raw.strings("url_preview_accept_language"), ["en"]),
  };
}

const URL_ATTRIBUTES = ["scheme", "netloc", "path", "query", "fragment", "username", "password", "hostname", "port"] as const;

function parseUrlPattern(reader: ConfigReader): Readonly<Partial<Record<(typeof URL_ATTRIBUTES)[number], string>>> {
  const pattern: Partial<Record<(typeof URL_ATTRIBUTES)[number], string>> = {};
  for (const attribute of URL_ATTRIBUTES) {
    const text = reader.text(attribute);
    if (text === undefined) continue;
    if (text.startsWith("^") && !isRegularExpression(text)) throw reader.wrong(attribute, "a glob, or a regular expression that begins with ^");
    pattern[attribute] = text;
  }
  return pattern;
}

function isRegularExpression(text: string): boolean {
  try {
    new RegExp(text, "u");
    return true;
  } catch {
    try {
      new RegExp(text);
      return true;
    } catch {
      return false;
    }
  }
}

function parseUploadLimit(reader: ConfigReader) {
  const maxBytes = reader.size("max_size");
  const timePeriodMs = reader.duration("time_period");
  const infoUri = reader.string("info_uri");
  const canUpgrade = reader.boolean("can_upgrade", false);
  if (maxBytes === undefined) throw reader.wrong("max_size", "a size (the option is required)");
  if (timePeriodMs === undefined) throw reader.wrong("time_period", "a duration (the option is required)");
  if (infoUri !== undefined && !URL.canParse(infoUri)) throw reader.wrong("info_uri", "a URL");
  return { maxBytes, timePeriodMs, infoUri, canUpgrade };
}

function nonEmpty(list: string[], fallback: string[]): string[] {
  return list.length > 0 ? list : fallback;
}
