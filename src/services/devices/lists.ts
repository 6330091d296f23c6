import { stringifyAscii } from "../../lib/json.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { Txn } from "../../storage/database.ts";
import { membershipHistory } from "../../storage/devices/list-memberships.ts";
import {
  addDeviceChanges,
  addSignatureChange,
  membersWithChangedDevices,
  roomsJoinedBy,
  signatureChanges,
  usersChangedInRooms,
  usersInRooms,
  usersOfRooms,
  usersWithChangedDevices,
} from "../../storage/devices/lists.ts";
import type { Context } from "../context.ts";
import type { StreamToken } from "../streams/token.ts";

/** Changes of device lists: writing them, and reading them for /sync; `list-pokes.ts` tells other servers. */
export type DeviceListContext = Pick<Context, "read" | "transaction" | "clock" | "config" | "streams" | "notifier" | "changes" | "members" | "deviceListPokes">;

/**
 * Devices (or cross-signing keys, by their public key) of a user, local or remote, are new, changed or gone: everybody who shares a room
 * will see the user in `device_lists.changed`, and other servers hear of local users' devices.
 */
export async function recordDeviceChanges(
  ctx: Omit<DeviceListContext, "read" | "transaction">,
  txn: Txn,
  userId: string,
  deviceIds: readonly string[],
): Promise<void> {
  if (deviceIds.length === 0) return;
  const isLocal = getDomain(userId) === ctx.config.server.serverName;
  const roomIds = await roomsJoinedBy(txn, userId);
  const stream = ctx.streams.deviceLists;
  const streamIds = await stream.next(txn, deviceIds.length);
  await addDeviceChanges(txn, { userId, deviceIds, streamIds, roomIds, isLocal, now: ctx.clock.now(), instanceName: stream.instanceName });
  txn.afterCommit(() => {
    ctx.changes.deviceLists.record(userId, streamIds.at(-1)!);
    stream.whenVisible(streamIds.at(-1)!, () => {
      ctx.notifier.wakeUsers([userId], "device_list_key");
      ctx.notifier.announce();
      void wakeRooms(ctx, roomIds);
      if (isLocal) ctx.deviceListPokes.poke();
    });
  });
}

/** `from` signed keys of these users: `from` itself sees them in `device_lists.changed`. */
export async function recordSignatureChange(
  ctx: Pick<Context, "streams" | "changes" | "notifier">,
  txn: Txn,
  from: string,
  userIds: readonly string[],
): Promise<void> {
  const stream = ctx.streams.deviceLists;
  const [streamId] = await stream.next(txn);
  await addSignatureChange(txn, from, stringifyAscii(userIds), streamId!, stream.instanceName);
  txn.afterCommit(() => {
    ctx.changes.userSignatures.record(from, streamId!);
    stream.whenVisible(streamId!, () => {
      ctx.notifier.wakeUsers([from], "device_list_key");
      ctx.notifier.announce();
    });
  });
}

async function wakeRooms(ctx: Pick<Context, "members" | "notifier">, roomIds: readonly string[]): Promise<void> {
  if (ctx.notifier.waitingUsers === 0) return;
  try {
    for (const roomId of roomIds) ctx.notifier.wakeMembers(await ctx.members.joinedLocal(roomId), "device_list_key");
  } catch {
    // The database is away; the next wake of any kind shows the change.
  }
}

/** Whose device lists a client must fetch anew, and whose it need not follow any more (client-server API, "Tracking the device list for a user"). */
export interface MembershipMoves {
  /** Rooms that the user is joined to now. */
  readonly joinedRoomIds: ReadonlySet<string>;
  readonly newlyJoinedRooms: Iterable<string>;
  readonly newlyLeftRooms: Iterable<string>;
  /** Users who came into (or were invited to, or knocked on) a room that the user is in. */
  readonly newlyJoinedUsers: Iterable<string>;
  /** Users who left such a room. */
  readonly newlyLeftUsers: Iterable<string>;
}

export interface DeviceListChanges {
  readonly changed: ReadonlySet<string>;
  readonly left: ReadonlySet<string>;
}

