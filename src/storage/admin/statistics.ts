import { query, type ReadHandle } from "../database.ts";
import { from, type Page, pageOf, type PageRequest } from "../query-builder.ts";

export const MEDIA_USAGE_ORDERS = ["media_length", "media_count", "user_id", "displayname"] as const;
export type MediaUsageOrder = (typeof MEDIA_USAGE_ORDERS)[number];

/** What a user has uploaded. */
export interface MediaUsage {
  readonly user_id: string | null;
  readonly displayname: string | null;
  readonly media_count: number;
  /** Bytes. */
  readonly media_length: number | null;
}

/** Uploads by user, of those made within the bounds (milliseconds). */
export async function mediaUsage(
  h: ReadHandle,
  filter: { readonly since: number; readonly until: number | undefined; readonly searchTerm: string | undefined },
  order: { readonly by: MediaUsageOrder; readonly descending: boolean },
  page: PageRequest,
): Promise<Page<MediaUsage>> {
  const grouped = from("local_media_repository as media")
    .leftJoin("profiles as p", "media.user_id", "p.full_user_id")
    .select("media.user_id", "p.displayname")
    .count("media.user_id as media_count")
    .sum("media.media_length as media_length")
    .groupBy("media.user_id", "p.displayname");
  if (filter.searchTerm !== undefined)
    grouped.whereRaw("(media.user_id LIKE ? OR p.displayname LIKE ?)", [`@%${filter.searchTerm}%:%`, `%${filter.searchTerm}%`]);
  if (filter.since > 0) grouped.whereRaw("media.created_ts >= ?", [filter.since]);
  if (filter.until !== undefined) grouped.whereRaw("media.created_ts <= ?", [filter.until]);
  const columns = ["usage.user_id", "usage.displayname", "usage.media_count", "usage.media_length::bigint AS media_length"];
  return await pageOf(h, from(grouped.as("usage") as unknown as string), columns, `usage.${order.by} ${order.descending ? "DESC" : "ASC"}`, page);
}

const LARGE_TABLES = ["event_json", "events", "event_search", "event_edges", "event_push_actions", "stream_ordering_to_exterm", "state_groups_state"];

/**
 * The ten rooms that take most space, in bytes, by Postgres' own statistics of the large tables. Tables that have not been analysed yet
 * count nothing.
 */
export async function largestRooms(h: ReadHandle): Promise<{ room_id: string; estimated_size: number }[]> {
  return await query(
    h,
    `SELECT given.room_id, sum(floor(given.freq::numeric * pg_total_relation_size(format('%I.%I', s.schemaname, s.tablename)::regclass)))::bigint AS estimated_size
       FROM pg_stats AS s
       CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs::text::numeric[]) AS given (room_id, freq)
      WHERE s.tablename = ANY($1::text[]) AND s.attname = 'room_id' AND s.schemaname = ANY(current_schemas(false))
      GROUP BY given.room_id ORDER BY estimated_size DESC LIMIT 10`,
    [LARGE_TABLES],
  );
}
