import type { JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { roomVersion } from "../../protocol/room-versions.ts";
import { roomsOfServer, summaryState } from "../../storage/rooms/hierarchy.ts";
import { roomsWithStats } from "../../storage/rooms/stats.ts";
import type { Context } from "../context.ts";
import { allowedRooms, hasRestrictedJoins, isInOneOf } from "./restricted.ts";

/** Who looks at a room from outside: a local user, a server, or a stranger (all undefined); `admin` sees everything. */
export interface Viewer {
  readonly userId?: string | undefined;
  readonly server?: string | undefined;
  readonly admin?: boolean;
}

/** A room that this server is in, as a summary shows it. */
export interface LocalRoom {
  /** As in the public room list, with `room_version`, `encryption` and `allowed_room_ids`. */
  readonly summary: JsonObject;
  /** Valid children of a space, in their order. */
  readonly children: readonly MatrixEvent[];
}

type Needs = Pick<Context, "read" | "events" | "members">;

interface RoomState {
  joinRules?: MatrixEvent;
  visibility?: MatrixEvent;
  member?: MatrixEvent;
  readonly children: MatrixEvent[];
}

/**
 * Those of the rooms that the viewer may see (MSC2946): public and knockable rooms, world-readable ones, those of which the viewer is a
 * member or invited, and those that a room of the viewer's gives access to. One set of reads for all rooms.
 */
export async function visibleLocalRooms(ctx: Needs, viewer: Viewer, roomIds: readonly string[]): Promise<Map<string, LocalRoom>> {
  const states = await loadStates(ctx, viewer, roomIds);
  const stats = await roomsWithStats(ctx.read, roomIds);
  const guests = viewer.server === undefined ? undefined : await serverAccess(ctx, viewer.server, roomIds, states);
  const rooms = new Map<string, LocalRoom>();
  for (const roomId of roomIds) {
    const row = stats.get(roomId);
    if (row === undefined) continue;
    const state = states.get(roomId);
    const version = row.version === null ? undefined : roomVersion(row.version);
    const restricted = version !== undefined && hasRestrictedJoins(version, state?.joinRules);
    const gates = restricted ? allowedRooms(state?.joinRules) : [];
    if (!viewer.admin) {
      if (state === undefined) {
        // Not in the room: nothing is known but, maybe, an invite.
        if (viewer.userId === undefined || (await ctx.members.roomsOf(viewer.userId)).get(roomId)?.membership !== "invite") continue;
      } else if (version === undefined) continue;
      else {
        const rule = state.joinRules?.content.join_rule;
        const open =
          rule === "public" ||
          (version.knocking && rule === "knock") ||
          (version.knockRestrictedJoins && rule === "knock_restricted") ||
          state.visibility?.content.history_visibility === "world_readable";
        const member = state.member?.membership;
        const allowed =
          open ||
          member === "join" ||
          member === "invite" ||
          (viewer.userId !== undefined && (await isInOneOf(ctx, viewer.userId, gates))) ||
          (guests !== undefined && (guests.has(roomId) || gates.some((gate) => guests.has(gate))));
        if (!allowed) continue;
      }
    }
    rooms.set(roomId, {
      // Statistics follow a moment later.
      summary: summaryOf({ ...row, joined_members: row.joined_members ?? (await ctx.members.joined(roomId)).size }, gates),
      children: row.room_type === "m.space" ? (state?.children ?? []).filter(hasValidVia).sort(byChildOrder) : [],
    });
  }
  return rooms;
}

/** Rooms among these, and among those that give access to them, in which the server has members or (the rooms themselves) invited ones. */
async function serverAccess(ctx: Needs, server: string, roomIds: readonly string[], states: ReadonlyMap<string, RoomState>): Promise<Set<string>> {
  const gates = [...states.values()].flatMap((state) => allowedRooms(state.joinRules));
  const [rooms, allowing] = await Promise.all([roomsOfServer(ctx.read, roomIds, server, ["join", "invite"]), roomsOfServer(ctx.read, gates, server, ["join"])]);
  return new Set([...rooms, ...allowing]);
}

async function loadStates(ctx: Needs, viewer: Viewer, roomIds: readonly string[]): Promise<Map<string, RoomState>> {
  const rows = await summaryState(ctx.read, roomIds, viewer.userId, true);
  const events = await ctx.events.get(rows.map((row) => row.event_id));
  const states = new Map<string, RoomState>();
  for (const row of rows) {
    let state = states.get(row.room_id);
    if (state === undefined) states.set(row.room_id, (state = { children: [] }));
    const event = events.get(row.event_id);
    if (event === undefined) continue;
    if (row.type === "m.room.join_rules") state.joinRules = event;
    else if (row.type === "m.room.history_visibility") state.visibility = event;
    else if (row.type === "m.room.member") state.member = event;
    else state.children.push(event);
  }
  return states;
}

function summaryOf(
  row: NonNullable<Awaited<ReturnType<typeof roomsWithStats>> extends Map<string, infer R> ? R : never>,
  gates: readonly string[],
): JsonObject {
  const summary: JsonObject = { room_id: row.room_id };
  const add = (key: string, value: string | number | null): void => void (value !== null && (summary[key] = value));
  add("room_version", row.version);
  add("name", row.name);
  add("topic", row.topic);
  add("canonical_alias", row.canonical_alias);
  add("num_joined_members", row.joined_members);
  add("avatar_url", row.avatar);
  add("join_rule", row.join_rules);
  summary.world_readable = row.history_visibility === "world_readable";
  summary.guest_can_join = row.guest_access === "can_join";
  add("room_type", row.room_type);
  add("encryption", row.encryption);
  if (gates.length > 0) summary.allowed_room_ids = [...gates];
  return summary;
}

function hasValidVia(event: MatrixEvent): boolean {
  const { via } = event.content;
  return Array.isArray(via) && via.length > 0 && via.every((server) => typeof server === "string");
}

/** `order` where valid, then the time of the event, then the room (specification, "Ordering of children within a space"). */
export function byChildOrder(one: MatrixEvent, other: MatrixEvent): number {
  const [a, b] = [orderOf(one), orderOf(other)];
  if (a !== b) return a === undefined ? 1 : b === undefined || a < b ? -1 : 1;
  if (one.originServerTs !== other.originServerTs) return one.originServerTs - other.originServerTs;
  return one.stateKey! < other.stateKey! ? -1 : 1;
}

function orderOf(event: MatrixEvent): string | undefined {
  const { order } = event.content;
  return typeof order === "string" && order.length <= 50 && /^[\x20-\x7e]*$/.test(order) ? order : undefined;
}