/** `device_lists` of a sync: what changed at positions of the device list stream in (`since`, `upTo`]. */
export async function deviceListChanges(
  ctx: Pick<Context, "read" | "changes">,
  userId: string,
  since: number,
  upTo: number,
  moves: MembershipMoves,
): Promise<DeviceListChanges> {
  const { joinedRoomIds } = moves;
  const changed = new Set(moves.newlyJoinedUsers);
  const left = new Set(moves.newlyLeftUsers);
  const [newlyJoined, newlyLeft] = [[...moves.newlyJoinedRooms], [...moves.newlyLeftRooms]];
  const [inRooms, own, signed, joinedMembers, leftMembers] = await Promise.all([
    changedInSharedRooms(ctx, joinedRoomIds, since, upTo),
    ctx.changes.deviceLists.hasChanged(userId, since) ? usersWithChangedDevices(ctx.read, [userId], since, upTo) : [],
    ctx.changes.userSignatures.hasChanged(userId, since) ? signatureChanges(ctx.read, userId, since, upTo) : [],
    newlyJoined.length > 0 ? usersOfRooms(ctx.read, newlyJoined) : [],
    newlyLeft.length > 0 ? usersOfRooms(ctx.read, newlyLeft) : [],
  ]);
  for (const list of [inRooms, own, joinedMembers]) for (const id of list) changed.add(id);
  for (const json of signed) for (const id of JSON.parse(json) as unknown[]) if (typeof id === "string") changed.add(id);
  for (const id of leftMembers) left.add(id);
  left.delete(userId);
  if (left.size > 0) for (const id of await usersInRooms(ctx.read, [...left], [...joinedRoomIds])) left.delete(id);
  return { changed, left };
}

async function changedInSharedRooms(
  ctx: Pick<Context, "read" | "changes">,
  roomIds: ReadonlySet<string>,
  since: number,
  upTo: number,
): Promise<readonly string[]> {
  if (since >= upTo || roomIds.size === 0 || ctx.changes.deviceLists.changed(since, upTo)?.size === 0) return [];
  const rooms = [...roomIds];
  return (await usersChangedInRooms(ctx.read, rooms, since, upTo)) ?? (await membersWithChangedDevices(ctx.read, rooms, since, upTo));
}

/** `GET /keys/changes`: the same between two sync tokens; what was joined and left is read from the state changes of that time. */
export async function deviceListChangesBetween(
  ctx: Pick<Context, "read" | "changes" | "members">,
  userId: string,
  from: StreamToken,
  to: StreamToken,
): Promise<DeviceListChanges> {
  const joinedRoomIds = new Set<string>();
  for (const [roomId, own] of await ctx.members.roomsOf(userId)) if (own.membership === "join") joinedRoomIds.add(roomId);
  const moves = await membershipMoves(ctx, userId, joinedRoomIds, from.room.stream, to.room.stream);
  return await deviceListChanges(ctx, userId, from.deviceLists.stream, to.deviceLists.stream, { joinedRoomIds, ...moves });
}

/** Moves of the user, and of others in the rooms that the user is in, at stream positions in (`after`, `upTo`]. */
async function membershipMoves(
  ctx: Pick<Context, "read">,
  userId: string,
  joinedRoomIds: ReadonlySet<string>,
  after: number,
  upTo: number,
): Promise<Pick<MembershipMoves, "newlyJoinedRooms" | "newlyLeftRooms" | "newlyJoinedUsers" | "newlyLeftUsers">> {
  const [newlyJoinedRooms, newlyLeftRooms] = [new Set<string>(), new Set<string>()];
  const [newlyJoinedUsers, newlyLeftUsers] = [new Set<string>(), new Set<string>()];
  const present = new Set<string | null>(["join", "invite", "knock"]);
  for (const { roomId, userId: who, before, now } of await membershipHistory(ctx.read, userId, [...joinedRoomIds], after, upTo)) {
    if (who === userId) {
      if (now === "join" && before !== "join") {
        newlyJoinedRooms.add(roomId);
        newlyLeftRooms.delete(roomId);
      } else if (now !== "join" && before === "join") {
        newlyJoinedRooms.delete(roomId);
        newlyLeftRooms.add(roomId);
      }
    }
    if (!joinedRoomIds.has(roomId)) continue;
    if (present.has(now) && !present.has(before)) {
      newlyJoinedUsers.add(who);
      newlyLeftUsers.delete(who);
    } else if (!present.has(now) && present.has(before)) {
      newlyJoinedUsers.delete(who);
      newlyLeftUsers.add(who);
    }
  }
  return { newlyJoinedRooms, newlyLeftRooms, newlyJoinedUsers, newlyLeftUsers };
}
