import { query, type ReadHandle } from "../database.ts";

/** A change of a member's state; null: no membership event. */
export interface MembershipMove {
  readonly roomId: string;
  readonly userId: string;
  readonly before: string | null;
  readonly now: string | null;
}

/** Membership changes of a user anywhere, and of everybody in `roomIds`, at stream positions in (`after`, `upTo`], oldest first. */
export async function membershipHistory(read: ReadHandle, userId: string, roomIds: readonly string[], after: number, upTo: number): Promise<MembershipMove[]> {
  return await query<MembershipMove>(
    read,
    `SELECT delta.room_id AS "roomId", delta.state_key AS "userId", old.membership AS before, new.membership AS now
     FROM current_state_delta_stream AS delta
     LEFT JOIN room_memberships AS old ON old.event_id = delta.prev_event_id
     LEFT JOIN room_memberships AS new ON new.event_id = delta.event_id
     WHERE delta.type = 'm.room.member' AND delta.stream_id > $3 AND delta.stream_id <= $4 AND (delta.state_key = $1 OR delta.room_id = ANY($2::text[]))
     ORDER BY delta.stream_id`,
    [userId, roomIds, after, upTo],
  );
}
