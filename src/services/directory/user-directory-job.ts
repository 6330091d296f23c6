import { signals } from "../../lib/signals.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { type StateDelta, stateDeltas } from "../../storage/rooms/state-deltas.ts";
import {
  deleteDirectoryMemberships,
  deleteDirectoryUsers,
  deleteRoomsFromDirectory,
  directoryPosition,
  type DirectoryProfile,
  insertPrivatePairs,
  insertPublicMemberships,
  markRemoteProfilesStale,
  type PrivateMember,
  setDirectoryPosition,
  upsertDirectoryEntries,
  usersInNoDirectoryRoom,
} from "../../storage/rooms/user-directory.ts";
import type { Context } from "../context.ts";
import { directoryEntry, findable } from "./user-directory.ts";

type Needs = Pick<Context, "config" | "read" | "transaction" | "events" | "state" | "members" | "streams" | "clock" | "appservices">;

const BATCH = 1000;
const RELEVANT = new Set(["m.room.member", "m.room.join_rules", "m.room.history_visibility"]);
/** A remote profile in a private room may differ from the public one: it is asked of the user's server after this time. */
export const STALE_PROFILE_DELAY_MS = 60_000;

/**
 * Follows the changes of rooms' current state with the user directory, from the position stored there. A position of NULL means that the
 * directory is being rebuilt: nothing is done.
 */
export async function updateUserDirectory(ctx: Needs, signal?: AbortSignal): Promise<void> {
  if (!ctx.config.workers.shouldUpdateUserDirectory) return;
  let position = await directoryPosition(ctx.read);
  if (position === null) return;
  for (;;) {
    const upTo = ctx.streams.events.currentToken();
    signals.positionReached.emit({ name: "user_dir", position });
    if (position >= upTo || signal?.aborted) return;
    const batch = await stateDeltas(ctx.read, position, upTo, BATCH);
    await applyBatch(
      ctx,
      batch.deltas.filter((delta) => RELEVANT.has(delta.type)),
      batch.position,
    );
    position = batch.position;
  }
}

/** What a batch of changes comes to, room by room. Membership and publicity are those of now: later changes come in a later batch. */
async function applyBatch(ctx: Needs, deltas: readonly StateDelta[], position: number): Promise<void> {
  const changes = await collect(ctx, deltas);
  const joined = [...changes.joiners].filter(([, users]) => users.size > 0).map(([roomId]) => roomId);
  const rooms = await describeRooms(ctx, new Set([...joined, ...changes.republished]));
  const people = await findable(
    ctx,
    new Set([...[...rooms.values()].flatMap((room) => [...room.members]), ...changes.profiles.keys(), ...changes.left.map((left) => left.userId)]),
  );

  const pub: { rooms: string[]; users: string[] } = { rooms: [], users: [] };
  const pairs: PrivateMember[] = [];
  const profiles: DirectoryProfile[] = [];
  const stale: { userId: string; serverName: string }[] = [];
  const isLocal = (userId: string): boolean => getDomain(userId) === ctx.config.server.serverName;

  for (const [roomId, room] of rooms) {
    const all = changes.republished.has(roomId);
    const joiners = changes.joiners.get(roomId);
    for (const userId of room.members) {
      if (!people.has(userId)) continue;
      const joining = all || (joiners?.has(userId) ?? false);
      if (!room.public) pairs.push({ roomId, userId, local: isLocal(userId), joining });
      else if (joining) {
        pub.rooms.push(roomId);
        pub.users.push(userId);
      }
    }
  }
  for (const [userId, event] of changes.profiles) {
    if (rooms.get(event.roomId)?.public ?? (await isPublic(ctx, event.roomId))) profiles.push(profileIn(event));
    else stale.push({ userId, serverName: getDomain(userId) });
  }
  const abandoned: string[] = [];
  const left = changes.left.filter(({ userId }) => people.has(userId));
  for (const { roomId } of left) if (!(await ctx.members.joinedServers(roomId)).has(ctx.config.server.serverName)) abandoned.push(roomId);

  await ctx.transaction("update_user_directory", async (txn) => {
    const gone = await deleteRoomsFromDirectory(txn, [...new Set([...abandoned, ...changes.republished])]);
    for (const roomId of changes.republished) for (const userId of rooms.get(roomId)?.members ?? []) gone.delete(userId);
    await deleteDirectoryMemberships(
      txn,
      left.map((one) => one.roomId),
      left.map((one) => one.userId),
    );
    await upsertDirectoryEntries(txn, profiles.map(directoryEntry));
    await markRemoteProfilesStale(txn, stale, ctx.clock.now() + STALE_PROFILE_DELAY_MS, 0);
    await insertPublicMemberships(txn, pub.rooms, pub.users);
    await insertPrivatePairs(txn, pairs);
    const suspects = new Set([...left.map((one) => one.userId), ...gone]);
    await deleteDirectoryUsers(
      txn,
      await usersInNoDirectoryRoom(
        txn,
        [...suspects].filter((userId) => !isLocal(userId)),
      ),
    );
    await setDirectoryPosition(txn, position);
  });
}

