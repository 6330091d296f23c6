/**
 * Where media lies below the media store (and below a storage provider), the same layout as Synapse's. Every component of a path is checked:
 * nothing that a client or another server says can leave the store.
 */
export interface MediaFile {
  /** undefined: local media. */
  readonly origin: string | undefined;
  /** Media id of local media, `filesystem_id` of remote media. */
  readonly fileId: string;
  readonly urlCache?: boolean;
  readonly thumbnail?: ThumbnailName;
}

export interface ThumbnailName {
  readonly width: number;
  readonly height: number;
  readonly type: string;
  readonly method: string;
}

/** Thrown for ids and server names that cannot be part of a path. */
export class BadMediaPath extends Error {}

/** The path of a file relative to the store, with `/` between its components. @throws BadMediaPath */
export function mediaPath(file: MediaFile): string {
  const { origin, fileId, thumbnail } = file;
  const end = thumbnail === undefined ? [] : [thumbnailFile(thumbnail)];
  if (file.urlCache) return join([thumbnail === undefined ? "url_cache" : "url_cache_thumbnails", ...urlCacheParts(fileId), ...end]);
  if (origin === undefined) return join([thumbnail === undefined ? "local_content" : "local_thumbnails", ...split(fileId), ...end]);
  return join([thumbnail === undefined ? "remote_content" : "remote_thumbnail", origin, ...split(fileId), ...end]);
}

/** The folder that holds all thumbnails of a file. @throws BadMediaPath */
export function thumbnailFolder(file: Omit<MediaFile, "thumbnail">): string {
  const path = mediaPath({ ...file, thumbnail: { width: 1, height: 1, type: "image/png", method: "crop" } });
  return path.slice(0, path.lastIndexOf("/"));
}

/** `320-240-image-png-scale` */
function thumbnailFile({ width, height, type, method }: ThumbnailName): string {
  const [top, sub] = type.split("/");
  return `${width}-${height}-${top}-${sub}-${method}`;
}

const split = (id: string): string[] => [id.slice(0, 2), id.slice(2, 4), id.slice(4)];

/** Ids of previews begin with their date; ids from before that are split like others. */
function urlCacheParts(id: string): string[] {
  return /^\d{4}-\d\d-\d\d_/.test(id) ? [id.slice(0, 10), id.slice(11)] : split(id);
}

function join(parts: readonly string[]): string {
  for (const part of parts) {
    if (part === "." || part === ".." || !/^[A-Za-z0-9_.:[\]-]{1,255}$/.test(part)) throw new BadMediaPath(`not a path component: ${JSON.stringify(part)}`);
  }
  return parts.join("/");
}
