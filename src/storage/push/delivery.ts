import { query, type ReadHandle } from "../database.ts";
import { readActions } from "./actions.ts";

/** An unread event that notifies a user. */
export interface PendingPush {
  readonly eventId: string;
  readonly roomId: string;
  readonly streamOrdering: number;
  readonly actions: readonly unknown[];
}

/** What notifies a user at positions in (`after`, `upTo`] and was not read since, oldest first, at most `limit`. */
export async function pendingPushes(read: ReadHandle, userId: string, after: number, upTo: number, limit: number): Promise<PendingPush[]> {
  const rows = await query<{ eventId: string; roomId: string; streamOrdering: number; actions: string; highlight: number }>(
    read,
    `SELECT a.event_id AS "eventId", a.room_id AS "roomId", a.stream_ordering AS "streamOrdering", a.actions, a.highlight
     FROM event_push_actions AS a
     WHERE a.user_id = $1 AND a.stream_ordering > $2 AND a.stream_ordering <= $3 AND a.notif = 1
       AND NOT EXISTS (
         SELECT FROM receipts_linearized AS r
         WHERE r.user_id = $1 AND r.room_id = a.room_id AND r.receipt_type IN ('m.read', 'm.read.private')
           AND (r.thread_id IS NULL OR r.thread_id = a.thread_id) AND r.event_stream_ordering >= a.stream_ordering)
     ORDER BY a.stream_ordering LIMIT $4`,
    [userId, after, upTo, limit],
  );
  return rows.map(({ actions, highlight, ...row }) => ({ ...row, actions: readActions(actions, highlight === 1) }));
}

/** Users whose pushers may have something to push since they stopped. */
export async function usersWithPendingPushes(read: ReadHandle): Promise<string[]> {
  const rows = await query<{ user_name: string }>(
    read,
    `SELECT DISTINCT p.user_name FROM pushers AS p
     WHERE coalesce(p.enabled, true) AND EXISTS (
       SELECT FROM event_push_actions AS a WHERE a.user_id = p.user_name AND a.notif = 1 AND a.stream_ordering > coalesce(p.last_stream_ordering, 0))`,
  );
  return rows.map((row) => row.user_name);
}

/** Users who read something at receipt positions in (`after`, `upTo`]. */
export async function usersWithReceipts(read: ReadHandle, after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    read,
    `SELECT DISTINCT user_id FROM receipts_linearized WHERE stream_id > $1 AND stream_id <= $2 AND receipt_type IN ('m.read', 'm.read.private')`,
    [after, upTo],
  );
  return rows.map((row) => row.user_id);
}

/** Users whose pushers were set or removed at positions in (`after`, `upTo`] of the pushers stream. */
export async function usersWithChangedPushers(read: ReadHandle, after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    read,
    `SELECT user_name AS user_id FROM pushers WHERE id > $1 AND id <= $2
     UNION SELECT user_id FROM deleted_pushers WHERE stream_id > $1 AND stream_id <= $2`,
    [after, upTo],
  );
  return rows.map((row) => row.user_id);
}