interface Changes {
  /** Users who joined, by room. */
  readonly joiners: Map<string, Set<string>>;
  readonly left: { roomId: string; userId: string }[];
  /** Rooms that became public or private. */
  readonly republished: Set<string>;
  /** Remote users' newest joins with a name or avatar to show. */
  readonly profiles: Map<string, MatrixEvent>;
}

async function collect(ctx: Needs, deltas: readonly StateDelta[]): Promise<Changes> {
  const events = await ctx.events.get(deltas.flatMap((delta) => [delta.eventId, delta.prevEventId].filter((id) => id !== null)));
  const changes: Changes = { joiners: new Map(), left: [], republished: new Set(), profiles: new Map() };
  for (const delta of deltas) {
    const event = delta.eventId === null ? undefined : events.get(delta.eventId);
    const previous = delta.prevEventId === null ? undefined : events.get(delta.prevEventId);
    if (delta.type !== "m.room.member") {
      const [key, value] = delta.type === "m.room.join_rules" ? ["join_rule", "public"] : ["history_visibility", "world_readable"];
      const [before, after] = [previous?.content[key!] === value, event?.content[key!] === value];
      if (before !== after && (await isPublic(ctx, delta.roomId)) === after) changes.republished.add(delta.roomId);
      continue;
    }
    const userId = delta.stateKey;
    const [before, after] = [previous?.membership === "join", event?.membership === "join"];
    if (before && !after) {
      changes.left.push({ roomId: delta.roomId, userId });
      changes.joiners.get(delta.roomId)?.delete(userId);
    } else if (after && !before) {
      let joiners = changes.joiners.get(delta.roomId);
      if (joiners === undefined) changes.joiners.set(delta.roomId, (joiners = new Set()));
      joiners.add(userId);
    }
    if (after && getDomain(userId) !== ctx.config.server.serverName && (!before || !sameProfile(previous!, event!))) changes.profiles.set(userId, event!);
  }
  return changes;
}

async function describeRooms(ctx: Needs, roomIds: ReadonlySet<string>): Promise<Map<string, { public: boolean; members: ReadonlySet<string> }>> {
  const described = await Promise.all(
    [...roomIds].map(async (roomId) => [roomId, { public: await isPublic(ctx, roomId), members: await ctx.members.joined(roomId) }] as const),
  );
  return new Map(described);
}

/** Anyone may join the room or read it. */
async function isPublic(ctx: Pick<Context, "state">, roomId: string): Promise<boolean> {
  const [rules, visibility] = await Promise.all([
    ctx.state.currentEvent(roomId, "m.room.join_rules"),
    ctx.state.currentEvent(roomId, "m.room.history_visibility"),
  ]);
  return rules?.content.join_rule === "public" || visibility?.content.history_visibility === "world_readable";
}

function profileIn(event: MatrixEvent): DirectoryProfile {
  const { displayname, avatar_url } = event.content;
  return {
    userId: event.stateKey!,
    displayName: typeof displayname === "string" ? displayname : null,
    avatarUrl: typeof avatar_url === "string" ? avatar_url : null,
  };
}

const sameProfile = (one: MatrixEvent, other: MatrixEvent): boolean =>
  one.content.displayname === other.content.displayname && one.content.avatar_url === other.content.avatar_url;
