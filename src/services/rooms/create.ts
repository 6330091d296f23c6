import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { aliasTarget } from "../../storage/rooms/aliases.ts";
import { joinFacts } from "../../storage/rooms/join-facts.ts";
import { setRoomPublic } from "../../storage/rooms/rooms.ts";
import type { Context } from "../context.ts";
import { createAlias } from "../directory/aliases.ts";
import { mayPublish } from "../directory/rules.ts";
import { checkSender } from "../events/send.ts";
import type { Requester } from "../requester.ts";
import { type CreationRequest, parseCreation, parseCreators } from "./creation-request.ts";
import { checkMemberContent, withProfile } from "./member-content.ts";
import { updateMembership } from "./membership.ts";
import { type FirstEvent, reserveRoom, storeFirstEvents } from "./new-room.ts";
import { defaultPowerLevels, presetOf } from "./presets.ts";
import { inviteThreepid } from "./threepid-invites.ts";

/** Making rooms (client-server API, "Creation"). */
export interface CreateRoomOptions {
  /** Default true. */
  readonly rateLimit?: boolean;
  /** Name and picture with which the creator joins; default: the profile. */
  readonly creatorProfile?: JsonObject | undefined;
  /** The server's own rooms stay unencrypted whatever the config says. */
  readonly ignoreForcedEncryption?: boolean;
}

/** @throws MatrixError 400, 403, 429 */
export async function createRoom(
  ctx: Context,
  requester: Requester,
  body: JsonObject,
  options: CreateRoomOptions = {},
): Promise<{ roomId: string; alias: string | undefined }> {
  const { userId } = requester;
  await checkSender(ctx, requester, { type: "m.room.member", content: { membership: "leave" } }, { ignoreShadowBan: true });
  if ((await ctx.accounts.user(userId))?.suspended === true && requester.authenticatedEntity !== ctx.config.server.serverName) {
    throw new MatrixError(403, "M_USER_SUSPENDED", "Joining rooms while account is suspended is not allowed.");
  }
  if (options.rateLimit !== false) await limitCreation(ctx, requester);
  const asAdmin = userId === ctx.config.serverNotices.userId || (await ctx.isServerAdmin(requester));
  const wanted = { ...body };
  await ctx.modules.thirdPartyRules.onCreateRoom(requester, wanted, asAdmin);
  const request = parseCreation(ctx, userId, wanted);
  const alias = request.aliasLocalpart === undefined ? undefined : `#${request.aliasLocalpart}:${ctx.config.server.serverName}`;
  if (alias !== undefined && (await aliasTarget(ctx.read, alias)) !== undefined) throw new MatrixError(400, "M_ROOM_IN_USE", "Room alias already taken");
  const invites = await whomToInvite(ctx, requester, request);
  checkEncryptionLevel(ctx, request);

  if (!asAdmin) await ctx.modules.spamChecker.requireMayCreateRoom(userId, wanted);

  const creationContent = createContent(request);
  const joinContent = await creatorContent(ctx, requester, options.creatorProfile);
  const room = await reserveRoom(ctx, requester, request.version, creationContent, request.isPublic);
  const { roomId } = room;
  const visibility = request.isPublic ? "public" : "private";
  if (!(await ctx.modules.thirdPartyRules.mayChangeVisibility(roomId, visibility, async () => await ctx.state.current(roomId))))
    throw new MatrixError(403, "M_UNKNOWN", "Room visibility value not allowed.");
  if (request.isPublic && !mayPublish(ctx, userId, roomId, alias === undefined ? [] : [alias])) {
    await ctx.transaction("set_room_is_public", (txn) => setRoomPublic(txn, roomId, false));
  }
  if (alias !== undefined) await createAlias(ctx, requester, alias, roomId, { servers: [ctx.config.server.serverName], checkMembership: false });
  await storeFirstEvents(ctx, requester, room, creationContent, joinContent, firstEvents(ctx, requester, request, alias, options));

  const inviteContent = {
    ...(request.isDirect ? { is_direct: request.isDirect } : {}),
    ...(request.inviteReason === undefined ? {} : { reason: request.inviteReason }),
  };
  for (const target of invites.users)
    await updateMembership(ctx, requester, { roomId, target, action: "invite", content: inviteContent }, { rateLimit: false });
  for (const threepid of invites.threepids) await inviteThreepid(ctx, requester, roomId, threepid);
  return { roomId, alias };
}

/** Counts as a room and as a message, when both limits allow it. */
export async function limitCreation(ctx: Pick<Context, "limits">, requester: Requester): Promise<void> {
  await ctx.limits.check("roomCreation", requester.userId, { requester, count: false });
  await ctx.limits.check("message", requester.userId, { requester });
  await ctx.limits.check("roomCreation", requester.userId, { requester });
}

