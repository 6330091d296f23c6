import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** A stored thumbnail. */
export interface Thumbnail {
  readonly width: number;
  readonly height: number;
  readonly type: string;
  readonly method: string;
  readonly length: number;
}

export function localThumbnails(read: ReadHandle, mediaId: string): Promise<Thumbnail[]> {
  return query<Thumbnail>(
    read,
    `SELECT thumbnail_width AS width, thumbnail_height AS height, thumbnail_type AS type, thumbnail_method AS method, thumbnail_length AS length
     FROM local_media_repository_thumbnails WHERE media_id = $1`,
    [mediaId],
  );
}

export function remoteThumbnails(read: ReadHandle, origin: string, mediaId: string): Promise<Thumbnail[]> {
  return query<Thumbnail>(
    read,
    `SELECT thumbnail_width AS width, thumbnail_height AS height, thumbnail_type AS type, thumbnail_method AS method, thumbnail_length AS length
     FROM remote_media_cache_thumbnails WHERE media_origin = $1 AND media_id = $2`,
    [origin, mediaId],
  );
}

const columns = (thumbnails: readonly Thumbnail[]): unknown[] => [
  thumbnails.map((thumbnail) => thumbnail.width),
  thumbnails.map((thumbnail) => thumbnail.height),
  thumbnails.map((thumbnail) => thumbnail.type),
  thumbnails.map((thumbnail) => thumbnail.method),
  thumbnails.map((thumbnail) => thumbnail.length),
];

export async function storeLocalThumbnails(txn: Txn, mediaId: string, thumbnails: readonly Thumbnail[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO local_media_repository_thumbnails (media_id, thumbnail_width, thumbnail_height, thumbnail_type, thumbnail_method, thumbnail_length)
     SELECT $1, made.* FROM unnest($2::int[], $3::int[], $4::text[], $5::text[], $6::int[]) AS made
     ON CONFLICT (media_id, thumbnail_width, thumbnail_height, thumbnail_type, thumbnail_method) DO UPDATE SET thumbnail_length = EXCLUDED.thumbnail_length`,
    [mediaId, ...columns(thumbnails)],
  );
}

export async function storeRemoteThumbnails(txn: Txn, origin: string, mediaId: string, filesystemId: string, thumbnails: readonly Thumbnail[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO remote_media_cache_thumbnails (media_origin, media_id, filesystem_id, thumbnail_width, thumbnail_height, thumbnail_type, thumbnail_method, thumbnail_length)
     SELECT $1, $2, $3, made.* FROM unnest($4::int[], $5::int[], $6::text[], $7::text[], $8::int[]) AS made
     ON CONFLICT (media_origin, media_id, thumbnail_width, thumbnail_height, thumbnail_type, thumbnail_method) DO UPDATE SET thumbnail_length = EXCLUDED.thumbnail_length`,
    [origin, mediaId, filesystemId, ...columns(thumbnails)],
  );
}
