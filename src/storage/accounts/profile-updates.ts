import type { JsonObject } from "../../lib/json.ts";
import { query, type ReadHandle } from "../database.ts";

/** An entry of the profile stream (MSC4262, MSC4429). */
export interface ProfileUpdate {
  readonly userId: string;
  readonly action: "update" | "joined_room" | "left_room";
  /** Which fields changed, for an update. */
  readonly fields: readonly string[] | null;
}

/** What the user is told at positions in (`since`, `upTo`], in order. Of updates only those of the `fields`; undefined: of any. */
export async function profileUpdatesFor(
  h: ReadHandle,
  userId: string,
  range: { readonly since: number; readonly upTo: number },
  fields: readonly string[] | undefined,
): Promise<ProfileUpdate[]> {
  return await query(
    h,
    `SELECT u.user_id AS "userId", u.action, u.affected_fields AS fields
     FROM profile_updates_per_user AS p JOIN profile_updates AS u ON u.stream_id = p.stream_id
     WHERE p.user_id = $1 AND p.stream_id > $2 AND p.stream_id <= $3
       AND (u.action <> 'update' OR ($4::text[] IS NULL AND u.affected_fields IS NOT NULL) OR u.affected_fields ?| $4::text[])
     ORDER BY u.stream_id`,
    [userId, range.since, range.upTo, fields ?? null],
  );
}

/** The profiles of local users by id: names and avatars, null where there are none, and fields of their own. Users without a profile are left out. */
export async function profilesOf(h: ReadHandle, userIds: readonly string[]): Promise<Map<string, JsonObject>> {
  if (userIds.length === 0) return new Map();
  const rows = await query<{ userId: string; profile: JsonObject }>(
    h,
    `SELECT p.full_user_id AS "userId",
       coalesce(p.fields, '{}'::jsonb) || jsonb_build_object('displayname', p.displayname, 'avatar_url', p.avatar_url) AS profile
     FROM profiles AS p WHERE p.full_user_id = ANY($1)`,
    [userIds],
  );
  return new Map(rows.map(({ userId, profile }) => [userId, profile]));
}
