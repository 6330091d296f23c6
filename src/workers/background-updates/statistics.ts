import type { JsonObject } from "../../lib/json.ts";
import { stateUpdate } from "../../services/directory/stats-job.ts";
import type { Txn } from "../../storage/database.ts";
import type { Batch } from "../../storage/jobs/background-updates-batches.ts";
import { recountRooms, recountUsers, roomsWithState, usersAfter } from "../../storage/jobs/background-updates-rooms.ts";
import { type RoomStateUpdate, updateRoomState } from "../../storage/rooms/stats.ts";
import { readCurrentStateOfTypes } from "../../storage/state/current.ts";
import type { UpdateContext } from "./update.ts";

const TYPES = [
  "m.room.create",
  "m.room.join_rules",
  "m.room.history_visibility",
  "m.room.encryption",
  "m.room.name",
  "m.room.topic",
  "m.room.avatar",
  "m.room.canonical_alias",
];
const NOTHING: RoomStateUpdate = {
  join_rules: null,
  history_visibility: null,
  encryption: null,
  name: null,
  topic: null,
  avatar: null,
  canonical_alias: null,
  is_federatable: true,
  room_type: null,
};
const done: Batch = { items: 1, progress: undefined };

/** Counts rooms and describes them anew, from their current state. */
export async function processRooms(ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  if (!ctx.config.stats.enabled) return done;
  // Taken before the first statement: all that is up to here is in what the transaction sees.
  const position = ctx.streams.events.currentToken();
  const rooms = await roomsWithState(txn, typeof progress.last_room_id === "string" ? progress.last_room_id : "", size);
  if (rooms.length === 0) return done;
  const ids = (await readCurrentStateOfTypes(txn, rooms, TYPES)).filter(({ stateKey }) => stateKey === "");
  const events = await ctx.events.get(ids.map(({ eventId }) => eventId));
  const described = new Map<string, RoomStateUpdate>(rooms.map((roomId) => [roomId, NOTHING]));
  for (const { roomId, type, eventId } of ids) {
    const event = events.get(eventId);
    if (event !== undefined) described.set(roomId, { ...described.get(roomId), ...stateUpdate(type, event.content) });
  }
  await updateRoomState(txn, described);
  await recountRooms(txn, rooms, ctx.config.server.serverName, position);
  return { items: rooms.length, progress: { ...progress, last_room_id: rooms.at(-1)! } };
}

export async function processUsers(ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  if (!ctx.config.stats.enabled) return done;
  const position = ctx.streams.events.currentToken();
  const users = await usersAfter(txn, typeof progress.last_user_id === "string" ? progress.last_user_id : "", size);
  if (users.length === 0) return done;
  await recountUsers(txn, users, position);
  return { items: users.length, progress: { ...progress, last_user_id: users.at(-1)! } };
}