async function whomToInvite(
  ctx: Context,
  requester: Requester,
  request: CreationRequest,
): Promise<{ users: readonly string[]; threepids: CreationRequest["inviteThreepids"] }> {
  const count = request.invite.length + request.inviteThreepids.length;
  if (count === 0) return { users: [], threepids: [] };
  if (requester.shadowBanned) {
    await ctx.clock.sleep(1_000 * (1 + ctx.random.below(10)));
    return { users: [], threepids: [] };
  }
  if (!(await ctx.limits.allows("invitesPerRoom", requester.userId, { requester, cost: count, count: false }))) {
    throw new MatrixError(400, "M_UNKNOWN", "Cannot invite so many users at once");
  }
  return { users: request.invite, threepids: request.inviteThreepids };
}

/** An override from the config may ask for more power to encrypt than the creator will have. */
function checkEncryptionLevel(ctx: Pick<Context, "config">, request: CreationRequest): void {
  const { room } = ctx.config;
  const encrypts =
    room.encryptionEnabledByDefaultForRoomPresets.includes(request.preset) ||
    [...request.initialState.values()].some(({ type }) => type === "m.room.encryption");
  const override = room.defaultPowerLevelContentOverride[request.preset];
  if (!encrypts || override === undefined || override === null) return;
  const levels = (isJsonObject(override.events) ? override.events : {}) as JsonObject;
  const [own, needed] = [levels["m.room.power_levels"] ?? 100, levels["m.room.encryption"] ?? 100];
  if (Number(needed) > Number(own)) throw forbidden(`You cannot create an encrypted room. user_level (${String(own)}) < send_level (${String(needed)})`);
}

function createContent(request: CreationRequest): JsonObject {
  const { version, invite } = request;
  const content: JsonObject = { ...request.creationContent, room_version: version.id };
  if (version.stateDag) content["m.federate"] = false;
  if (version.creatorsHavePower && content.additional_creators !== undefined) content.additional_creators = parseCreators(content.additional_creators);
  if (version.creatorsHavePower && request.preset === "trusted_private_chat" && invite.length > 0) {
    content.additional_creators = [...new Set([...((content.additional_creators as string[] | undefined) ?? []), ...invite])];
  }
  return content;
}

async function creatorContent(ctx: Context, requester: Requester, given: JsonObject | undefined): Promise<JsonObject> {
  const content = await checkMemberContent(ctx, requester, given);
  return await withProfile(ctx, content, requester.userId, await joinFacts(ctx.read, "", requester.userId));
}

/** The events that follow the creator's join, in Synapse's order. */
function firstEvents(
  ctx: Pick<Context, "config">,
  requester: Requester,
  request: CreationRequest,
  alias: string | undefined,
  options: CreateRoomOptions,
): FirstEvent[] {
  const preset = presetOf(request.preset);
  const given = new Map(request.initialState);
  const events: FirstEvent[] = [];
  const add = (type: string, content: JsonObject): void => void events.push({ type, stateKey: "", content });
  const powerLevels = given.get("m.room.power_levels\0");
  given.delete("m.room.power_levels\0");
  add("m.room.power_levels", powerLevels?.content ?? powerLevelsOf(ctx, requester, request));
  if (alias !== undefined && !given.has("m.room.canonical_alias\0")) add("m.room.canonical_alias", { alias });
  if (!given.has("m.room.join_rules\0")) add("m.room.join_rules", { join_rule: preset.joinRule });
  if (!given.has("m.room.history_visibility\0")) add("m.room.history_visibility", { history_visibility: preset.historyVisibility });
  if (preset.guestsCanJoin && !given.has("m.room.guest_access\0")) add("m.room.guest_access", { guest_access: "can_join" });
  events.push(...given.values());
  const forced = ctx.config.room.encryptionEnabledByDefaultForRoomPresets.includes(request.preset) && !options.ignoreForcedEncryption;
  if (forced) add("m.room.encryption", { algorithm: "m.megolm.v1.aes-sha2" });
  if (request.name !== undefined) add("m.room.name", { name: request.name });
  if (request.topic !== undefined) add("m.room.topic", { topic: request.topic, "m.topic": { "m.text": [{ body: request.topic }] } });
  return events;
}

function powerLevelsOf(ctx: Pick<Context, "config">, requester: Requester, request: CreationRequest): JsonObject {
  const ofConfig = (ctx.config.room.defaultPowerLevelContentOverride[request.preset] ?? {}) as JsonObject;
  const defaults = defaultPowerLevels(presetOf(request.preset), requester.userId, request.invite, request.version.creatorsHavePower);
  return { ...defaults, ...ofConfig, ...request.powerLevels };
}
