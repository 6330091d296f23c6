import { stateKeyOf } from "../../../protocol/event/event.ts";
import { invalidParam, notFound } from "../../../protocol/errors.ts";
import type { Context } from "../../../services/context.ts";
import { presentEvents } from "../../../services/present.ts";
import { roomHierarchy } from "../../../services/rooms/hierarchy.ts";
import { listRooms as readRooms, ROOM_ORDERS, roomUse } from "../../../storage/admin/rooms.ts";
import { findRoom } from "../../../storage/rooms/rooms.ts";
import { roomsWithStats } from "../../../storage/rooms/stats.ts";
import { endpoint } from "../../http/endpoint.ts";
import { parseDescending, parsePage } from "../paging.ts";

const ROOMS = "/_synapse/admin/v1/rooms";

export const listRooms = endpoint({
  servlet: "ListRoomRestServlet",
  method: "GET",
  path: ROOMS,
  auth: "admin",
  async handle(ctx, { query }) {
    const page = parsePage(query);
    const by = query.oneOf("order_by", ROOM_ORDERS, "name");
    const searchTerm = query.string("search_term");
    if (searchTerm === "") throw invalidParam("search_term cannot be an empty string");
    const filter = { searchTerm, publicRooms: query.boolean("public_rooms"), emptyRooms: query.boolean("empty_rooms") };
    const { rows, total } = await readRooms(ctx.read, filter, { by, reverse: parseDescending(query) }, page);
    return {
      offset: page.from,
      rooms: rows,
      total_rooms: total,
      ...(page.from + page.limit < total ? { next_batch: page.from + page.limit } : {}),
      ...(page.from > 0 ? { prev_batch: Math.max(page.from - page.limit, 0) } : {}),
    };
  },
});

export const getRoom = endpoint({
  servlet: "RoomRestServlet",
  method: "GET",
  path: `${ROOMS}/:roomId`,
  auth: "admin",
  async handle(ctx, { params: { roomId } }) {
    const key = stateKeyOf("m.room.tombstone", "");
    const [rooms, use, state] = await Promise.all([roomsWithStats(ctx.read, [roomId]), roomUse(ctx.read, roomId), ctx.state.current(roomId, [key])]);
    const room = rooms.get(roomId);
    if (room === undefined) throw notFound("Room not found");
    const tombstone = state.get(key);
    return {
      ...room,
      federatable: room.federatable ?? false,
      public: room.public ?? false,
      joined_local_devices: use.devices,
      forgotten: use.forgotten,
      tombstoned: tombstone !== undefined,
      replacement_room: tombstone?.content.replacement_room ?? null,
    };
  },
});

async function knownRoom(ctx: Pick<Context, "read">, roomId: string): Promise<void> {
  if ((await findRoom(ctx.read, roomId)) === undefined) throw notFound("Room not found");
}

export const getMembers = endpoint({
  servlet: "RoomMembersRestServlet",
  method: "GET",
  path: `${ROOMS}/:roomId/members`,
  auth: "admin",
  async handle(ctx, { params }) {
    await knownRoom(ctx, params.roomId);
    const members = [...(await ctx.members.joined(params.roomId))];
    return { members, total: members.length };
  },
});

export const getState = endpoint({
  servlet: "RoomStateRestServlet",
  method: "GET",
  path: `${ROOMS}/:roomId/state`,
  auth: "admin",
  async handle(ctx, { params, query, requester }) {
    await knownRoom(ctx, params.roomId);
    const type = query.string("type");
    const events = [...(await ctx.state.current(params.roomId)).values()].filter((event) => !type || event.type === type);
    return { state: await presentEvents(ctx, requester, events, { impersonal: true }) };
  },
});

/** The tree below a space, as far as this server is in it. */
export const getHierarchy = endpoint({
  servlet: "AdminRoomHierarchy",
  method: "GET",
  path: `${ROOMS}/:roomId/hierarchy`,
  auth: "admin",
  async handle(ctx, { params, query, requester }) {
    return await roomHierarchy(ctx, requester, {
      roomId: params.roomId,
      suggestedOnly: false,
      maxDepth: query.natural("max_depth"),
      limit: query.natural("limit"),
      from: query.string("from") || undefined,
      admin: true,
    });
  },
});

export const roomListRoutes = [listRooms, getRoom, getMembers, getState, getHierarchy];
