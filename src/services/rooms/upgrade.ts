import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { CREATE_KEY, POWER_LEVELS_KEY } from "../../protocol/power-levels.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import { moveAliases } from "../../storage/rooms/aliases.ts";
import { findRoom, setRoomPublic } from "../../storage/rooms/rooms.ts";
import { copyTagsAndDirect } from "../account-data/account-data.ts";
import type { Context } from "../context.ts";
import { createEvent } from "../events/create.ts";
import { StaleEvent } from "../events/event-to-persist.ts";
import { asTold } from "../events/persister.ts";
import { checkSender, hasLostGround, sendEvent, sendEvents, ShadowBanned } from "../events/send.ts";
import { copyRoomRules } from "../push/rules.ts";
import type { Requester } from "../requester.ts";
import { joinFacts } from "../../storage/rooms/join-facts.ts";
import { limitCreation } from "./create.ts";
import { checkMemberContent, withProfile } from "./member-content.ts";
import { copyPowerLevels, levelsForCreator, levelsOfOldRoom, withoutCreators } from "./upgrade-levels.ts";
import { predecessorOf } from "./predecessors.ts";
import { type FirstEvent, reserveRoom, storeFirstEvents } from "./new-room.ts";
import { presetOf } from "./presets.ts";

/** Replacing a room by one of another version (client-server API, "Room Upgrades"). */
const COPIED = [
  "m.room.join_rules",
  "m.room.name",
  "m.room.topic",
  "m.room.history_visibility",
  "m.room.guest_access",
  "m.room.avatar",
  "m.room.encryption",
  "m.room.server_acl",
];
const MAX_BATCH = 100;

/**
 * Makes the new room, points the old one to it by a tombstone, and moves aliases, directory entry, tags and push rules. Returns the new room.
 * @throws MatrixError 403 when the user may not send the tombstone; 404 for an unknown room; 429
 */
export async function upgradeRoom(
  ctx: Context,
  requester: Requester,
  oldRoomId: string,
  version: RoomVersion,
  additionalCreators: readonly string[] | undefined,
  options: { rateLimit?: boolean } = {},
): Promise<string> {
  if (options.rateLimit !== false) await limitCreation(ctx, requester);
  return await ctx.roomUpgrades.once(oldRoomId, requester.userId, () => upgrade(ctx, requester, oldRoomId, version, additionalCreators));
}

async function upgrade(
  ctx: Context,
  requester: Requester,
  oldRoomId: string,
  version: RoomVersion,
  additionalCreators: readonly string[] | undefined,
): Promise<string> {
  if (requester.shadowBanned) throw new ShadowBanned();
  const old = await findRoom(ctx.read, oldRoomId);
  const oldVersion = await ctx.roomVersions.get(oldRoomId);
  if (old === undefined || oldVersion === undefined) throw notFound(`Unknown room id ${oldRoomId}`);
  await checkSender(ctx, requester, { type: "m.room.tombstone", content: {} });
  const state = await ctx.state.current(oldRoomId);
  const isPublic = old.is_public ?? false;

  // The old room is held meanwhile: its tombstone is made first, so that whoever may not send it changes nothing, and is stored last.
  const newRoomId = await ctx.persister.exclusively(oldRoomId, async () => {
    const head = await ctx.persister.head(oldRoomId);
    let content = creationContent(state.get(CREATE_KEY), oldRoomId, undefined, version, additionalCreators);
    const tombstone = async (roomId: string): Promise<Awaited<ReturnType<typeof createEvent>>> =>
      await createEvent(ctx, head, oldRoomId, oldVersion, {
        type: "m.room.tombstone",
        stateKey: "",
        sender: requester.userId,
        content: { body: "This room has been replaced", replacement_room: roomId },
        internal: requester.deviceId === undefined ? {} : { device_id: requester.deviceId },
      });
    await tombstone("!"); // may the user send it at all?
    const copied = copiedState(requester, state, version, additionalCreators);
    const initialState = copied.map(({ type, stateKey, content: own }) => ({ type, state_key: stateKey, content: own }));
    await ctx.modules.spamChecker.requireMayCreateRoom(requester.userId, { creation_content: content, initial_state: initialState });
    const room = await reserveRoom(ctx, requester, version, content, isPublic);
    const built = await tombstone(room.roomId);
    if (!version.roomIdIsCreateHash) content = creationContent(state.get(CREATE_KEY), oldRoomId, built.event.eventId, version, additionalCreators);
    await storeFirstEvents(ctx, requester, room, content, await memberContent(ctx, requester), copied);
    if (await hasLostGround(ctx, built.event)) throw new StaleEvent("What the tombstone follows was not stored");
    // Whatever the old room did meanwhile, by which it is no longer as it was read: the tombstone stands beside it.
    const { builtOn: _, ...item } = built;
    await ctx.persister.persist([item]).catch((error: unknown) => {
      throw asTold(error);
    });
    return room.roomId;
  });

  await copyBans(ctx, requester, state, newRoomId);
  await movePublicFace(ctx, requester, oldRoomId, newRoomId, isPublic, state);
  await carryOver(ctx, oldRoomId, newRoomId, await ctx.members.joinedLocal(oldRoomId));
  await settlePowerLevels(ctx, requester, oldRoomId, newRoomId, state.get(POWER_LEVELS_KEY), version, additionalCreators);
  return newRoomId;
}

