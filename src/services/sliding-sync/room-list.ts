import { lruCache } from "../../lib/lru-cache.ts";
import { isJsonObject } from "../../lib/json.ts";
import { globalAccountDataOfUsers } from "../../storage/accounts/account-data.ts";
import { type ListRoom, listRooms } from "../../storage/sliding-sync/rooms.ts";
import { membershipChanges, roomsJoinedAt } from "../../storage/sync/timelines.ts";
import type { Context } from "../context.ts";
import { tagsSince } from "../account-data/streams.ts";
import { combine, type RoomConfig, roomConfig } from "./room-config.ts";
import type { ListFilters, SlidingList, SlidingSyncBody } from "./request.ts";

type Needs = Pick<Context, "read" | "members" | "changes" | "state" | "streams" | "ignoredUsers">;

const CACHED_USERS = 2_000;

interface Held {
  readonly position: number;
  /** The user's memberships at that time: another object when any of them changed. */
  readonly memberships: unknown;
  readonly rooms: UserRooms;
}

/** A user's rooms, newest first: by the last event. What follows from them is worked out once. */
class UserRooms {
  private joinedIds: ReadonlySet<string> | undefined;
  private newest: number | undefined;
  constructor(readonly byId: ReadonlyMap<string, ListRoom>) {}

  get joined(): ReadonlySet<string> {
    return (this.joinedIds ??= new Set([...this.byId.values()].filter((room) => room.membership === "join").map((room) => room.room_id)));
  }

  /** Position of the user's last change of membership in any of them. */
  get newestMembership(): number {
    return (this.newest ??= [...this.byId.values()].reduce((newest, room) => Math.max(newest, room.membership_ordering), 0));
  }
}

interface HeldDirectRooms {
  /** Position of the account data that they were read at. */
  readonly position: number;
  readonly rooms: ReadonlySet<string>;
}

/**
 * The rooms of users with what lists are sorted and filtered by, from memory: of the rooms in which something happened since the last look,
 * the rows are read again, and all of them when the user's memberships changed. So are the rooms that the user calls direct (`m.direct`), until
 * the user's account data changes.
 */
export class RoomLists {
  private readonly users = lruCache<string, Held>(CACHED_USERS);
  private readonly direct = lruCache<string, HeldDirectRooms>(CACHED_USERS);

  async of(ctx: Needs, userId: string, now: number): Promise<UserRooms> {
    const memberships = await ctx.members.roomsOf(userId);
    const held = this.users.get(userId);
    let rooms: UserRooms;
    const changed = held?.memberships === memberships ? ctx.changes.events.changed(held.position, now) : undefined;
    if (held === undefined || changed === undefined) {
      rooms = newestFirst(await listRooms(ctx.read, userId));
    } else {
      const own = [...changed].filter((roomId) => held.rooms.byId.has(roomId));
      rooms = own.length === 0 ? held.rooms : refreshed(held.rooms.byId, await listRooms(ctx.read, userId, own));
    }
    this.users.set(userId, { position: now, memberships, rooms });
    return rooms;
  }

  /** The rooms of the user's `m.direct`. */
  async directRooms(ctx: Needs, userId: string): Promise<ReadonlySet<string>> {
    const held = this.direct.get(userId);
    if (held !== undefined && !ctx.changes.accountData.hasChanged(userId, held.position)) return held.rooms;
    const position = ctx.streams.accountData.currentToken();
    const rooms = await readDirectRooms(ctx, userId);
    this.direct.set(userId, { position, rooms });
    return rooms;
  }

  /** The user's account data was removed. */
  forget(userId: string): void {
    this.users.delete(userId);
    this.direct.delete(userId);
  }
}

function newestFirst(rows: ListRoom[]): UserRooms {
  return new UserRooms(new Map(rows.sort((a, b) => b.last_ordering - a.last_ordering).map((row) => [row.room_id, row])));
}

/** `rooms` with these rows in place of theirs, in order. */
function refreshed(rooms: ReadonlyMap<string, ListRoom>, rows: readonly ListRoom[]): UserRooms {
  const changed = new Set(rows.map((row) => row.room_id));
  const rest = [...rooms.values()].filter((room) => !changed.has(room.room_id));
  return newestFirst([...rows, ...rest]);
}

export interface ListAnswer {
  readonly count: number;
  readonly ops: readonly { readonly op: "SYNC"; readonly range: readonly [number, number]; readonly room_ids: readonly string[] }[];
}

