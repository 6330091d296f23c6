import { MatrixError } from "../../protocol/errors.ts";
import { countPublicRooms, largestPublicRooms, type PublicRoomRow, type PublicRoomsQuery } from "../../storage/rooms/public-rooms.ts";
import type { Context } from "../context.ts";
import { formatRoomListToken, parseRoomListToken } from "./room-list-token.ts";

const MAX_PAGE = 100; // as Synapse

export interface PublicRoomsRequest {
  /** undefined: as many as a page may hold. */
  readonly limit: number | undefined;
  readonly since: string | undefined;
  readonly searchTerm?: string | undefined;
  readonly roomTypes?: readonly (string | null)[] | undefined;
  readonly network: PublicRoomsQuery["network"];
  /** The asking server, for requests over federation: rooms that do not federate, or that ban it, are left out. */
  readonly fromServer?: string | undefined;
  /** Of these rooms, those whose server ACL lets `fromServer` in. */
  readonly allowedFor?: ((roomIds: readonly string[]) => Promise<ReadonlySet<string>>) | undefined;
}

export interface PublicRooms {
  readonly chunk: readonly Record<string, unknown>[];
  readonly next_batch?: string;
  readonly prev_batch?: string;
  readonly total_room_count_estimate: number;
}

/** `third_party_instance_id`: absent for the server's own list, else "appservice|network". @throws MatrixError 400 */
export function parseNetwork(all: boolean, instanceId: string | undefined): PublicRoomsQuery["network"] {
  if (all) {
    if (instanceId !== undefined) throw new MatrixError(400, "M_UNKNOWN", "Can't use include_all_networks with an explicit network");
    return "all";
  }
  if (instanceId === undefined) return "own";
  const [appserviceId, networkId, more] = instanceId.split("|");
  if (appserviceId === undefined || networkId === undefined || more !== undefined) throw new MatrixError(400, "M_UNKNOWN", `Invalid ID '${instanceId}'`);
  return { appserviceId, networkId };
}

/** A page of this server's room directory (client-server API, "Listing rooms"). @throws MatrixError 400 for a bad token */
export async function publicRooms(ctx: Pick<Context, "config" | "read">, request: PublicRoomsRequest): Promise<PublicRooms> {
  if (!ctx.config.roomDirectory.enableRoomListSearch) return { chunk: [], total_room_count_estimate: 0 };
  const limit = request.limit === undefined || request.limit > MAX_PAGE ? MAX_PAGE : Math.max(request.limit, 1);
  const since = request.since === undefined || request.since === "" ? undefined : parseRoomListToken(request.since);
  const forwards = since?.forwards ?? true;
  const wanted: PublicRoomsQuery = {
    network: request.network,
    searchTerm: request.searchTerm === undefined || request.searchTerm === "" ? undefined : request.searchTerm,
    roomTypes: request.roomTypes,
    federatableOnly: request.fromServer !== undefined,
  };
  // One more than asked tells whether there is a next page; over federation some may have to be left out.
  const probe = request.fromServer === undefined ? limit + 1 : limit + 10;
  const [rows, total] = await Promise.all([largestPublicRooms(ctx.read, wanted, probe, since, forwards), countPublicRooms(ctx.read, wanted)]);
  const allowed = request.allowedFor === undefined ? undefined : await request.allowedFor(rows.map((row) => row.room_id));

  const considered: PublicRoomRow[] = [];
  const entries: Record<string, unknown>[] = [];
  for (const row of forwards ? rows : rows.toReversed()) {
    if (entries.length >= limit) break;
    considered.push(row);
    if (allowed === undefined || allowed.has(row.room_id)) entries.push(entryOf(row));
  }
  const more = rows.length === probe || considered.length < rows.length;
  if (!forwards) {
    considered.reverse();
    entries.reverse();
  }
  const first = considered[0];
  const last = considered.at(-1);
  const token = (row: PublicRoomRow | undefined, ahead: boolean): string =>
    formatRoomListToken({ joinedMembers: row?.joined_members ?? 0, roomId: row?.room_id ?? "", forwards: ahead });
  return {
    chunk: entries,
    ...((forwards && since !== undefined) || (!forwards && last !== undefined && more) ? { prev_batch: token(first, false) } : {}),
    ...(last !== undefined && (forwards ? more : since !== undefined) ? { next_batch: token(last, true) } : {}),
    total_room_count_estimate: total,
  };
}

function entryOf(row: PublicRoomRow): Record<string, unknown> {
  return {
    room_id: row.room_id,
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.topic === null ? {} : { topic: row.topic }),
    ...(row.canonical_alias === null ? {} : { canonical_alias: row.canonical_alias }),
    num_joined_members: row.joined_members,
    ...(row.avatar === null ? {} : { avatar_url: row.avatar }),
    world_readable: row.history_visibility === "world_readable",
    guest_can_join: row.guest_access === "can_join",
    ...(row.join_rules === null ? {} : { join_rule: row.join_rules }),
    ...(row.room_type === null ? {} : { room_type: row.room_type }),
  };
}