async function memberContent(ctx: Context, requester: Requester): Promise<JsonObject> {
  return await withProfile(ctx, await checkMemberContent(ctx, requester, undefined), requester.userId, await joinFacts(ctx.read, "", requester.userId));
}

/** Room versions named after their create event cannot tell the id of a tombstone that tells theirs. */
function creationContent(
  old: MatrixEvent | undefined,
  oldRoomId: string,
  tombstoneId: string | undefined,
  version: RoomVersion,
  additionalCreators: readonly string[] | undefined,
): JsonObject {
  const content: JsonObject = {
    room_version: version.id,
    predecessor: { room_id: oldRoomId, ...(tombstoneId === undefined ? {} : { event_id: tombstoneId }) },
  };
  if (additionalCreators !== undefined && version.creatorsHavePower) content.additional_creators = [...additionalCreators];
  const federate = old?.content["m.federate"];
  if (federate !== undefined && federate !== true) content["m.federate"] = false;
  if (old?.content.type !== undefined) content.type = old.content.type;
  return content;
}

/** The state that the new room takes over, with power enough for the upgrader to set it up; what is missing comes from the private preset. */
function copiedState(
  requester: Requester,
  state: ReadonlyMap<string, MatrixEvent>,
  version: RoomVersion,
  additionalCreators: readonly string[] | undefined,
): FirstEvent[] {
  const events: FirstEvent[] = [];
  const levels = levelsForCreator(copyPowerLevels(state.get(POWER_LEVELS_KEY)?.content ?? {}), requester.userId);
  events.push({
    type: "m.room.power_levels",
    stateKey: "",
    content: version.creatorsHavePower ? withoutCreators(levels, [requester.userId, ...(additionalCreators ?? [])]) : levels,
  });
  const preset = presetOf("private_chat");
  const has = (type: string): boolean => state.has(stateKeyOf(type, ""));
  if (!has("m.room.join_rules")) events.push({ type: "m.room.join_rules", stateKey: "", content: { join_rule: preset.joinRule } });
  if (!has("m.room.history_visibility"))
    events.push({ type: "m.room.history_visibility", stateKey: "", content: { history_visibility: preset.historyVisibility } });
  if (!has("m.room.guest_access")) events.push({ type: "m.room.guest_access", stateKey: "", content: { guest_access: "can_join" } });
  const isSpace = state.get(CREATE_KEY)?.content.type === "m.space";
  for (const [, event] of [...state].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const copied = event.stateKey === "" && COPIED.includes(event.type);
    // An empty child is one that was removed.
    const child = isSpace && event.type === "m.space.child" && Object.keys(event.content).length > 0;
    if (copied || child) events.push({ type: event.type, stateKey: event.stateKey!, content: event.content });
  }
  return events;
}

async function copyBans(ctx: Context, requester: Requester, state: ReadonlyMap<string, MatrixEvent>, newRoomId: string): Promise<void> {
  const bans = [...state.values()].filter((event) => event.membership === "ban");
  for (let at = 0; at < bans.length; at += MAX_BATCH) {
    const inputs = bans.slice(at, at + MAX_BATCH).map((ban) => ({
      type: "m.room.member",
      stateKey: ban.stateKey!,
      sender: requester.userId,
      content: ban.content,
      internal: requester.deviceId === undefined ? {} : { device_id: requester.deviceId },
    }));
    await sendEvents(ctx, requester, newRoomId, inputs);
  }
}

