import { query, queryOne, type ReadHandle } from "../database.ts";
import { from, type Page, pageOf, type PageRequest } from "../query-builder.ts";

/** Orders of the room list, by the names of the admin API, with their natural direction. */
const ORDERS = {
  alphabetical: ["state.name", "ASC"],
  size: ["current.joined_members", "DESC"],
  name: ["state.name", "ASC"],
  canonical_alias: ["state.canonical_alias", "ASC"],
  joined_members: ["current.joined_members", "DESC"],
  joined_local_members: ["current.local_users_in_room", "DESC"],
  version: ["rooms.room_version", "DESC"],
  creator: ["rooms.creator", "ASC"],
  encryption: ["state.encryption", "ASC"],
  federatable: ["state.is_federatable", "ASC"],
  public: ["rooms.is_public", "ASC"],
  join_rules: ["state.join_rules", "ASC"],
  guest_access: ["state.guest_access", "ASC"],
  history_visibility: ["state.history_visibility", "ASC"],
  state_events: ["current.current_state_events", "DESC"],
} as const;
export type RoomOrder = keyof typeof ORDERS;
export const ROOM_ORDERS = Object.keys(ORDERS) as RoomOrder[];

export interface RoomFilter {
  /** Part of the name or of the alias' localpart, or a whole room id. */
  readonly searchTerm: string | undefined;
  readonly publicRooms: boolean | undefined;
  readonly emptyRooms: boolean | undefined;
}

/** A room in the list. */
export interface ListedRoom {
  readonly room_id: string;
  readonly name: string | null;
  readonly canonical_alias: string | null;
  readonly joined_members: number;
  readonly joined_local_members: number;
  readonly version: string | null;
  readonly creator: string | null;
  readonly encryption: string | null;
  readonly federatable: boolean;
  readonly public: boolean;
  readonly join_rules: string | null;
  readonly guest_access: string | null;
  readonly history_visibility: string | null;
  readonly state_events: number;
  readonly room_type: string | null;
}

const COLUMNS = [
  "state.room_id",
  "state.name",
  "state.canonical_alias",
  "current.joined_members",
  "current.local_users_in_room AS joined_local_members",
  "rooms.room_version AS version",
  "rooms.creator",
  "state.encryption",
  "coalesce(state.is_federatable, false) AS federatable",
  "coalesce(rooms.is_public, false) AS public",
  "state.join_rules",
  "state.guest_access",
  "state.history_visibility",
  "current.current_state_events AS state_events",
  "state.room_type",
];

/** A page of the rooms with statistics. */
export async function listRooms(
  h: ReadHandle,
  filter: RoomFilter,
  order: { readonly by: RoomOrder; readonly reverse: boolean },
  page: PageRequest,
): Promise<Page<ListedRoom>> {
  const base = from("room_stats_state as state")
    .innerJoin("room_stats_current as current", "current.room_id", "state.room_id")
    .innerJoin("rooms", "rooms.room_id", "state.room_id");
  const term = filter.searchTerm?.toLowerCase();
  if (term !== undefined)
    base.whereRaw("(lower(state.name) LIKE ? OR lower(state.canonical_alias) LIKE ? OR state.room_id = ?)", [`%${term}%`, `#%${term}%:%`, filter.searchTerm!]);
  if (filter.publicRooms !== undefined) base.whereRaw("rooms.is_public = ?", [filter.publicRooms]);
  if (filter.emptyRooms !== undefined) base.whereRaw(filter.emptyRooms ? "current.joined_members = 0" : "current.joined_members <> 0");
  const [column, natural] = ORDERS[order.by];
  const direction = (natural === "ASC") !== order.reverse ? "ASC" : "DESC";
  return await pageOf(h, base, COLUMNS, `${column} ${direction}, state.room_id ${direction}`, page);
}

/** Devices of the joined members of a room, their cross-signing keys not counted; and whether no local user keeps the room in a list. */
export async function roomUse(h: ReadHandle, roomId: string): Promise<{ devices: number; forgotten: boolean }> {
  const row = await queryOne<{ devices: number; forgotten: boolean }>(
    h,
    `SELECT (SELECT count(*) FROM current_state_events AS c JOIN devices AS d ON d.user_id = c.state_key
              WHERE c.room_id = $1 AND c.type = 'm.room.member' AND c.membership = 'join' AND NOT d.hidden) AS devices,
            NOT EXISTS (SELECT FROM local_current_membership AS own JOIN room_memberships AS m ON m.room_id = own.room_id AND m.event_id = own.event_id
                         WHERE own.room_id = $1 AND m.forgotten = 0) AS forgotten`,
    [roomId],
  );
  return row!;
}

export interface ForwardExtremity {
  readonly event_id: string;
  readonly state_group: number;
  readonly depth: number | bigint;
  readonly received_ts: number | null;
}

export async function forwardExtremities(h: ReadHandle, roomId: string): Promise<ForwardExtremity[]> {
  return await query(
    h,
    `SELECT f.event_id, g.state_group, e.depth, e.received_ts
       FROM event_forward_extremities AS f
       JOIN event_to_state_groups AS g ON g.event_id = f.event_id
       JOIN events AS e ON e.room_id = f.room_id AND e.event_id = f.event_id
      WHERE f.room_id = $1`,
    [roomId],
  );
}
