import type { Json, JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { isRoomId } from "../../protocol/ids.ts";
import { aliasesOfRoom, moveAliases } from "../../storage/rooms/aliases.ts";
import { localMemberships } from "../../storage/rooms/local-memberships.ts";
import { blockRoom, findRoom } from "../../storage/rooms/rooms.ts";
import type { Context } from "../context.ts";
import { sendEvent } from "../events/send.ts";
import { createRoom } from "../rooms/create.ts";
import { forget } from "../room-access/forget.ts";
import { updateMembership } from "../rooms/membership.ts";
import { badRequest, inTheNameOf, isLocal } from "./targets.ts";

/** What an admin wants of a room that is shut down; the keys are those of Synapse's task. */
export interface ShutdownParams {
  /** The admin; null when the server itself shuts the room down. */
  readonly requester_user_id: string | null;
  /** Makes a room into which the members are moved, and speaks in it. */
  readonly new_room_user_id: string | null;
  readonly new_room_name: string | null;
  readonly message: string | null;
  readonly block: boolean;
  readonly purge: boolean;
  readonly force_purge: boolean;
}

/** How far the shutdown is, and in the end what was done. */
export interface ShutdownResult {
  kicked_users: string[];
  failed_to_kick_users: string[];
  local_aliases: string[];
  new_room_id: string | null;
}

/** Documented defaults of the admin API. */
const DEFAULT_NAME = "Content Violation Notification";
const DEFAULT_MESSAGE = "Sharing illegal content on this server is not permitted and rooms in violation will be blocked.";
/** Users who leave together: the persister stores them in one batch. */
const AT_ONCE = 50;
const OPTIONS = { rateLimit: false, requireConsent: false };

/** @throws MatrixError 400 for what is no room id */
export function checkRoomId(roomId: string): void {
  if (!isRoomId(roomId)) throw badRequest(`${roomId} is not a legal room ID`);
}

/** @throws MatrixError 400 when the user who is to make the new room is not ours, 403 when a module forbids it */
export async function checkShutdown(ctx: Context, roomId: string, params: Pick<ShutdownParams, "new_room_user_id" | "requester_user_id">): Promise<void> {
  checkRoomId(roomId);
  await ctx.modules.thirdPartyRules.requireMayShutDown(params.requester_user_id ?? undefined, roomId);
  const { new_room_user_id: creator } = params;
  if (creator === null) return;
  if (!isLocal(ctx, creator)) throw badRequest(`User must be our own: ${creator}`);
  if ((await ctx.accounts.user(creator)) === undefined) throw badRequest(`User must be our own: ${creator}`);
}

/**
 * Takes all local users out of a room, into a new one where that is wanted, which gets the room's aliases too. `before` is what an
 * interrupted shutdown had done; `save` keeps how far it is and says whether to go on.
 */
export async function shutdownRoom(
  ctx: Context,
  roomId: string,
  params: ShutdownParams,
  before?: ShutdownResult,
  save: (result: ShutdownResult) => Promise<boolean> = () => Promise.resolve(true),
  signal?: AbortSignal,
): Promise<ShutdownResult | "later"> {
  const { requester_user_id: admin, new_room_user_id: creator } = params;
  const result: ShutdownResult = before ?? { kicked_users: [], failed_to_kick_users: [], local_aliases: [], new_room_id: null };
  const log = ctx.log.named("synapse.handlers.room");
  // First of all, so that nobody comes back meanwhile; also rooms that are not here can be blocked.
  if (params.block && admin !== null) await ctx.transaction("block_room", (txn) => blockRoom(txn, roomId, admin));
  if ((await findRoom(ctx.read, roomId)) === undefined) return result;
  const authenticatedEntity = admin ?? ctx.config.server.serverName;
  const speaker = creator === null ? undefined : inTheNameOf({ authenticatedEntity }, creator);
  if (speaker !== undefined && result.new_room_id === null) {
    const request = { preset: "public_chat", name: params.new_room_name || DEFAULT_NAME, power_level_content_override: { users_default: -10 } };
    result.new_room_id = (await createRoom(ctx, speaker, request, { rateLimit: false })).roomId;
    await save(result);
  }
  const newRoomId = result.new_room_id;
  log.info(`Shutting down room ${roomId}`);

  const move = async (userId: string, membership: string): Promise<void> => {
    const requester = inTheNameOf({ authenticatedEntity }, userId);
    await updateMembership(ctx, requester, { roomId, target: userId, action: "leave", content: {} }, OPTIONS);
    await forget(ctx, userId, roomId, { schedulePurge: false });
    if (newRoomId !== null && membership === "join" && userId !== creator) {
      await updateMembership(ctx, requester, { roomId: newRoomId, target: userId, action: "join", content: {} }, OPTIONS);
    }
  };
  const present = (await localMemberships(ctx.read, roomId)).filter(
    ({ membership }) => membership === "join" || membership === "invite" || membership === "knock",
  );
  for (let at = 0; at < present.length; at += AT_ONCE) {
    if (signal?.aborted) return "later";
    const batch = present.slice(at, at + AT_ONCE);
    const outcomes = await Promise.allSettled(batch.map(({ userId, membership }) => move(userId, membership)));
    outcomes.forEach((outcome, index) => {
      const { userId } = batch[index]!;
      if (outcome.status === "fulfilled") result.kicked_users.push(userId);
      else {
        log.warn(`Failed to move ${userId} out of ${roomId}`, { error: outcome.reason });
        result.failed_to_kick_users.push(userId);
      }
    });
    await save(result);
  }

  if (speaker !== undefined && newRoomId !== null) {
    const content = { body: params.message || DEFAULT_MESSAGE, msgtype: "m.text" };
    await sendEvent(ctx, speaker, { roomId: newRoomId, type: "m.room.message", content }, OPTIONS);
    result.local_aliases = await aliasesOfRoom(ctx.read, roomId);
    await ctx.transaction("update_aliases_for_room", (txn) => moveAliases(txn, roomId, newRoomId, admin ?? undefined));
  }
  return result;
}

/** Reads the body of a room's deletion. @throws MatrixError 400 */
export function readShutdown(body: JsonObject, requesterId: string): ShutdownParams {
  const flag = (name: string, fallback: boolean): boolean => {
    const value = body[name] ?? fallback;
    if (body[name] === null || typeof value !== "boolean") throw new MatrixError(400, "M_BAD_JSON", `Param '${name}' must be a boolean, if given`);
    return value;
  };
  return {
    block: flag("block", false),
    purge: flag("purge", true),
    force_purge: flag("force_purge", false),
    requester_user_id: requesterId,
    new_room_user_id: text(body, "new_room_user_id"),
    new_room_name: text(body, "room_name"),
    message: text(body, "message"),
  };
}

function text(body: JsonObject, name: string): string | null {
  const value: Json = body[name] ?? null;
  if (value !== null && typeof value !== "string") throw new MatrixError(400, "M_BAD_JSON", `Param '${name}' must be a string, if given`);
  return value;
}
