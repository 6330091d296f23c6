import { roomVersion } from "../protocol/room-versions.ts";
import type { Context } from "../services/context.ts";
import { createFirstEvent, type EventInput } from "../services/events/create.ts";
import { sendEvents } from "../services/events/send.ts";
import { type Requester, requesterFor } from "../services/requester.ts";
import { insertRoom } from "../storage/rooms/rooms.ts";

/** A requester as an access token would give it. */
export function requesterOf(userId: string, deviceId?: string): Requester {
  return requesterFor(userId, { deviceId });
}

export interface TestRoomOptions {
  readonly version?: string;
  /** Members beside the creator. */
  readonly members?: readonly string[];
  readonly visibility?: string;
  /** State events after the first ones. */
  readonly state?: readonly { type: string; stateKey?: string; content: EventInput["content"] }[];
}

/** A public room straight through the event pipeline: for tests below the API. Returns its id. */
export async function makeRoom(ctx: Context, creator: string, options: TestRoomOptions = {}): Promise<string> {
  const version = roomVersion(options.version ?? "11")!;
  const state = (type: string, content: EventInput["content"], stateKey = "", sender = creator): EventInput => ({ type, stateKey, sender, content });
  const createContent = { room_version: version.id, ...(version.implicitCreator ? {} : { creator }) };
  let roomId: string;
  if (version.roomIdIsCreateHash) {
    const first = await createFirstEvent(ctx, version, state("m.room.create", createContent));
    roomId = first.event.roomId;
    await ctx.transaction("room", (txn) => insertRoom(txn, { roomId, creator, isPublic: false, version: version.id }));
    await ctx.persister.persist([first]);
  } else {
    roomId = `!${ctx.random.letters(18)}:${ctx.config.server.serverName}`;
    await ctx.transaction("room", (txn) => insertRoom(txn, { roomId, creator, isPublic: false, version: version.id }));
    await sendEvents(ctx, requesterOf(creator), roomId, [state("m.room.create", createContent)]);
  }
  const join = (userId: string): EventInput => state("m.room.member", { membership: "join", displayname: userId.slice(1).split(":")[0]! }, userId, userId);
  await sendEvents(ctx, requesterOf(creator), roomId, [
    join(creator),
    state("m.room.power_levels", version.creatorsHavePower ? { users: {} } : { users: { [creator]: 100 } }),
    state("m.room.join_rules", { join_rule: "public" }),
    state("m.room.history_visibility", { history_visibility: options.visibility ?? "shared" }),
    ...(options.state ?? []).map(({ type, stateKey, content }) => state(type, content, stateKey ?? "")),
  ]);
  const members = options.members ?? [];
  for (let at = 0; at < members.length; at += 500) await sendEvents(ctx, requesterOf(creator), roomId, members.slice(at, at + 500).map(join));
  return roomId;
}
