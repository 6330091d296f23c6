import type { Batch } from "./batch.ts";
import { bulk, type Writer } from "./bulk.ts";

/**
 * Entries of the profile stream for local users who came to a room or left it: who came is told to the room's local members, who left to those of
 * them with whom they share no other room, and what these were told of them before is taken back. Follows the tables of memberships. Without
 * anybody to tell there is no entry. (Synapse also notes each change of a name as a coming, and a leave to all who still share a room where nobody
 * does not: entries without meaning, and with a wrong one.)
 */
export async function recordProfileMoves(txn: Writer, batch: Batch): Promise<unknown> {
  return await bulk(
    txn,
    { stream_id: "bigint", user_id: "text", room_id: "text", action: "text" },
    `WITH moves AS (SELECT row.stream_id, row.user_id, row.room_id, row.action FROM ROWS),
     audience AS (
       SELECT m.stream_id, m.user_id, m.action, l.user_id AS told
       FROM moves AS m JOIN local_current_membership AS l ON l.room_id = m.room_id AND l.membership = 'join' AND l.user_id <> m.user_id
       WHERE m.action = 'joined_room' OR NOT EXISTS (
         SELECT FROM local_current_membership AS own JOIN local_current_membership AS theirs ON theirs.room_id = own.room_id
         WHERE own.user_id = m.user_id AND own.membership = 'join' AND theirs.user_id = l.user_id AND theirs.membership = 'join')
     ),
     taken_back AS (
       DELETE FROM profile_updates_per_user AS p USING audience AS a, profile_updates AS u
       WHERE a.action = 'left_room' AND p.user_id = a.told AND u.stream_id = p.stream_id AND u.user_id = a.user_id
     ),
     entries AS (
       INSERT INTO profile_updates (stream_id, instance_name, user_id, action, affected_fields, inserted_ts)
       SELECT DISTINCT a.stream_id, $5, a.user_id, a.action, NULL::jsonb, $6::bigint FROM audience AS a
     )
     INSERT INTO profile_updates_per_user (stream_id, user_id, inserted_ts) SELECT a.stream_id, a.told, $6::bigint FROM audience AS a`,
    batch.rooms.flatMap((room) => room.profileMoves.map(({ streamId, userId, action }) => [streamId, userId, room.roomId, action])),
    [batch.instance, batch.now],
  );
}
