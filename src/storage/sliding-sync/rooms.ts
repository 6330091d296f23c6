import { query, type ReadHandle } from "../database.ts";

/** A room of a user's list: their membership, and what lists are filtered and sorted by. */
export interface ListRoom {
  readonly room_id: string;
  readonly sender: string;
  readonly membership: string;
  readonly membership_event_id: string;
  /** Position of the membership event. */
  readonly membership_ordering: number;
  readonly forgotten: number;
  readonly has_known_state: boolean;
  readonly room_type: string | null;
  readonly room_name: string | null;
  readonly is_encrypted: boolean;
  readonly tombstone_successor_room_id: string | null;
  /** Position of the room's last event; of the membership event where the user is not joined. */
  readonly last_ordering: number;
  readonly bump_stamp: number | null;
}

/** The rooms of a user, or those of `roomIds`. */
export function listRooms(read: ReadHandle, userId: string, roomIds?: readonly string[]): Promise<ListRoom[]> {
  return query<ListRoom>(
    read,
    `SELECT m.room_id, m.sender, m.membership, m.membership_event_id, m.event_stream_ordering AS membership_ordering, m.forgotten,
            m.has_known_state OR j.room_id IS NOT NULL AS has_known_state,
            CASE WHEN j.room_id IS NULL THEN m.room_type ELSE j.room_type END AS room_type,
            CASE WHEN j.room_id IS NULL THEN m.room_name ELSE j.room_name END AS room_name,
            CASE WHEN j.room_id IS NULL THEN m.is_encrypted ELSE j.is_encrypted END AS is_encrypted,
            CASE WHEN j.room_id IS NULL THEN m.tombstone_successor_room_id ELSE j.tombstone_successor_room_id END AS tombstone_successor_room_id,
            coalesce(j.event_stream_ordering, m.event_stream_ordering) AS last_ordering,
            j.bump_stamp
     FROM sliding_sync_membership_snapshots AS m
     LEFT JOIN sliding_sync_joined_rooms AS j ON j.room_id = m.room_id AND m.membership = 'join'
     WHERE m.user_id = $1 AND ($2::text[] IS NULL OR m.room_id = ANY($2))`,
    [userId, roomIds ?? null],
  );
}

/** Rooms with an event after a position, of those given. */
export async function roomsWithNewEvents(read: ReadHandle, roomIds: readonly string[], after: number): Promise<string[]> {
  const rows = await query<{ room_id: string }>(read, `SELECT room_id FROM sliding_sync_joined_rooms WHERE room_id = ANY($1) AND event_stream_ordering > $2`, [
    roomIds,
    after,
  ]);
  return rows.map((row) => row.room_id);
}
