import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A row of `remote_media_cache`. */
export interface RemoteMedia {
  readonly media_origin: string;
  readonly media_id: string;
  readonly media_type: string | null;
  readonly media_length: number | null;
  readonly created_ts: number;
  readonly upload_name: string | null;
  readonly filesystem_id: string;
  readonly last_access_ts: number | null;
  readonly quarantined_by: string | null;
  readonly authenticated: boolean;
  readonly sha256: string | null;
}

export function remoteMedia(read: ReadHandle, origin: string, mediaId: string): Promise<RemoteMedia | undefined> {
  return queryOne<RemoteMedia>(
    read,
    `SELECT media_origin, media_id, media_type, media_length, created_ts, upload_name, filesystem_id, last_access_ts, quarantined_by, authenticated, sha256
     FROM remote_media_cache WHERE media_origin = $1 AND media_id = $2`,
    [origin, mediaId],
  );
}

export async function insertRemoteMedia(
  txn: Txn,
  media: {
    origin: string;
    mediaId: string;
    mediaType: string;
    length: number;
    createdTs: number;
    uploadName: string | undefined;
    filesystemId: string;
    sha256: string;
    quarantinedBy: string | undefined;
    authenticated: boolean;
  },
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO remote_media_cache (media_origin, media_id, media_type, media_length, created_ts, last_access_ts, upload_name, filesystem_id, sha256, quarantined_by, authenticated)
     VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10)`,
    [
      media.origin,
      media.mediaId,
      media.mediaType,
      media.length,
      media.createdTs,
      media.uploadName ?? null,
      media.filesystemId,
      media.sha256,
      media.quarantinedBy ?? null,
      media.authenticated,
    ],
  );
}

export async function deleteRemoteMediaRows(txn: Txn, media: readonly { media_origin: string; media_id: string }[]): Promise<void> {
  const parameters = [media.map((item) => item.media_origin), media.map((item) => item.media_id)];
  await Promise.all([
    execute(
      txn,
      `DELETE FROM remote_media_cache_thumbnails AS t USING unnest($1::text[], $2::text[]) AS gone (origin, media_id) WHERE t.media_origin = gone.origin AND t.media_id = gone.media_id`,
      parameters,
    ),
    execute(
      txn,
      `DELETE FROM remote_media_cache AS m USING unnest($1::text[], $2::text[]) AS gone (origin, media_id) WHERE m.media_origin = gone.origin AND m.media_id = gone.media_id`,
      parameters,
    ),
  ]);
}
