import { queryOne, type ReadHandle } from "../database.ts";

/** What a new membership of a local user depends on beside the room's state, in one statement. */
export interface JoinFacts {
  /** An admin blocked the room. */
  readonly blocked: boolean;
  readonly displayName: string | null;
  readonly avatarUrl: string | null;
}

/** `userId` undefined, or of another server: no profile. */
export async function joinFacts(h: ReadHandle, roomId: string, userId: string | undefined): Promise<JoinFacts> {
  const row = await queryOne<{ blocked: boolean; displayname: string | null; avatar_url: string | null }>(
    h,
    `SELECT EXISTS (SELECT FROM blocked_rooms WHERE blocked_rooms.room_id = $1) AS blocked, profiles.displayname, profiles.avatar_url
       FROM (SELECT $2::text AS user_id) AS wanted LEFT JOIN profiles ON profiles.full_user_id = wanted.user_id`,
    [roomId, userId ?? null],
  );
  return { blocked: row!.blocked, displayName: row!.displayname, avatarUrl: row!.avatar_url };
}
