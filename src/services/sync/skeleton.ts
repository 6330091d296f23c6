import { membershipChanges, type MembershipChange, roomsJoinedAt } from "../../storage/sync/timelines.ts";
import type { Context } from "../context.ts";
import type { RoomEntry, Skeleton, SyncRequest } from "./types.ts";

type Needs = Pick<Context, "read" | "members" | "events">;

/**
 * Sorts the user's rooms into joined, archived, invited and knocked ones, as of `now`, by the memberships that changed since the last
 * sync. Reads nothing when no membership of the user changed.
 */
export async function syncSkeleton(ctx: Needs, request: SyncRequest, now: number, excluded: ReadonlySet<string>): Promise<Skeleton> {
  const rooms = await ctx.members.roomsOf(request.userId);
  const joinedRoomIds = new Set<string>();
  let changed = false;
  const since = request.since?.room.stream;
  for (const [roomId, membership] of rooms) {
    if (since !== undefined && membership.streamOrdering > since) changed = true;
    if (membership.membership === "join" && !excluded.has(roomId)) joinedRoomIds.add(roomId);
  }
  if (since === undefined) return initialSkeleton(request, now, rooms, joinedRoomIds, excluded);
  const changes = changed ? await membershipChanges(ctx.read, request.userId, since, now) : [];
  return await incrementalSkeleton(ctx, request, since, now, joinedRoomIds, changes, excluded);
}

function initialSkeleton(
  request: SyncRequest,
  now: number,
  rooms: Awaited<ReturnType<Needs["members"]["roomsOf"]>>,
  joinedRoomIds: ReadonlySet<string>,
  excluded: ReadonlySet<string>,
): Skeleton {
  const entries: RoomEntry[] = [];
  const invited = new Map<string, { eventId: string; sender: string }>();
  const knocked = new Map<string, string>();
  const common = { since: undefined, fullState: true, newlyJoined: false, outOfBand: false };
  for (const [roomId, own] of rooms) {
    if (excluded.has(roomId) || own.forgotten) continue;
    switch (own.membership) {
      case "join":
        entries.push({ ...common, roomId, kind: "joined", upTo: now, leaveEventId: undefined });
        break;
      case "invite":
        invited.set(roomId, { eventId: own.eventId, sender: own.sender });
        break;
      case "knock":
        knocked.set(roomId, own.eventId);
        break;
      case "leave":
      case "ban":
        // Rooms that the user left by themselves are shown on demand; kicks and bans always.
        if (request.filter.includeLeave || own.membership === "ban" || own.sender !== request.userId)
          entries.push({ ...common, roomId, kind: "archived", upTo: own.streamOrdering, leaveEventId: own.eventId });
        break;
    }
  }
  return { entries, invited, knocked, joinedRoomIds, newlyJoined: new Set(), newlyLeft: new Set() };
}

async function incrementalSkeleton(
  ctx: Needs,
  request: SyncRequest,
  since: number,
  now: number,
  joinedRoomIds: ReadonlySet<string>,
  changes: readonly MembershipChange[],
  excluded: ReadonlySet<string>,
): Promise<Skeleton> {
  const byRoom = groupByRoom(changes);
  const roomIds = [...byRoom.keys()];
  const wasJoined = roomIds.length === 0 ? new Set<string>() : await roomsJoinedAt(ctx.read, request.userId, roomIds, since);
  const leaves = await ctx.events.get(changes.filter(isLeave).map((change) => change.event_id));
  const newlyJoined = new Set<string>();
  const newlyLeft = new Set<string>();
  const invited = new Map<string, { eventId: string; sender: string }>();
  const knocked = new Map<string, string>();
  const entries: RoomEntry[] = [];

  for (const [roomId, list] of byRoom) {
    if (excluded.has(roomId)) continue;
    const others = list.filter((change) => change.membership !== "join");
    const hasJoin = others.length < list.length;
    if (joinedRoomIds.has(roomId)) {
      // Left and joined again, or joined for the first time: the client starts over with the full state.
      if (others.length > 0 || !wasJoined.has(roomId)) newlyJoined.add(roomId);
      continue;
    }
    if (hasJoin && !wasJoined.has(roomId)) newlyJoined.add(roomId);
    const last = others.at(-1);
    if (last === undefined) continue;
    if (list.at(-1)!.membership !== "join" && (hasJoin || wasJoined.has(roomId))) newlyLeft.add(roomId);
    if (last.membership === "invite") invited.set(roomId, { eventId: last.event_id, sender: last.sender });
    if (last.membership === "knock") knocked.set(roomId, last.event_id);
    const leave = others.findLast(isLeave);
    if (leave !== undefined) {
      entries.push({
        roomId,
        kind: "archived",
        since: newlyJoined.has(roomId) ? undefined : since,
        upTo: leave.stream_ordering,
        fullState: newlyJoined.has(roomId),
        newlyJoined: newlyJoined.has(roomId),
        outOfBand: leaves.get(leave.event_id)?.internal.out_of_band_membership === true,
        leaveEventId: leave.event_id,
      });
    }
  }
  for (const roomId of joinedRoomIds) {
    const fresh = newlyJoined.has(roomId);
    entries.push({
      roomId,
      kind: "joined",
      since: fresh ? undefined : since,
      upTo: now,
      fullState: fresh || request.fullState,
      newlyJoined: fresh,
      outOfBand: false,
      leaveEventId: undefined,
    });
  }
  return { entries, invited, knocked, joinedRoomIds, newlyJoined, newlyLeft };
}

const isLeave = (change: MembershipChange): boolean => change.membership === "leave" || change.membership === "ban";

function groupByRoom(changes: readonly MembershipChange[]): Map<string, MembershipChange[]> {
  const groups = new Map<string, MembershipChange[]>();
  for (const change of changes) {
    const group = groups.get(change.room_id);
    if (group === undefined) groups.set(change.room_id, [change]);
    else group.push(change);
  }
  return groups;
}
