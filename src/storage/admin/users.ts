import { query, queryOne, type ReadHandle } from "../database.ts";
import { from, type Page, pageOf, type PageRequest } from "../query-builder.ts";

/** Lists and counts about users that only the admin API asks for. */
export const USER_ORDERS = [
  "name",
  "displayname",
  "is_guest",
  "admin",
  "deactivated",
  "user_type",
  "avatar_url",
  "shadow_banned",
  "creation_ts",
  "last_seen_ts",
  "locked",
] as const;
export type UserOrder = (typeof USER_ORDERS)[number];

export interface UserFilter {
  /** Part of the localpart or the display name. */
  readonly name: string | undefined;
  /** Part of the user id; counts only without `name`. */
  readonly userId: string | undefined;
  readonly guests: boolean;
  /** undefined: all. */
  readonly deactivated: boolean | undefined;
  readonly admins: boolean | undefined;
  readonly suspended: boolean | undefined;
  readonly shadowBanned: boolean | undefined;
  /** False: only those who wait for approval. */
  readonly approved: boolean;
  /** Locked users too. */
  readonly locked: boolean;
  /** Types left out; "" stands for users without a type. */
  readonly notUserTypes: readonly string[];
}

/** A user in the list; times in milliseconds. */
export interface ListedUser {
  readonly name: string;
  readonly user_type: string | null;
  readonly is_guest: boolean;
  readonly admin: boolean;
  readonly deactivated: boolean;
  readonly shadow_banned: boolean;
  readonly displayname: string | null;
  readonly avatar_url: string | null;
  readonly creation_ts: number;
  readonly approved: boolean;
  readonly erased: boolean;
  readonly last_seen_ts: number | null;
  readonly locked: boolean;
}

const LIST_COLUMNS = [
  "u.name",
  "u.user_type",
  "u.is_guest <> 0 AS is_guest",
  "u.admin <> 0 AS admin",
  "u.deactivated <> 0 AS deactivated",
  "coalesce(u.shadow_banned, false) AS shadow_banned",
  "p.displayname",
  "p.avatar_url",
  "u.creation_ts * 1000 AS creation_ts",
  "coalesce(u.approved, false) AS approved",
  "erased_users.user_id IS NOT NULL AS erased",
  "coalesce(of_devices.last_seen_ts, of_ips.last_seen_ts) AS last_seen_ts",
  "coalesce(u.locked, false) AS locked",
];

const SORT_COLUMNS: Readonly<Record<UserOrder, string>> = {
  name: "u.name",
  displayname: "p.displayname",
  is_guest: "u.is_guest",
  admin: "u.admin",
  deactivated: "u.deactivated",
  user_type: "u.user_type",
  avatar_url: "p.avatar_url",
  shadow_banned: "u.shadow_banned",
  creation_ts: "u.creation_ts",
  last_seen_ts: "last_seen_ts",
  locked: "u.locked",
};

/** A page of the accounts. Wildcards in the texts count as such, as in Synapse. */
export async function listUsers(
  h: ReadHandle,
  filter: UserFilter,
  order: { by: UserOrder; descending: boolean },
  page: PageRequest,
): Promise<Page<ListedUser>> {
  const base = from("users as u").leftJoin("profiles as p", "u.name", "p.full_user_id").leftJoin("erased_users", "u.name", "erased_users.user_id");
  const name = filter.name?.toLowerCase();
  if (name) base.whereRaw("(u.name LIKE ? OR lower(p.displayname) LIKE ?)", [`@%${name}%:%`, `%${name}%`]);
  else if (filter.userId) base.whereRaw("u.name LIKE ?", [`%${filter.userId.toLowerCase()}%`]);
  if (!filter.guests) base.whereRaw("u.is_guest = 0");
  if (filter.deactivated !== undefined) base.whereRaw("u.deactivated = ?", [filter.deactivated ? 1 : 0]);
  if (!filter.locked) base.whereRaw("u.locked IS FALSE");
  if (filter.admins !== undefined) base.whereRaw("u.admin = ?", [filter.admins ? 1 : 0]);
  if (filter.suspended !== undefined) base.whereRaw("coalesce(u.suspended, false) = ?", [filter.suspended]);
  if (filter.shadowBanned !== undefined) base.whereRaw("coalesce(u.shadow_banned, false) = ?", [filter.shadowBanned]);
  if (!filter.approved) base.whereRaw("u.approved IS FALSE");
  const types = filter.notUserTypes.filter((type) => type !== "");
  const typeless = filter.notUserTypes.includes("");
  if (typeless) base.whereRaw("u.user_type IS NOT NULL");
  if (types.length > 0) base.whereRaw("(u.user_type IS NULL OR NOT u.user_type = ANY(?::text[]))", [types]);
  const seen = base
    .leftJoin(from("devices").select("user_id").max("last_seen as last_seen_ts").groupBy("user_id").as("of_devices"), "u.name", "of_devices.user_id")
    .leftJoin(from("user_ips").select("user_id").max("last_seen as last_seen_ts").groupBy("user_id").as("of_ips"), "u.name", "of_ips.user_id");
  return await pageOf(h, seen, LIST_COLUMNS, `${SORT_COLUMNS[order.by]} ${order.descending ? "DESC" : "ASC"}, u.name ASC`, page);
}

