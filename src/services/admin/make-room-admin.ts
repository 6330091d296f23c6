import { isJsonObject, type Json, type JsonObject, toNumber } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { type MatrixEvent, type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import type { Context } from "../context.ts";
import { sendEvent } from "../events/send.ts";
import type { Requester } from "../requester.ts";
import { updateMembership } from "../rooms/membership.ts";
import { badRequest, inTheNameOf, isLocal } from "./targets.ts";

const CREATOR_LEVEL = 100;

/**
 * Gives a user the power of the most powerful local member, in that member's name, and invites the user into a room that is not public.
 * @throws MatrixError 400 where no local member has the power to do so
 */
export async function makeRoomAdmin(ctx: Context, requester: Requester, roomId: string, userId: string): Promise<void> {
  const keys = [
    stateKeyOf("m.room.create", ""),
    stateKeyOf("m.room.power_levels", ""),
    stateKeyOf("m.room.join_rules", ""),
    stateKeyOf("m.room.member", userId),
  ] as const;
  const state = await ctx.state.current(roomId, keys);
  const [create, levels, rules, member] = keys.map((key: StateKey) => state.get(key));
  if (create === undefined) throw badRequest("Server not in room");
  const powerful = await mostPowerful(ctx, roomId, create, levels);
  if (powerful === undefined) throw badRequest("No local admin user in room");
  const old = levels?.content ?? {};
  const users = isJsonObject(old.users) ? old.users : {};
  const content: JsonObject = { ...old, users: { ...users, [userId]: users[powerful] ?? CREATOR_LEVEL } };
  const actor = inTheNameOf(requester, powerful);
  try {
    await sendEvent(ctx, actor, { roomId, type: "m.room.power_levels", stateKey: "", content });
  } catch (error) {
    if (error instanceof MatrixError && error.status === 403) throw badRequest("No local admin user in room with power to update power levels.");
    throw error;
  }
  if (member?.membership === "join" || member?.membership === "invite" || rules?.content.join_rule === "public") return;
  await updateMembership(ctx, actor, { roomId, target: userId, action: "invite" });
}

/** The joined local user with the greatest power; of a room without power levels, its creator. */
async function mostPowerful(ctx: Context, roomId: string, create: MatrixEvent, levels: MatrixEvent | undefined): Promise<string | undefined> {
  if (levels === undefined) return isLocal(ctx, create.sender) ? create.sender : undefined;
  const joined = await ctx.members.joinedLocal(roomId);
  const users = isJsonObject(levels.content.users) ? levels.content.users : {};
  const level = (value: Json | undefined): number => toNumber(value) ?? (typeof value === "string" ? Number(value) : 0);
  const candidates = Object.keys(users)
    .filter((userId) => isLocal(ctx, userId))
    .sort((a, b) => level(users[a]) - level(users[b]));
  if (create.roomVersion.creatorsHavePower) {
    const more = Array.isArray(create.content.additional_creators) ? create.content.additional_creators.filter((one) => typeof one === "string") : [];
    candidates.push(...[...more, create.sender].filter((userId) => isLocal(ctx, userId)));
  }
  return candidates.reverse().find((userId) => joined.has(userId));
}
