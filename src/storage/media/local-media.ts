import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A row of `local_media_repository`. */
export interface LocalMedia {
  readonly media_id: string;
  readonly media_type: string | null;
  /** Bytes; null while the id is reserved and nothing has been uploaded. */
  readonly media_length: number | null;
  readonly created_ts: number;
  readonly upload_name: string | null;
  readonly user_id: string | null;
  readonly quarantined_by: string | null;
  readonly url_cache: string | null;
  readonly last_access_ts: number | null;
  readonly safe_from_quarantine: boolean;
  readonly authenticated: boolean;
  readonly sha256: string | null;
}

export function localMedia(read: ReadHandle, mediaId: string): Promise<LocalMedia | undefined> {
  return queryOne<LocalMedia>(
    read,
    `SELECT media_id, media_type, media_length, created_ts, upload_name, user_id, quarantined_by, url_cache, last_access_ts, safe_from_quarantine, authenticated, sha256
     FROM local_media_repository WHERE media_id = $1`,
    [mediaId],
  );
}

/** Reserves a media id for a later upload. */
export async function insertMediaId(txn: Txn, media: { mediaId: string; createdTs: number; userId: string; authenticated: boolean }): Promise<void> {
  await execute(txn, `INSERT INTO local_media_repository (media_id, created_ts, user_id, authenticated) VALUES ($1, $2, $3, $4)`, [
    media.mediaId,
    media.createdTs,
    media.userId,
    media.authenticated,
  ]);
}

export interface NewLocalMedia {
  readonly mediaId: string;
  readonly mediaType: string;
  readonly createdTs: number;
  readonly uploadName: string | undefined;
  readonly length: number;
  readonly userId: string | undefined;
  readonly urlCache?: string | undefined;
  readonly sha256: string;
  readonly authenticated: boolean;
}

/** "system" where media of this content was quarantined, here or on a copy of remote media; else null. */
const QUARANTINE_OF_HASH = (sha256: string): string =>
  `CASE WHEN EXISTS (SELECT 1 FROM local_media_repository WHERE sha256 = ${sha256} AND quarantined_by IS NOT NULL)
     OR EXISTS (SELECT 1 FROM remote_media_cache WHERE sha256 = ${sha256} AND quarantined_by IS NOT NULL) THEN 'system' END`;

/** Writes the row of new media; in quarantine from the beginning where its content is. Returns whether it is. */
export async function insertLocalMedia(txn: Txn, media: NewLocalMedia): Promise<{ quarantined: boolean }> {
  const row = await queryOne<{ quarantined_by: string | null }>(
    txn,
    `INSERT INTO local_media_repository (media_id, media_type, created_ts, upload_name, media_length, user_id, url_cache, sha256, authenticated, quarantined_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, ${QUARANTINE_OF_HASH("$8")}) RETURNING quarantined_by`,
    [
      media.mediaId,
      media.mediaType,
      media.createdTs,
      media.uploadName ?? null,
      media.length,
      media.userId ?? null,
      media.urlCache ?? null,
      media.sha256,
      media.authenticated,
    ],
  );
  return { quarantined: row!.quarantined_by !== null };
}

/** Fills a reserved id, as `insertLocalMedia` does. undefined when it is filled already. */
export async function fillLocalMedia(
  txn: Txn,
  media: { mediaId: string; mediaType: string; uploadName: string | undefined; length: number; sha256: string },
): Promise<{ quarantined: boolean } | undefined> {
  const row = await queryOne<{ quarantined_by: string | null }>(
    txn,
    `UPDATE local_media_repository SET media_type = $2, upload_name = $3, media_length = $4, sha256 = $5, quarantined_by = ${QUARANTINE_OF_HASH("$5")}
     WHERE media_id = $1 AND media_length IS NULL RETURNING quarantined_by`,
    [media.mediaId, media.mediaType, media.uploadName ?? null, media.length, media.sha256],
  );
  return row === undefined ? undefined : { quarantined: row.quarantined_by !== null };
}

/** Reserved ids of a user that are neither filled nor expired: how many, and when the oldest was made. */
export async function pendingMedia(read: ReadHandle, userId: string, createdAfter: number): Promise<{ count: number; oldest: number | undefined }> {
  const row = await queryOne<{ count: number; oldest: number | null }>(
    read,
    `SELECT count(*) AS count, min(created_ts) AS oldest FROM local_media_repository WHERE user_id = $1 AND created_ts > $2 AND media_length IS NULL`,
    [userId, createdAfter],
  );
  return { count: row!.count, oldest: row!.oldest ?? undefined };
}

/** Bytes that a user uploaded after a time. */
export async function uploadedBytes(read: ReadHandle, userId: string, after: number): Promise<number> {
  const row = await queryOne<{ bytes: number | null }>(
    read,
    `SELECT sum(media_length)::bigint AS bytes FROM local_media_repository WHERE user_id = $1 AND created_ts > $2`,
    [userId, after],
  );
  return row!.bytes ?? 0;
}

/** True when media of this content was quarantined, here or on a copy of remote media. */
export async function isHashQuarantined(read: ReadHandle, sha256: string): Promise<boolean> {
  const row = await queryOne(
    read,
    `SELECT 1 AS found FROM local_media_repository WHERE sha256 = $1 AND quarantined_by IS NOT NULL
     UNION ALL SELECT 1 FROM remote_media_cache WHERE sha256 = $1 AND quarantined_by IS NOT NULL
     LIMIT 1`,
    [sha256],
  );
  return row !== undefined;
}

/** Notes when media was used last: `[origin (undefined: local), media id, ms]`. */
export async function touchMedia(txn: Txn, uses: readonly (readonly [string | undefined, string, number])[]): Promise<void> {
  const local = uses.filter(([origin]) => origin === undefined);
  const remote = uses.filter(([origin]) => origin !== undefined);
  await Promise.all([
    query(
      txn,
      `UPDATE local_media_repository AS m SET last_access_ts = used.ts FROM unnest($1::text[], $2::bigint[]) AS used (media_id, ts) WHERE m.media_id = used.media_id`,
      [local.map(([, id]) => id), local.map(([, , ts]) => ts)],
    ),
    query(
      txn,
      `UPDATE remote_media_cache AS m SET last_access_ts = used.ts
       FROM unnest($1::text[], $2::text[], $3::bigint[]) AS used (origin, media_id, ts)
       WHERE m.media_origin = used.origin AND m.media_id = used.media_id`,
      [remote.map(([origin]) => origin), remote.map(([, id]) => id), remote.map(([, , ts]) => ts)],
    ),
  ]);
}

/** Deletes media and thumbnail rows. */
export async function deleteLocalMediaRows(txn: Txn, mediaIds: readonly string[]): Promise<void> {
  await Promise.all([
    execute(txn, `DELETE FROM local_media_repository_thumbnails WHERE media_id = ANY($1)`, [mediaIds]),
    execute(txn, `DELETE FROM local_media_repository WHERE media_id = ANY($1)`, [mediaIds]),
  ]);
}