/** Aliases and the place in the directory. */
async function movePublicFace(
  ctx: Context,
  requester: Requester,
  oldRoomId: string,
  newRoomId: string,
  isPublic: boolean,
  state: ReadonlyMap<string, MatrixEvent>,
): Promise<void> {
  await ctx.transaction("update_aliases_for_room", async (txn) => {
    await moveAliases(txn, oldRoomId, newRoomId, undefined);
    txn.afterCommit(() => ctx.appserviceSender.interest.forgetAliases());
    if (isPublic) {
      await setRoomPublic(txn, oldRoomId, false);
      await setRoomPublic(txn, newRoomId, true);
    }
  });
  const canonical = state.get(stateKeyOf("m.room.canonical_alias", ""));
  if (canonical === undefined) return;
  const isOurs = (alias: unknown): alias is string => typeof alias === "string" && getDomain(alias) === ctx.config.server.serverName;
  const { alias, alt_aliases: others } = canonical.content;
  const all = Array.isArray(others) ? others : [];
  const stays = all.filter((other) => !isOurs(other));
  const { alias: _alias, alt_aliases: _others, ...rest } = canonical.content;
  const oldContent: JsonObject = { ...rest, ...(alias === undefined || isOurs(alias) ? {} : { alias }), ...(stays.length === 0 ? {} : { alt_aliases: stays }) };
  const newContent: JsonObject = { ...(isOurs(alias) ? { alias } : {}), ...(all.length === 0 ? {} : { alt_aliases: all.filter(isOurs) }) };
  for (const [roomId, content] of [
    [oldRoomId, oldContent],
    [newRoomId, newContent],
  ] as const) {
    await tolerate(ctx, "Unable to send updated alias events", () =>
      sendEvent(ctx, requester, { roomId, type: "m.room.canonical_alias", stateKey: "", content }, { rateLimit: false }),
    );
  }
}

/** Only those with some power may talk in the old room; the new one gets the levels that the old one had. */
async function settlePowerLevels(
  ctx: Context,
  requester: Requester,
  oldRoomId: string,
  newRoomId: string,
  levels: MatrixEvent | undefined,
  version: RoomVersion,
  additionalCreators: readonly string[] | undefined,
): Promise<void> {
  if (levels === undefined) return;
  const copied = copyPowerLevels(levels.content);
  const raised = levelsOfOldRoom(copied);
  const send = async (roomId: string, content: JsonObject): Promise<unknown> =>
    await sendEvent(ctx, requester, { roomId, type: "m.room.power_levels", stateKey: "", content }, { rateLimit: false });
  if (raised !== undefined) await tolerate(ctx, "Unable to update PLs in old room", () => send(oldRoomId, raised));
  await send(newRoomId, version.creatorsHavePower ? withoutCreators(copied, [requester.userId, ...(additionalCreators ?? [])]) : copied);
}

async function tolerate(ctx: Pick<Context, "log">, what: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof MatrixError) && !(error instanceof ShadowBanned)) throw error;
    ctx.log.named("synapse.handlers.room").warn(what, { error });
  }
}

/** Tags, the place among direct chats, and push rules of these users go on in the new room. One user's trouble does not touch the others. */
export async function carryOver(ctx: Context, oldRoomId: string, newRoomId: string, userIds: Iterable<string>): Promise<void> {
  for (const userId of userIds) {
    try {
      await copyTagsAndDirect(ctx, userId, oldRoomId, newRoomId);
      await copyRoomRules(ctx, userId, oldRoomId, newRoomId);
    } catch (error) {
      ctx.log
        .named("synapse.handlers.room_member")
        .error(`Error copying tags and/or push rules from rooms ${oldRoomId} to ${newRoomId} for user ${userId}. Skipping...`, { error });
    }
  }
}

/**
 * The room that a newly joined one rightly replaces for the user: its create event names it, the user is or was in it, and its tombstone
 * points back. The new room's word alone proves nothing: it may come from anyone.
 */
export async function truePredecessor(ctx: Pick<Context, "state" | "members">, userId: string, newRoomId: string): Promise<string | undefined> {
  const claimed = predecessorOf(await ctx.state.currentEvent(newRoomId, "m.room.create"))?.roomId;
  if (claimed === undefined) return undefined;
  const own = (await ctx.members.roomsOf(userId)).get(claimed)?.membership;
  if (own !== "join") return undefined;
  const tombstone = await ctx.state.currentEvent(claimed, "m.room.tombstone");
  return isJsonObject(tombstone?.content) && tombstone.content.replacement_room === newRoomId ? claimed : undefined;
}