/** What a request is interested in. */
export interface InterestedRooms {
  readonly lists: ReadonlyMap<string, ListAnswer>;
  /** Rooms in a window or subscribed to, with their configuration. */
  readonly relevant: ReadonlyMap<string, RoomConfig>;
  /** Rooms of all lists, in the window or not. */
  readonly all: () => ReadonlySet<string>;
  readonly rooms: ReadonlyMap<string, ListRoom>;
  /** Those of them that the user is joined to. */
  readonly joined: ReadonlySet<string>;
  readonly newlyJoined: ReadonlySet<string>;
  readonly newlyLeft: ReadonlySet<string>;
  readonly directRooms: ReadonlySet<string>;
}

/** Sorts and filters the user's rooms into the lists of the request, and adds the rooms it subscribes to. */
export async function interestedRooms(
  ctx: Needs,
  lists: RoomLists,
  userId: string,
  body: SlidingSyncBody,
  since: number | undefined,
  now: number,
): Promise<InterestedRooms> {
  const [own, direct, ignored] = await Promise.all([lists.of(ctx, userId, now), lists.directRooms(ctx, userId), ctx.ignoredUsers.ignoredBy(userId)]);
  const all = own.byId;
  const { newlyJoined, newlyLeft } = await moves(ctx, userId, own, since, now);
  const shown = [...all.values()].filter((room) => isShown(room, userId, newlyLeft) && !(room.membership === "invite" && ignored.has(room.sender)));
  const relevant = new Map<string, RoomConfig>();
  const add = (roomId: string, config: RoomConfig): void => {
    const known = relevant.get(roomId);
    relevant.set(roomId, known === undefined ? config : combine(known, config));
  };
  const answers = new Map<string, ListAnswer>();
  const listed: (readonly ListRoom[])[] = [];
  const tags = needsTags(body) ? await tagsSince({ ...ctx }, userId, undefined, now, undefined) : new Map<string, object>();
  for (const [name, list] of Object.entries(body.lists ?? {})) {
    const filtered = await filterRooms(ctx, all, shown, list.filters ?? undefined, direct, tags);
    listed.push(filtered);
    answers.set(name, listWindow(list, filtered, add));
  }
  for (const [roomId, subscription] of Object.entries(body.room_subscriptions ?? {})) {
    const room = all.get(roomId);
    // Only rooms that the user has something to do with; others (peeking) are not sent.
    if (room === undefined || room.forgotten === 1) continue;
    listed.push([room]);
    add(roomId, roomConfig(subscription));
  }
  const everything = (): Set<string> => new Set(listed.flatMap((rooms) => rooms.map((room) => room.room_id)));
  return { lists: answers, relevant, all: everything, rooms: all, joined: own.joined, newlyJoined, newlyLeft, directRooms: direct };
}

/** Rooms left by the user's own will are not shown, but for the answer that tells of it. */
function isShown(room: ListRoom, userId: string, newlyLeft: ReadonlySet<string>): boolean {
  if (room.forgotten === 1) return false;
  return room.membership !== "leave" || room.sender !== userId || newlyLeft.has(room.room_id);
}

function listWindow(list: SlidingList, sorted: readonly ListRoom[], add: (roomId: string, config: RoomConfig) => void): ListAnswer {
  const config = roomConfig(list);
  const ranges: [number, number][] =
    list.slow_get_all_rooms || list.ranges === null || list.ranges === undefined ? [[0, Math.max(sorted.length - 1, 0)]] : list.ranges;
  const ops = ranges.map((range) => {
    const ids = sorted.slice(range[0], range[1] + 1).map((room) => room.room_id);
    for (const roomId of ids) add(roomId, config);
    return { op: "SYNC" as const, range, room_ids: ids };
  });
  const withoutWindow = list.slow_get_all_rooms || list.ranges === null || list.ranges === undefined;
  return { count: sorted.length, ops: withoutWindow ? [] : ops };
}

function needsTags(body: SlidingSyncBody): boolean {
  return Object.values(body.lists ?? {}).some((list) => list.filters?.tags != null || list.filters?.not_tags != null);
}

