import { query, type ReadHandle } from "../database.ts";

/** One stored event as the database has it, with what may redact it. */
export interface StoredEventRow {
  event_id: string;
  room_id: string;
  stream_ordering: number | null;
  outlier: boolean;
  json: string;
  internal_metadata: string;
  /** null in very old rows: room versions 1 and 2. */
  format_version: number | null;
  /** null for out-of-band memberships of old. */
  room_version: string | null;
  rejected: string | null;
  /** Redactions of the event: id of the redaction event, and whether its right is still to be checked. */
  redactions: [eventId: string, recheck: boolean][] | null;
  /** Bans that redact all of the sender's events (MSC4293): id of the membership event, and the position where that ended. */
  ban_redactions: [eventId: string, end: number | null][] | null;
}

/** The stored events of these ids; unknown ids are left out. */
export async function readEventRows(read: ReadHandle, eventIds: readonly string[]): Promise<StoredEventRow[]> {
  return await query<StoredEventRow>(
    read,
    `SELECT e.event_id, e.room_id, e.stream_ordering, e.outlier, j.json, j.internal_metadata, j.format_version, r.room_version, x.reason AS rejected,
       (SELECT json_agg(json_build_array(d.event_id, d.recheck)) FROM redactions AS d WHERE d.redacts = e.event_id) AS redactions,
       (SELECT json_agg(json_build_array(b.redacting_event_id, b.redact_end_ordering)) FROM room_ban_redactions AS b
        WHERE b.room_id = e.room_id AND b.user_id = e.sender) AS ban_redactions
     FROM events AS e
     JOIN event_json AS j ON j.event_id = e.event_id
     LEFT JOIN rooms AS r ON r.room_id = e.room_id
     LEFT JOIN rejections AS x ON x.event_id = e.event_id
     WHERE e.event_id = ANY($1)`,
    [eventIds],
  );
}

export interface EventFlags {
  readonly roomId: string;
  readonly outlier: boolean;
  readonly rejected: boolean;
  readonly softFailed: boolean;
  readonly depth: number | bigint;
  readonly streamOrdering: number;
}

/** What is known of each event that is stored at all; unknown ids are left out. */
export async function readEventFlags(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, EventFlags>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{
    event_id: string;
    room_id: string;
    outlier: boolean;
    rejected: boolean;
    depth: number | bigint;
    stream_ordering: number;
    soft_failed: boolean;
  }>(
    read,
    `SELECT e.event_id, e.room_id, e.outlier, e.rejection_reason IS NOT NULL OR EXISTS (SELECT FROM rejections AS x WHERE x.event_id = e.event_id) AS rejected,
       e.depth, e.stream_ordering, j.internal_metadata LIKE '%"soft_failed":true%' AS soft_failed
     FROM events AS e JOIN event_json AS j ON j.event_id = e.event_id
     WHERE e.event_id = ANY($1)`,
    [eventIds],
  );
  return new Map(
    rows.map((row) => [
      row.event_id,
      { roomId: row.room_id, outlier: row.outlier, rejected: row.rejected, softFailed: row.soft_failed, depth: row.depth, streamOrdering: row.stream_ordering },
    ]),
  );
}
