import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { forbidden, invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import { roomsWeAreIn } from "../../storage/rooms/hierarchy.ts";
import { deleteExpiredSessions, findSession, insertSession } from "../../storage/rooms/sessions.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { isInOneOf } from "./restricted.ts";
import { type LocalRoom, visibleLocalRooms } from "./space-rooms.ts";

/** The tree of rooms below a space (client-server API, "Spaces"), and the summary of a single room (MSC3266). */
const MAX_ROOMS = 50;
const MAX_CHILDREN_FOR_SERVERS = 50;
const MAX_SERVERS_ASKED = 3;
const SESSION_TYPE = "room_hierarchy_pagination"; // as Synapse: its sessions go on here
const SESSION_MS = 5 * 60_000;
const LOOK_AHEAD = 60;

type Needs = Pick<Context, "config" | "read" | "transaction" | "clock" | "random" | "events" | "members" | "limits" | "remoteRooms" | "log">;

export interface HierarchyRequest {
  readonly roomId: string;
  readonly suggestedOnly: boolean;
  readonly maxDepth: number | undefined;
  readonly limit: number | undefined;
  readonly from: string | undefined;
  /** Servers to ask about a room that we are not in. */
  readonly via?: readonly string[] | undefined;
  /** The admin API: no check who may see what, and no other server is asked. */
  readonly admin?: boolean;
}

/** A room yet to be visited. */
interface QueueEntry {
  readonly roomId: string;
  readonly via: readonly string[];
  readonly depth: number;
  /** What the parent's server said of the room. */
  readonly remote: JsonObject | undefined;
}

interface Visited {
  readonly room: JsonObject;
  readonly childrenState: readonly JsonObject[];
  readonly remoteChildren: ReadonlyMap<string, JsonObject>;
  readonly inaccessible: ReadonlySet<string>;
}

/** @throws MatrixError 403 when the user may not see the room; 400 for a bad `from`; 429 */
export async function roomHierarchy(ctx: Needs, requester: Requester, request: HierarchyRequest): Promise<JsonObject> {
  const { userId } = requester;
  await ctx.limits.check("roomHierarchy", userId, { requester });
  const denied = (): MatrixError => forbidden(`User ${userId} not in room ${request.roomId}, and room previews are disabled`);
  const locals = new LocalRooms(ctx, userId, request.admin ?? false);
  if (!request.admin) {
    if (await locals.isOurs(request.roomId)) {
      if ((await locals.get(request.roomId)) === undefined) throw denied();
    } else {
      const root = await visitRemote(ctx, { roomId: request.roomId, via: request.via ?? [], depth: 0, remote: undefined }, false);
      if (root === undefined || !(await isRemoteVisible(ctx, userId, request.roomId, root.room))) throw denied();
    }
  }
  const { queue, processed } =
    request.from === undefined
      ? { queue: [{ roomId: request.roomId, via: request.via ?? [], depth: 0, remote: undefined }], processed: new Set<string>() }
      : await resume(ctx, userId, request, request.from);

  const rooms: JsonObject[] = [];
  const limit = Math.min(request.limit ?? MAX_ROOMS, MAX_ROOMS);
  while (queue.length > 0 && rooms.length < limit) {
    const entry = queue.pop()!;
    if (processed.has(entry.roomId)) continue;
    processed.add(entry.roomId);
    locals.expect(queue.slice(-LOOK_AHEAD).map((next) => next.roomId));
    const visited = await visit(ctx, locals, userId, request, entry);
    if (visited === undefined) continue;
    const { allowed_room_ids: _, ...shown } = visited.room;
    rooms.push({ ...shown, children_state: visited.childrenState as JsonObject[] });
    if (request.maxDepth !== undefined && entry.depth >= request.maxDepth) continue;
    for (const child of visited.childrenState.toReversed()) {
      const roomId = child.state_key;
      if (child.type !== "m.space.child" || typeof roomId !== "string" || visited.inaccessible.has(roomId)) continue;
      queue.push({ roomId, via: viaOf(child), depth: entry.depth + 1, remote: visited.remoteChildren.get(roomId) });
    }
  }
  return { rooms, ...(queue.length === 0 ? {} : { next_batch: await suspend(ctx, userId, request, queue, processed) }) };
}

async function visit(ctx: Needs, locals: LocalRooms, userId: string, request: HierarchyRequest, entry: QueueEntry): Promise<Visited | undefined> {
  if (await locals.isOurs(entry.roomId)) {
    const room = await locals.get(entry.roomId);
    if (room === undefined) return undefined;
    return { room: room.summary, childrenState: childrenState(room.children, request.suggestedOnly), remoteChildren: new Map(), inaccessible: new Set() };
  }
  const deepEnough = request.maxDepth !== undefined && entry.depth >= request.maxDepth;
  let visited: Visited | undefined;
  if (entry.remote !== undefined && (entry.remote.room_type !== "m.space" || deepEnough)) {
    visited = { room: entry.remote, childrenState: [], remoteChildren: new Map(), inaccessible: new Set() };
  } else if (!request.admin) visited = await visitRemote(ctx, entry, request.suggestedOnly);
  if (visited === undefined || !(await isRemoteVisible(ctx, userId, entry.roomId, visited.room))) return undefined;
  return visited;
}

async function visitRemote(ctx: Needs, entry: QueueEntry, suggestedOnly: boolean): Promise<Visited | undefined> {
  const servers = entry.via.filter((server) => server !== ctx.config.server.serverName).slice(0, MAX_SERVERS_ASKED);
  if (servers.length === 0) return undefined;
  const answer = await ctx.remoteRooms.hierarchy({ roomId: entry.roomId, servers, suggestedOnly }).catch((error: unknown) => {
    ctx.log.named("synapse.handlers.room_summary").warn(`Unable to get hierarchy of ${entry.roomId} via federation`, { error });
    return undefined;
  });
  if (answer === undefined) return undefined;
  const { children_state: children, ...room } = answer.room;
  return {
    room,
    childrenState: Array.isArray(children) ? children.filter(isJsonObject) : [],
    remoteChildren: answer.children,
    inaccessible: answer.inaccessibleChildren,
  };
}

/** By what the other server says of the room's joining rules, or because the user has a way in that we know. */
async function isRemoteVisible(ctx: Needs, userId: string | undefined, roomId: string, room: JsonObject): Promise<boolean> {
  const rule = room.join_rule ?? "public";
  if (rule === "public" || rule === "knock" || rule === "knock_restricted" || room.world_readable === true) return true;
  if (userId === undefined) return false;
  const gates = Array.isArray(room.allowed_room_ids) ? room.allowed_room_ids.filter((gate) => typeof gate === "string") : [];
  if (await isInOneOf(ctx, userId, gates)) return true;
  const own = (await ctx.members.roomsOf(userId)).get(roomId)?.membership;
  return own === "invite" || own === "join";
}

/** What another server asks of a space of ours. @throws MatrixError 404 */
export async function hierarchyForServer(ctx: Needs, server: string, roomId: string, suggestedOnly: boolean): Promise<JsonObject> {
  const viewer = { server };
  const root = (await roomsWeAreIn(ctx.read, [roomId])).has(roomId) ? (await visibleLocalRooms(ctx, viewer, [roomId])).get(roomId) : undefined;
  if (root === undefined) throw new MatrixError(404, "M_UNKNOWN", `Unknown room: ${roomId}`);
  const shown = root.children.filter((child) => !suggestedOnly || child.content.suggested === true);
  const children = shown.slice(0, MAX_CHILDREN_FOR_SERVERS).map((child) => child.stateKey!);
  const ours = [...(await roomsWeAreIn(ctx.read, children))];
  const visible = await visibleLocalRooms(ctx, viewer, ours);
  return {
    room: { ...root.summary, children_state: childrenState(root.children, suggestedOnly) },
    children: children.filter((id) => visible.has(id)).map((id) => visible.get(id)!.summary),
    inaccessible_children: children.filter((id) => ours.includes(id) && !visible.has(id)),
  };
}

/** One room as a user (or a stranger: undefined) may see it. @throws MatrixError 404 when it is unknown or hidden */
export async function roomSummary(ctx: Needs, userId: string | undefined, roomId: string, via: readonly string[] | undefined): Promise<JsonObject> {
  const hidden = (): MatrixError => notFound("Room not found or is not accessible");
  let room: JsonObject;
  if ((await roomsWeAreIn(ctx.read, [roomId])).has(roomId)) {
    const local = (await visibleLocalRooms(ctx, { userId }, [roomId])).get(roomId);
    if (local === undefined) throw hidden();
    room = local.summary;
  } else {
    if (via === undefined) throw new MatrixError(400, "M_UNKNOWN", "Missing via to query remote room");
    const remote = await visitRemote(ctx, { roomId, via, depth: 0, remote: undefined }, true);
    if (remote === undefined || !(await isRemoteVisible(ctx, userId, roomId, remote.room))) throw hidden();
    room = remote.room;
  }
  if (userId === undefined) return room;
  return { ...room, membership: (await ctx.members.roomsOf(userId)).get(roomId)?.membership ?? "leave" };
}

function childrenState(events: readonly MatrixEvent[], suggestedOnly: boolean): JsonObject[] {
  return events
    .filter((event) => !suggestedOnly || event.content.suggested === true)
    .map((event) => ({ type: event.type, state_key: event.stateKey, content: event.content, sender: event.sender, origin_server_ts: event.originServerTs }));
}

function viaOf(child: JsonObject): string[] {
  const via = isJsonObject(child.content) ? child.content.via : undefined;
  return Array.isArray(via) ? via.filter((server) => typeof server === "string") : [];
}

/** Rooms of this server met on the way, described many at a time. */
class LocalRooms {
  private readonly ours = new Map<string, boolean>();
  private readonly described = new Map<string, LocalRoom | undefined>();
  private expected: readonly string[] = [];

  constructor(
    private readonly ctx: Needs,
    private readonly userId: string,
    private readonly admin: boolean,
  ) {}

  /** These may be asked for next. */
  expect(roomIds: readonly string[]): void {
    this.expected = roomIds;
  }

  async isOurs(roomId: string): Promise<boolean> {
    if (!this.ours.has(roomId)) {
      const unknown = [roomId, ...this.expected.filter((id) => !this.ours.has(id))];
      const found = await roomsWeAreIn(this.ctx.read, unknown);
      for (const id of unknown) this.ours.set(id, found.has(id));
    }
    return this.ours.get(roomId)!;
  }

  /** undefined: the user may not see it. */
  async get(roomId: string): Promise<LocalRoom | undefined> {
    if (!this.described.has(roomId)) {
      const wanted = [roomId, ...this.expected.filter((id) => this.ours.get(id) === true && !this.described.has(id))];
      const found = await visibleLocalRooms(this.ctx, { userId: this.userId, admin: this.admin }, wanted);
      for (const id of wanted) this.described.set(id, found.get(id));
    }
    return this.described.get(roomId);
  }
}

/** Keeps where the walk stands for five minutes; returns the token for it. The value is as Synapse stores it. */
async function suspend(ctx: Needs, userId: string, request: HierarchyRequest, queue: readonly QueueEntry[], processed: ReadonlySet<string>): Promise<string> {
  const id = ctx.random.letters(24);
  const value = JSON.stringify({
    requester: userId,
    room_id: request.roomId,
    suggested_only: request.suggestedOnly,
    max_depth: request.maxDepth ?? null,
    omit_remote_room_hierarchy: request.admin ?? false,
    admin_skip_room_visibility_check: request.admin ?? false,
    room_queue: queue.map((entry) => [entry.roomId, entry.via, entry.depth, entry.remote ?? null]),
    processed_rooms: [...processed],
  });
  const now = ctx.clock.now();
  await ctx.transaction("create_session", async (txn) => {
    await deleteExpiredSessions(txn, now);
    await insertSession(txn, SESSION_TYPE, id, value, now + SESSION_MS);
  });
  return id;
}

async function resume(ctx: Needs, userId: string, request: HierarchyRequest, token: string): Promise<{ queue: QueueEntry[]; processed: Set<string> }> {
  const text = await findSession(ctx.read, SESSION_TYPE, token, ctx.clock.now());
  const value: unknown = text === undefined ? undefined : JSON.parse(text);
  const same =
    isJsonObject(value) &&
    value.requester === userId &&
    value.room_id === request.roomId &&
    value.suggested_only === request.suggestedOnly &&
    value.max_depth === (request.maxDepth ?? null) &&
    value.omit_remote_room_hierarchy === (request.admin ?? false) &&
    Array.isArray(value.room_queue) &&
    Array.isArray(value.processed_rooms);
  if (!same) throw invalidParam("Unknown pagination token");
  const queue = (value.room_queue as Json[]).flatMap((entry): QueueEntry[] => {
    if (!Array.isArray(entry) || typeof entry[0] !== "string") return [];
    const [roomId, via, depth, remote] = entry;
    return [
      {
        roomId,
        via: Array.isArray(via) ? via.filter((server) => typeof server === "string") : [],
        depth: typeof depth === "number" ? depth : 0,
        remote: isJsonObject(remote) ? remote : undefined,
      },
    ];
  });
  return { queue, processed: new Set((value.processed_rooms as Json[]).filter((id) => typeof id === "string")) };
}
