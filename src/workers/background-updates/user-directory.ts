import type { JsonObject } from "../../lib/json.ts";
import { getDomain } from "../../protocol/ids.ts";
import { directoryEntry, findable } from "../../services/directory/user-directory.ts";
import type { Txn } from "../../storage/database.ts";
import type { Batch } from "../../storage/jobs/background-updates-batches.ts";
import {
  countScratch,
  createDirectoryScratch,
  dropDirectoryScratch,
  emptyDirectory,
  forgetScratchRooms,
  insertSharers,
  joinedProfiles,
  scratchRooms,
  takeScratchUsers,
} from "../../storage/jobs/background-updates-rooms.ts";
import { type DirectoryProfile, insertPublicMemberships, localProfiles, upsertDirectoryEntries } from "../../storage/rooms/user-directory.ts";
import { readCurrentStateOfTypes } from "../../storage/state/current.ts";
import type { UpdateContext } from "./update.ts";

/**
 * Builds the user directory anew, in four updates that depend on each other: note what there is, go through the rooms, go through the
 * local users, follow the changes since the beginning.
 */
export async function createTables(_ctx: UpdateContext, txn: Txn): Promise<Batch> {
  await createDirectoryScratch(txn);
  return { items: 1, progress: undefined };
}

export async function cleanUp(_ctx: UpdateContext, txn: Txn): Promise<Batch> {
  await dropDirectoryScratch(txn);
  return { items: 1, progress: undefined };
}

/** Most rooms of a batch; `size` bounds the state events they have together. */
const MAX_ROOMS = 250;
/** Local users whose pairs are written by one statement. */
const PAIRS_OF = 50;

/** Remote members become findable, and who shares a room with whom is noted. */
export async function processRooms(ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  if (Object.keys(progress).length === 0) await emptyDirectory(txn);
  const found = await scratchRooms(txn, MAX_ROOMS);
  if (found.length === 0) return { items: 1, progress: undefined };
  const rooms: string[] = [];
  let items = 0;
  for (const { room_id, events } of found) {
    if (rooms.length > 0 && items + events > size) break;
    rooms.push(room_id);
    items += events;
  }
  const members = await joinedProfiles(txn, rooms);
  const byRoom = new Map<string, typeof members>(rooms.map((roomId) => [roomId, []]));
  for (const member of members) byRoom.get(member.room_id)!.push(member);
  const isLocal = (userId: string): boolean => getDomain(userId) === ctx.config.server.serverName;
  const allowed = await findable(ctx, new Set(members.map((member) => member.user_id)));
  const isPublic = await publicRooms(ctx, rooms);

  const remote = new Map<string, DirectoryProfile>();
  const open: { rooms: string[]; users: string[] } = { rooms: [], users: [] };
  for (const [roomId, joined] of byRoom) {
    // A room that we have left does not make anybody findable.
    if (!joined.some((member) => isLocal(member.user_id))) continue;
    const people = joined.filter((member) => allowed.has(member.user_id));
    for (const person of people) {
      if (!isLocal(person.user_id)) remote.set(person.user_id, { userId: person.user_id, displayName: person.display_name, avatarUrl: person.avatar_url });
      if (isPublic.has(roomId)) {
        open.rooms.push(roomId);
        open.users.push(person.user_id);
      }
    }
    if (isPublic.has(roomId)) continue;
    const everybody = people.map((person) => person.user_id);
    const locals = everybody.filter(isLocal);
    for (let i = 0; i < locals.length; i += PAIRS_OF) await insertSharers(txn, roomId, locals.slice(i, i + PAIRS_OF), everybody);
  }
  await upsertDirectoryEntries(txn, [...remote.values()].map(directoryEntry));
  await insertPublicMemberships(txn, open.rooms, open.users);
  await forgetScratchRooms(txn, rooms);
  return { items, progress: { remaining: await countScratch(txn, "rooms") } };
}

/** Of these rooms, those that anybody may join or read. */
async function publicRooms(ctx: UpdateContext, roomIds: readonly string[]): Promise<Set<string>> {
  const ids = (await readCurrentStateOfTypes(ctx.read, roomIds, ["m.room.join_rules", "m.room.history_visibility"])).filter(({ stateKey }) => stateKey === "");
  const events = await ctx.events.get(ids.map(({ eventId }) => eventId));
  const open = new Set<string>();
  for (const { roomId, eventId } of ids) {
    const content = events.get(eventId)?.content;
    if (content?.join_rule === "public" || content?.history_visibility === "world_readable") open.add(roomId);
  }
  return open;
}

/** Local users are findable by their own profile, not by what they call themselves in a room. */
export async function processUsers(ctx: UpdateContext, txn: Txn, _progress: JsonObject, size: number): Promise<Batch> {
  const users = await takeScratchUsers(txn, size);
  if (users.length === 0) return { items: 1, progress: undefined };
  const allowed = [...(await findable(ctx, users))];
  const profiles = await localProfiles(txn, allowed);
  await upsertDirectoryEntries(
    txn,
    allowed.map((userId) => directoryEntry(profiles.get(userId) ?? { userId, displayName: null, avatarUrl: null })),
  );
  return { items: users.length, progress: { remaining: await countScratch(txn, "users") } };
}
