import { query, type ReadHandle } from "../../src/storage/database.ts";

export interface MediaRow {
  /** Null: our own. */
  readonly origin: string | null;
  readonly file_id: string;
  readonly media_id: string;
  readonly media_length: number | null;
  readonly sha256: string | null;
}

/**
 * Uploads, and other servers' media, that stand next after each of these letters (by the indexes on the ids); previews' pictures and
 * uploads that never came left out.
 */
export async function mediaSample(h: ReadHandle, letters: readonly string[], each: number): Promise<MediaRow[]> {
  return await query(
    h,
    `SELECT NULL::text AS origin, m.media_id AS file_id, m.media_id, m.media_length, m.sha256
     FROM unnest($1::text[]) AS p (letter) CROSS JOIN LATERAL (
       SELECT * FROM local_media_repository AS l WHERE l.media_id >= p.letter AND l.url_cache IS NULL AND l.media_length IS NOT NULL ORDER BY l.media_id LIMIT $2) AS m
     UNION
     SELECT m.media_origin, m.filesystem_id, m.media_id, m.media_length, m.sha256
     FROM unnest($1::text[]) AS p (letter) CROSS JOIN LATERAL (
       SELECT * FROM remote_media_cache AS r WHERE r.media_origin >= p.letter AND r.media_length IS NOT NULL AND r.filesystem_id IS NOT NULL
       ORDER BY r.media_origin, r.media_id LIMIT $2) AS m`,
    [letters, each],
  );
}
