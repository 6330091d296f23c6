import { query, queryOne, type ReadHandle } from "../database.ts";

/** The room directory, read from the statistics tables: rooms published and joinable or readable by strangers. */
export interface PublicRoomRow {
  readonly room_id: string;
  readonly name: string | null;
  readonly topic: string | null;
  readonly canonical_alias: string | null;
  readonly joined_members: number;
  readonly avatar: string | null;
  readonly history_visibility: string | null;
  readonly guest_access: string | null;
  readonly join_rules: string | null;
  readonly room_type: string | null;
}

export interface PublicRoomsQuery {
  /** `own`: the server's directory; a network: an appservice's list; `all`: both together. */
  readonly network: "own" | "all" | { readonly appserviceId: string; readonly networkId: string };
  /** Searched in name, topic and canonical alias, without regard to case. */
  readonly searchTerm: string | undefined;
  /** Room types wanted, null being rooms without a type; undefined: no restriction. */
  readonly roomTypes: readonly (string | null)[] | undefined;
  /** Leave out rooms that do not federate. */
  readonly federatableOnly: boolean;
}

const LISTED = `(room_stats_state.join_rules IN ('public', 'knock', 'knock_restricted') OR room_stats_state.history_visibility = 'world_readable')
      AND room_stats_current.joined_members > 0`;

/** SQL of the published room ids, with its parameters. */
function published(network: PublicRoomsQuery["network"], params: unknown[]): string {
  if (network === "own") return "SELECT rooms.room_id FROM rooms WHERE rooms.is_public";
  if (network === "all") return "SELECT rooms.room_id FROM rooms WHERE rooms.is_public UNION SELECT appservice_room_list.room_id FROM appservice_room_list";
  params.push(network.appserviceId, network.networkId);
  return `SELECT appservice_room_list.room_id FROM appservice_room_list
           WHERE appservice_room_list.appservice_id = $${params.length - 1} AND appservice_room_list.network_id = $${params.length}`;
}

function typeCondition(types: PublicRoomsQuery["roomTypes"], params: unknown[]): string {
  if (types === undefined || types.length === 0) return "";
  params.push(types.filter((type) => type !== null));
  return ` AND (room_stats_state.room_type = ANY($${params.length}::text[])${types.includes(null) ? " OR room_stats_state.room_type IS NULL" : ""})`;
}

/**
 * A page of the directory, largest rooms first (then by room id, descending). `bounds` is the member count and id of the room after
 * which (`forwards`) or before which the page lies; a page read backwards is returned in the same order as one read forwards.
 */
export async function largestPublicRooms(
  h: ReadHandle,
  wanted: PublicRoomsQuery,
  limit: number,
  bounds: { readonly joinedMembers: number; readonly roomId: string } | undefined,
  forwards: boolean,
): Promise<PublicRoomRow[]> {
  const params: unknown[] = [limit];
  const source = published(wanted.network, params);
  let where = LISTED + typeCondition(wanted.roomTypes, params);
  if (wanted.federatableOnly) where += " AND room_stats_state.is_federatable";
  if (wanted.searchTerm !== undefined) {
    params.push(`%${wanted.searchTerm.toLowerCase()}%`);
    const n = `$${params.length}`;
    where += ` AND (lower(room_stats_state.name) LIKE ${n} OR lower(room_stats_state.topic) LIKE ${n} OR lower(room_stats_state.canonical_alias) LIKE ${n})`;
  }
  if (bounds !== undefined) {
    params.push(bounds.joinedMembers, bounds.roomId);
    where += ` AND (room_stats_current.joined_members, published.room_id) ${forwards ? "<" : ">"} ($${params.length - 1}, $${params.length})`;
  }
  const direction = forwards ? "DESC" : "ASC";
  const rows = await query<PublicRoomRow>(
    h,
    `SELECT published.room_id, room_stats_state.name, room_stats_state.topic, room_stats_state.canonical_alias, room_stats_current.joined_members,
            room_stats_state.avatar, room_stats_state.history_visibility, room_stats_state.guest_access, room_stats_state.join_rules, room_stats_state.room_type
       FROM (${source}) AS published
       JOIN room_stats_state ON room_stats_state.room_id = published.room_id
       JOIN room_stats_current ON room_stats_current.room_id = published.room_id
      WHERE ${where}
      ORDER BY room_stats_current.joined_members ${direction}, published.room_id ${direction}
      LIMIT $1`,
    params,
  );
  return forwards ? rows : rows.reverse();
}

/** Number of rooms in the directory, without regard to the search term (as Synapse estimates). */
export async function countPublicRooms(h: ReadHandle, wanted: Pick<PublicRoomsQuery, "network" | "roomTypes">): Promise<number> {
  const params: unknown[] = [];
  const source = published(wanted.network, params);
  const where = LISTED + typeCondition(wanted.roomTypes, params);
  const row = await queryOne<{ count: number }>(
    h,
    `SELECT count(*) AS count
       FROM (${source}) AS published
       JOIN room_stats_state ON room_stats_state.room_id = published.room_id
       JOIN room_stats_current ON room_stats_current.room_id = published.room_id
      WHERE ${where}`,
    params,
  );
  return row!.count;
}
