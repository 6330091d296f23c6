import { JsonText } from "../../lib/json.ts";
import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** `room_tags` and `room_tags_revisions`: a user's tags of rooms, and the position of the last change for each room. */
export type Tags = Record<string, JsonText>;

interface Row {
  room_id: string;
  tag: string | null;
  content: string | null;
}

/** Rows as tags by room; a room without (tag null) has none. */
export function tagsByRoom(rows: readonly Row[]): Map<string, Tags> {
  const result = new Map<string, Tags>();
  for (const { room_id, tag, content } of rows) {
    let tags = result.get(room_id);
    if (tags === undefined) result.set(room_id, (tags = Object.create(null) as Tags));
    if (tag !== null) tags[tag] = new JsonText(content!);
  }
  return result;
}

/** Tags of a user by room, in `roomIds` (all rooms when undefined); rooms without tags are left out. */
export async function roomTags(read: ReadHandle, userId: string, roomIds: readonly string[] | undefined): Promise<Map<string, Tags>> {
  return tagsByRoom(
    await query<Row>(read, `SELECT room_id, tag, content FROM room_tags WHERE user_id = $1 AND ($2::text[] IS NULL OR room_id = ANY($2))`, [
      userId,
      roomIds ?? null,
    ]),
  );
}

/** All tags of each room whose tags changed at positions in (`after`, `upTo`]; empty objects where the last tag was removed. */
export async function roomTagsChangedBetween(
  read: ReadHandle,
  userId: string,
  after: number,
  upTo: number,
  roomIds: readonly string[] | undefined,
): Promise<Map<string, Tags>> {
  return tagsByRoom(
    await query<Row>(
      read,
      `SELECT revision.room_id, room_tags.tag, room_tags.content
       FROM room_tags_revisions AS revision LEFT JOIN room_tags ON room_tags.user_id = revision.user_id AND room_tags.room_id = revision.room_id
       WHERE revision.user_id = $1 AND revision.stream_id > $2 AND revision.stream_id <= $3 AND ($4::text[] IS NULL OR revision.room_id = ANY($4))`,
      [userId, after, upTo, roomIds ?? null],
    ),
  );
}

export async function putRoomTag(txn: Txn, userId: string, roomId: string, tag: string, content: string, streamId: number): Promise<void> {
  const written = execute(
    txn,
    `INSERT INTO room_tags (user_id, room_id, tag, content) VALUES ($1, $2, $3, $4)
     ON CONFLICT (user_id, room_id, tag) DO UPDATE SET content = EXCLUDED.content`,
    [userId, roomId, tag, content],
  );
  await Promise.all([written, putRevision(txn, userId, roomId, streamId)]);
}

/** Removes a tag if it is there; counts as a change in either case, as in Synapse. */
export async function deleteRoomTag(txn: Txn, userId: string, roomId: string, tag: string, streamId: number): Promise<void> {
  const removed = execute(txn, `DELETE FROM room_tags WHERE user_id = $1 AND room_id = $2 AND tag = $3`, [userId, roomId, tag]);
  await Promise.all([removed, putRevision(txn, userId, roomId, streamId)]);
}

async function putRevision(txn: Txn, userId: string, roomId: string, streamId: number): Promise<void> {
  await execute(
    txn,
    `INSERT INTO room_tags_revisions (user_id, room_id, stream_id) VALUES ($1, $2, $3)
     ON CONFLICT (user_id, room_id) DO UPDATE SET stream_id = EXCLUDED.stream_id`,
    [userId, roomId, streamId],
  );
}
