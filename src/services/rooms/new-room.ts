import type { JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import { insertRoom } from "../../storage/rooms/rooms.ts";
import type { Context } from "../context.ts";
import { checkCanonicalAlias } from "../directory/canonical-alias.ts";
import { type BuiltEvent, createEvent, createFirstEvent, type EventInput } from "../events/create.ts";
import { RoomHead } from "../events/room-head.ts";
import type { Requester } from "../requester.ts";

/** A room that exists in name only: its row is there, its first events are yet to be stored. */
export interface ReservedRoom {
  readonly roomId: string;
  readonly version: RoomVersion;
  /** The create event, where the room is named after it. */
  readonly create: BuiltEvent | undefined;
}

const ATTEMPTS = 5;

/** Finds an id for a new room and registers it. `creationContent` is that of the create event. */
export async function reserveRoom(
  ctx: Context,
  requester: Requester,
  version: RoomVersion,
  creationContent: JsonObject,
  isPublic: boolean,
): Promise<ReservedRoom> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    let create: BuiltEvent | undefined;
    let roomId: string;
    if (version.roomIdIsCreateHash) {
      // A second try must be another event.
      const timestamp = ctx.clock.now() + (attempt === 0 ? 0 : 1 + ctx.random.below(10));
      create = await createFirstEvent(ctx, version, { ...createInput(requester, version, creationContent), timestamp });
      roomId = create.event.roomId;
    } else roomId = `!${ctx.random.letters(18)}:${ctx.config.server.serverName}`;
    const isNew = await ctx.transaction("store_room", (txn) => insertRoom(txn, { roomId, creator: requester.userId, isPublic, version: version.id }));
    if (!isNew) continue;
    ctx.roomVersions.remember(roomId, version);
    return { roomId, version, create };
  }
  throw new MatrixError(500, "M_UNKNOWN", "Couldn't generate a room ID.");
}

function createInput(requester: Requester, version: RoomVersion, content: JsonObject): EventInput {
  return {
    type: "m.room.create",
    stateKey: "",
    sender: requester.userId,
    content: version.implicitCreator ? content : { ...content, creator: requester.userId },
    internal: internalOf(requester),
  };
}

const internalOf = (requester: Requester): { device_id?: string } => (requester.deviceId === undefined ? {} : { device_id: requester.deviceId });

export interface FirstEvent {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/**
 * Stores the first events of a room, the create event and the creator's join before them, in one transaction: all of them or none.
 * @throws MatrixError where the room's own rules forbid one of them
 */
export async function storeFirstEvents(
  ctx: Context,
  requester: Requester,
  room: ReservedRoom,
  creationContent: JsonObject,
  joinContent: JsonObject,
  events: readonly FirstEvent[],
): Promise<MatrixEvent[]> {
  const { roomId, version } = room;
  return await ctx.persister.exclusively(roomId, async () => {
    const head = await ctx.persister.head(roomId);
    // Each event builds on the one before, none is handed over until all are allowed.
    const draft = new RoomHead(head.tips, head.minDepth, head.hasJoinedRow);
    const built: BuiltEvent[] = [];
    const add = (one: BuiltEvent): void => {
      draft.add({ eventId: one.event.eventId, depth: one.event.depth, state: one.after! }, one.event);
      built.push(one);
    };
    add(room.create ?? (await createEvent(ctx, draft, roomId, version, createInput(requester, version, creationContent))));
    const inputs: FirstEvent[] = [{ type: "m.room.member", stateKey: requester.userId, content: { ...joinContent, membership: "join" } }, ...events];
    for (const input of inputs) {
      const one = await createEvent(ctx, draft, roomId, version, { ...input, sender: requester.userId, internal: internalOf(requester) });
      if (input.type === "m.room.canonical_alias") await checkCanonicalAlias(ctx, one);
      for (const hook of ctx.eventHooks.beforeSend) await hook(one);
      add(one);
    }
    await ctx.persister.persist(built.map((one) => ({ ...one, builtOn: head })));
    return built.map((one) => one.event);
  });
}
