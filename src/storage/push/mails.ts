import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** What e-mail pushers read and keep. */

/** An unread event that notifies a user. */
export interface UnreadNotification {
  readonly eventId: string;
  readonly roomId: string;
  readonly streamOrdering: number;
  /** When this server got it, milliseconds. */
  readonly receivedTs: number;
  /** When the notification before it in that room came; null: none is known any more. */
  readonly previousTs: number | null;
}

/** What notifies a user at positions in (`after`, `upTo`] and was not read since: the newest `limit`, newest first. */
export async function unreadNotifications(read: ReadHandle, userId: string, after: number, upTo: number, limit: number): Promise<UnreadNotification[]> {
  return await query<UnreadNotification>(
    read,
    `SELECT a.event_id AS "eventId", a.room_id AS "roomId", a.stream_ordering AS "streamOrdering", coalesce(e.received_ts, 0) AS "receivedTs",
       (SELECT earlier.received_ts FROM event_push_actions AS b JOIN events AS earlier USING (event_id)
        WHERE b.user_id = $1 AND b.room_id = a.room_id AND b.notif = 1 AND b.stream_ordering < a.stream_ordering
        ORDER BY b.stream_ordering DESC LIMIT 1) AS "previousTs"
     FROM event_push_actions AS a JOIN events AS e USING (event_id)
     WHERE a.user_id = $1 AND a.stream_ordering > $2 AND a.stream_ordering <= $3 AND a.notif = 1
       AND NOT EXISTS (
         SELECT FROM receipts_linearized AS r
         WHERE r.user_id = $1 AND r.room_id = a.room_id AND r.receipt_type IN ('m.read', 'm.read.private')
           AND (r.thread_id IS NULL OR r.thread_id = a.thread_id) AND r.event_stream_ordering >= a.stream_ordering)
     ORDER BY a.stream_ordering DESC LIMIT $4`,
    [userId, after, upTo, limit],
  );
}

/** The events that stand right before these in their rooms' timelines, by the id of the later one. */
export async function eventsBefore(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await query<{ event_id: string; before: string }>(
    read,
    `SELECT e.event_id, b.event_id AS before
     FROM events AS e CROSS JOIN LATERAL (
       SELECT p.event_id FROM events AS p
       WHERE p.room_id = e.room_id AND NOT p.outlier AND p.rejection_reason IS NULL
         AND (p.topological_ordering, p.stream_ordering) < (e.topological_ordering, e.stream_ordering)
       ORDER BY p.topological_ordering DESC, p.stream_ordering DESC LIMIT 1) AS b
     WHERE e.event_id = ANY($1::text[]) AND NOT e.outlier`,
    [eventIds],
  );
  return new Map(rows.map(({ event_id: eventId, before }) => [eventId, before]));
}

/** When a pusher last wrote about a room, and how long it waits before the next mail about it (milliseconds). */
export interface Throttle {
  readonly lastSentTs: number;
  readonly throttleMs: number;
}

/** The throttles of a pusher by room. */
export async function pusherThrottles(read: ReadHandle, pusherId: number): Promise<Map<string, Throttle>> {
  const rows = await query<{ room_id: string; last_sent_ts: number | null; throttle_ms: number | null }>(
    read,
    `SELECT room_id, last_sent_ts, throttle_ms FROM pusher_throttle WHERE pusher = $1`,
    [pusherId],
  );
  return new Map(rows.map((row) => [row.room_id, { lastSentTs: row.last_sent_ts ?? 0, throttleMs: row.throttle_ms ?? 0 }]));
}

export async function putPusherThrottles(txn: Txn, pusherId: number, throttles: ReadonlyMap<string, Throttle>): Promise<void> {
  const values = [...throttles.values()];
  await execute(
    txn,
    `INSERT INTO pusher_throttle (pusher, room_id, last_sent_ts, throttle_ms)
     SELECT $1, new.room_id, new.last_sent_ts, new.throttle_ms FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS new (room_id, last_sent_ts, throttle_ms)
     ON CONFLICT (pusher, room_id) DO UPDATE SET last_sent_ts = EXCLUDED.last_sent_ts, throttle_ms = EXCLUDED.throttle_ms`,
    [pusherId, [...throttles.keys()], values.map(({ lastSentTs }) => lastSentTs), values.map(({ throttleMs }) => throttleMs)],
  );
}
