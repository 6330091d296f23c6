import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** What was found at an address: a row of `local_media_repository_url_cache`. */
export interface CachedPreview {
  readonly response_code: number;
  readonly expires_ts: number;
  /** JSON text. */
  readonly og: string;
}

/** The last preview of an address that was made until then; else the first one after. */
export function cachedPreview(read: ReadHandle, url: string, at: number): Promise<CachedPreview | undefined> {
  return queryOne<CachedPreview>(
    read,
    `SELECT c.response_code, c.expires_ts, c.og FROM local_media_repository_url_cache AS c WHERE c.url = $1
     ORDER BY c.download_ts <= $2 DESC, abs(c.download_ts - $2) LIMIT 1`,
    [url, at],
  );
}

export async function insertPreview(
  txn: Txn,
  preview: { url: string; responseCode: number; etag: string | undefined; expiresTs: number; og: string; mediaId: string; downloadTs: number },
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO local_media_repository_url_cache (url, response_code, etag, expires_ts, og, media_id, download_ts) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [preview.url, preview.responseCode, preview.etag ?? null, preview.expiresTs, preview.og, preview.mediaId, preview.downloadTs],
  );
}

/** Previews that are out of date, the oldest first. `isImage`: clients may still show the file itself. */
export function expiredPreviews(read: ReadHandle, now: number, limit: number): Promise<{ media_id: string; isImage: boolean }[]> {
  return query(
    read,
    `SELECT c.media_id, coalesce(m.media_type ILIKE 'image/%', false) AS "isImage"
     FROM local_media_repository_url_cache AS c LEFT JOIN local_media_repository AS m ON m.media_id = c.media_id
     WHERE c.expires_ts < $1 ORDER BY c.expires_ts LIMIT $2`,
    [now, limit],
  );
}

export async function deletePreviews(txn: Txn, mediaIds: readonly string[]): Promise<void> {
  await execute(txn, `DELETE FROM local_media_repository_url_cache WHERE media_id = ANY($1)`, [mediaIds]);
}

/** Files that were fetched for previews before a time, the oldest first. */
export async function previewMediaBefore(read: ReadHandle, before: number, limit: number): Promise<string[]> {
  const rows = await query<{ media_id: string }>(
    read,
    `SELECT media_id FROM local_media_repository WHERE created_ts < $1 AND url_cache IS NOT NULL ORDER BY created_ts LIMIT $2`,
    [before, limit],
  );
  return rows.map((row) => row.media_id);
}