/** Those of `rooms` that the filters let through, in their order. */
async function filterRooms(
  ctx: Needs,
  all: ReadonlyMap<string, ListRoom>,
  rooms: readonly ListRoom[],
  filters: ListFilters | undefined,
  direct: ReadonlySet<string>,
  tags: ReadonlyMap<string, object>,
): Promise<readonly ListRoom[]> {
  let result = rooms;
  if (filters === undefined) return result;
  const { is_dm, is_encrypted, is_invite, room_types, not_room_types, room_name_like, tags: wanted, not_tags: unwanted, spaces } = filters;
  const has = (room: ListRoom, names: readonly string[]): boolean => names.some((name) => Object.hasOwn(tags.get(room.room_id) ?? {}, name));
  if (is_dm != null) result = result.filter((room) => direct.has(room.room_id) === is_dm);
  if (is_encrypted != null) result = result.filter((room) => room.has_known_state && room.is_encrypted === is_encrypted);
  if (is_invite != null) result = result.filter((room) => (room.membership === "invite") === is_invite);
  if (room_types != null) result = result.filter((room) => room.has_known_state && room_types.includes(room.room_type));
  if (not_room_types != null) result = result.filter((room) => room.has_known_state && !not_room_types.includes(room.room_type));
  if (room_name_like != null) result = result.filter((room) => room.room_name?.toLowerCase().includes(room_name_like.toLowerCase()) === true);
  if (wanted != null) result = result.filter((room) => has(room, wanted));
  if (unwanted != null) result = result.filter((room) => !has(room, unwanted));
  if (spaces != null) {
    const children = await childrenOf(ctx, all, spaces);
    result = result.filter((room) => children.has(room.room_id));
  }
  return result;
}

/** Rooms that the given spaces, of those the user is joined to, name as children. */
async function childrenOf(ctx: Needs, rooms: ReadonlyMap<string, ListRoom>, spaces: readonly string[]): Promise<Set<string>> {
  const joined = spaces.filter((roomId) => rooms.get(roomId)?.membership === "join");
  const children = new Set<string>();
  const states = await ctx.state.currentIdsOf(joined);
  const childIds = [...states.values()].flatMap((state) => [...state].filter(([key]) => key.startsWith("m.space.child\u0000")).map(([, id]) => id));
  const events = childIds.length === 0 ? [] : (await ctx.state.hydrate(childIds.map((id) => [`m.space.child\u0000${id}`, id] as const))).values();
  for (const event of events)
    if (event.stateKey !== undefined && Array.isArray(event.content.via) && event.content.via.length > 0) children.add(event.stateKey);
  return children;
}

async function readDirectRooms(ctx: Needs, userId: string): Promise<Set<string>> {
  const text = (await globalAccountDataOfUsers(ctx.read, [userId], "m.direct")).get(userId);
  const rooms = new Set<string>();
  const content: unknown = text === undefined ? {} : JSON.parse(text);
  if (!isJsonObject(content)) return rooms;
  for (const list of Object.values(content)) if (Array.isArray(list)) for (const roomId of list) if (typeof roomId === "string") rooms.add(roomId);
  return rooms;
}

/** Rooms joined and left since a position. Reads nothing when no membership of the user changed. */
async function moves(
  ctx: Needs,
  userId: string,
  { byId: rooms, newestMembership }: UserRooms,
  since: number | undefined,
  now: number,
): Promise<{ newlyJoined: Set<string>; newlyLeft: Set<string> }> {
  const newlyJoined = new Set<string>();
  const newlyLeft = new Set<string>();
  if (since === undefined || newestMembership <= since) return { newlyJoined, newlyLeft };
  const changes = await membershipChanges(ctx.read, userId, since, now);
  const changedRooms = new Map<string, boolean>();
  for (const change of changes) changedRooms.set(change.room_id, (changedRooms.get(change.room_id) ?? false) || change.membership !== "join");
  const before = changedRooms.size === 0 ? new Set<string>() : await roomsJoinedAt(ctx.read, userId, [...changedRooms.keys()], since);
  for (const [roomId, hadOther] of changedRooms) {
    const membership = rooms.get(roomId)?.membership;
    if (membership === "join" && (hadOther || !before.has(roomId))) newlyJoined.add(roomId);
    if (
      (membership === "leave" || membership === "ban") &&
      (before.has(roomId) || changes.some((change) => change.room_id === roomId && change.membership === "join"))
    )
      newlyLeft.add(roomId);
  }
  return { newlyJoined, newlyLeft };
}
