import { query, type ReadHandle } from "../database.ts";

/** A row of `event_push_actions` that notified a user. */
export interface Notification {
  readonly eventId: string;
  readonly roomId: string;
  readonly streamOrdering: number;
  readonly depth: number | bigint;
  /** As the column has it: see `readActions`. */
  readonly actions: string;
  readonly highlight: boolean;
  readonly profileTag: string | null;
  readonly receivedTs: number | null;
}

/** What notified a user before a stream position, newest first. */
export async function notificationsBefore(
  read: ReadHandle,
  userId: string,
  before: number | undefined,
  limit: number,
  onlyHighlights: boolean,
): Promise<Notification[]> {
  return await query<Notification>(
    read,
    `SELECT action.event_id AS "eventId", action.room_id AS "roomId", action.stream_ordering AS "streamOrdering", action.topological_ordering AS depth,
       action.actions, action.highlight = 1 AS highlight, action.profile_tag AS "profileTag", events.received_ts AS "receivedTs"
     FROM event_push_actions AS action JOIN events ON events.event_id = action.event_id
     WHERE action.user_id = $1 AND action.notif = 1 AND ($2::bigint IS NULL OR action.stream_ordering < $2) AND (NOT $4 OR action.highlight = 1)
     ORDER BY action.stream_ordering DESC LIMIT $3`,
    [userId, before ?? null, limit, onlyHighlights],
  );
}