/** Accounts whose id holds the term (the old search). */
export async function searchUsers(
  h: ReadHandle,
  term: string,
): Promise<{ name: string; password_hash: string | null; is_guest: boolean; admin: boolean; user_type: string | null }[]> {
  return await query(h, "SELECT name, password_hash, is_guest <> 0 AS is_guest, admin <> 0 AS admin, user_type FROM users WHERE name LIKE $1", [`%${term}%`]);
}

/** When a user's tokens were used last (milliseconds); null when never. */
export async function lastSeen(h: ReadHandle, userId: string): Promise<number | null> {
  return (await queryOne<{ at: number | null }>(h, "SELECT max(last_seen) AS at FROM user_ips WHERE user_id = $1", [userId]))?.at ?? null;
}

/** Rooms with a current membership of the user, local or not, and which. */
export async function currentMemberships(h: ReadHandle, userId: string): Promise<{ room_id: string; membership: string | null }[]> {
  return await query(h, "SELECT room_id, membership FROM current_state_events WHERE type = 'm.room.member' AND state_key = $1", [userId]);
}

/** Invites that the user sent and this server received since a time (milliseconds). */
export async function countSentInvites(h: ReadHandle, userId: string, since: number): Promise<number> {
  const row = await queryOne<{ count: number }>(
    h,
    `SELECT count(*) AS count FROM room_memberships AS m JOIN events AS e ON e.event_id = m.event_id
      WHERE m.sender = $1 AND m.membership = 'invite' AND e.type = 'm.room.member' AND e.received_ts >= $2`,
    [userId, since],
  );
  return row!.count;
}

/** Rooms that the user joined since a time (milliseconds), whether or not they are still there. */
export async function countJoinedRoomsSince(h: ReadHandle, userId: string, since: number): Promise<number> {
  const row = await queryOne<{ count: number }>(
    h,
    `SELECT count(DISTINCT m.room_id) AS count FROM room_memberships AS m JOIN events AS e ON e.event_id = m.event_id
      WHERE m.user_id = $1 AND m.membership = 'join' AND e.type = 'm.room.member' AND e.received_ts >= $2`,
    [userId, since],
  );
  return row!.count;
}

/** Events of some types that a user sent to a room, newest first; times bound `origin_server_ts` (milliseconds). */
export async function eventsSentBy(
  h: ReadHandle,
  userId: string,
  roomId: string,
  wanted: { types: readonly string[]; before: number | undefined; after: number | undefined; limit: number },
): Promise<string[]> {
  const rows = await query<{ event_id: string }>(
    h,
    `SELECT event_id FROM events
      WHERE sender = $1 AND room_id = $2 AND type = ANY($3::text[]) AND ($4::bigint IS NULL OR origin_server_ts <= $4) AND ($5::bigint IS NULL OR origin_server_ts >= $5)
      ORDER BY received_ts DESC LIMIT $6`,
    [userId, roomId, wanted.types, wanted.before ?? null, wanted.after ?? null, wanted.limit],
  );
  return rows.map((row) => row.event_id);
}

/** Of these events, those with a redaction on record, from whomever. */
export async function redactedAmong(h: ReadHandle, eventIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ redacts: string }>(h, "SELECT DISTINCT redacts FROM redactions WHERE redacts = ANY($1)", [eventIds]);
  return new Set(rows.map((row) => row.redacts));
}
