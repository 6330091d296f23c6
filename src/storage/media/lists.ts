import { execute, query, type ReadHandle, type Txn } from "../database.ts";
import { from, type Page, pageOf, type PageRequest } from "../query-builder.ts";
import type { LocalMedia } from "./local-media.ts";

export const MEDIA_ORDERS = [
  "media_id",
  "upload_name",
  "created_ts",
  "last_access_ts",
  "media_length",
  "media_type",
  "quarantined_by",
  "safe_from_quarantine",
] as const;
export type MediaOrder = (typeof MEDIA_ORDERS)[number];

const COLUMNS = [
  "m.media_id",
  "m.media_type",
  "m.media_length",
  "m.upload_name",
  "m.created_ts",
  "m.url_cache",
  "m.last_access_ts",
  "m.quarantined_by",
  "m.safe_from_quarantine",
  "m.user_id",
  "m.authenticated",
  "m.sha256",
];

/** A page of what a user uploaded. */
export async function mediaOfUser(
  h: ReadHandle,
  userId: string,
  order: { readonly by: MediaOrder; readonly descending: boolean },
  page: PageRequest,
): Promise<Page<LocalMedia>> {
  const base = from("local_media_repository as m").whereRaw("m.user_id = ?", [userId]);
  return await pageOf(h, base, COLUMNS, `m.${order.by} ${order.descending ? "DESC" : "ASC"}, m.media_id ASC`, page);
}

export interface OldMediaFilter {
  /** Not used (or where it never was, not made) since: milliseconds. */
  readonly before: number;
  /** Bytes. */
  readonly largerThan: number;
  /** Leaves out what is an avatar of a user or a room. */
  readonly keepProfiles: boolean;
  readonly serverName: string;
}

/** Local media that may go: neither in quarantine nor protected. */
export async function oldLocalMedia(h: ReadHandle, filter: OldMediaFilter): Promise<string[]> {
  const rows = await query<{ media_id: string }>(
    h,
    `SELECT m.media_id FROM local_media_repository AS m
      WHERE (m.last_access_ts < $1 OR (m.created_ts < $1 AND m.last_access_ts IS NULL)) AND m.media_length > $2
        AND m.quarantined_by IS NULL AND NOT m.safe_from_quarantine
        AND (NOT $3 OR NOT (
          EXISTS (SELECT FROM profiles AS p WHERE p.avatar_url = $4 || m.media_id)
          OR EXISTS (SELECT FROM room_memberships AS r WHERE r.avatar_url = $4 || m.media_id)
          OR EXISTS (SELECT FROM user_directory AS d WHERE d.avatar_url = $4 || m.media_id)
          OR EXISTS (SELECT FROM room_stats_state AS s WHERE s.avatar = $4 || m.media_id)))`,
    [filter.before, filter.largerThan, filter.keepProfiles, `mxc://${filter.serverName}/`],
  );
  return rows.map((row) => row.media_id);
}

/** Copies of remote media that were not used since a time (milliseconds) and are not in quarantine. */
export async function oldRemoteMedia(h: ReadHandle, before: number): Promise<{ media_origin: string; media_id: string; filesystem_id: string }[]> {
  return await query(h, "SELECT media_origin, media_id, filesystem_id FROM remote_media_cache WHERE last_access_ts < $1 AND quarantined_by IS NULL", [before]);
}

/** Of these local media, those that belong to URL previews. */
export async function previewsAmong(h: ReadHandle, mediaIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ media_id: string }>(h, "SELECT media_id FROM local_media_repository WHERE media_id = ANY($1) AND url_cache IS NOT NULL", [
    mediaIds,
  ]);
  return new Set(rows.map((row) => row.media_id));
}

/** URL previews that show these media go with them. */
export async function deletePreviewsOf(txn: Txn, mediaIds: readonly string[]): Promise<void> {
  await execute(txn, "DELETE FROM local_media_repository_url_cache WHERE media_id = ANY($1)", [mediaIds]);
}

/** The JSON of a room's events that hold a URL, newest first, at most `limit` below a stream position. */
export async function eventsWithUrls(
  h: ReadHandle,
  roomId: string,
  below: number | undefined,
  limit: number,
): Promise<{ stream_ordering: number; json: string }[]> {
  return await query(
    h,
    `SELECT e.stream_ordering, j.json FROM events AS e JOIN event_json AS j ON j.room_id = e.room_id AND j.event_id = e.event_id
      WHERE e.room_id = $1 AND ($2::bigint IS NULL OR e.stream_ordering < $2) AND e.contains_url AND NOT e.outlier
      ORDER BY e.stream_ordering DESC LIMIT $3`,
    [roomId, below ?? null, limit],
  );
}
