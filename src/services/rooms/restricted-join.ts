import { forbidden, MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { CREATE_KEY, JOIN_RULES_KEY, memberKey, POWER_LEVELS_KEY, PowerLevels } from "../../protocol/power-levels.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import type { Context } from "../context.ts";
import { allowedRooms, hasRestrictedJoins, isInOneOf } from "./restricted.ts";

type Needs = Pick<Context, "config" | "state" | "members">;

/** How a local user gets into a room that this server is in. */
export type JoinPath =
  /** By the room's own rules. */
  | { readonly kind: "plain" }
  /** By membership of another room: this member vouches for it. */
  | { readonly kind: "authorised"; readonly by: string }
  /** Nobody here may vouch: one of these servers can. */
  | { readonly kind: "remote"; readonly servers: readonly string[] };

/**
 * Decides about a join to a room with restricted joins (specification, "Restricted rooms").
 * @throws MatrixError 403 when the user is in none of the rooms that give access
 */
export async function joinPath(ctx: Needs, roomId: string, version: RoomVersion, userId: string): Promise<JoinPath> {
  const state = await ctx.state.current(roomId, [CREATE_KEY, JOIN_RULES_KEY, POWER_LEVELS_KEY, memberKey(userId)]);
  const joinRules = state.get(JOIN_RULES_KEY);
  if (!hasRestrictedJoins(version, joinRules)) return { kind: "plain" };
  const membership = state.get(memberKey(userId))?.membership;
  if (membership === "join" || membership === "invite") return { kind: "plain" };
  const levels = PowerLevels.of(state);
  const members = await ctx.members.inRoom(roomId);
  const voucher = localVoucher(levels, members.local);
  if (voucher === undefined) return { kind: "remote", servers: serversThatCanVouch(levels, members.joined) };
  if (!(await isInOneOf(ctx, userId, allowedRooms(joinRules)))) {
    throw forbidden("You do not belong to any of the required rooms/spaces to join this room.");
  }
  return { kind: "authorised", by: voucher };
}

/** A member of this server who may invite. */
export function localVoucher(levels: PowerLevels, local: ReadonlySet<string>): string | undefined {
  const needed = levels.level("invite");
  for (const [userId, level] of levels.users()) if (level >= needed && local.has(userId)) return userId;
  if (levels.level("users_default") < needed) return undefined;
  for (const userId of local) if (levels.user(userId) >= needed) return userId;
  return undefined;
}

function serversThatCanVouch(levels: PowerLevels, joined: ReadonlySet<string>): string[] {
  const needed = levels.level("invite");
  const servers = new Set<string>();
  const candidates = levels.level("users_default") >= needed ? joined : [...levels.users()].map(([userId]) => userId).filter((userId) => joined.has(userId));
  for (const userId of candidates) if (levels.user(userId) >= needed) servers.add(getDomain(userId));
  return [...servers];
}

/**
 * Who of this server authorises a join that another server asks for (make_join). undefined: the room needs no authorisation.
 * @throws MatrixError 400 M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN; 403
 */
export async function authoriserForRemote(ctx: Needs, roomId: string, version: RoomVersion, userId: string): Promise<string | undefined> {
  const state = await ctx.state.current(roomId, [CREATE_KEY, JOIN_RULES_KEY, POWER_LEVELS_KEY, memberKey(userId)]);
  const joinRules: MatrixEvent | undefined = state.get(JOIN_RULES_KEY);
  if (!hasRestrictedJoins(version, joinRules)) return undefined;
  const membership = state.get(memberKey(userId))?.membership;
  if (membership === "join" || membership === "invite") return undefined;
  const gates = allowedRooms(joinRules);
  const memberships = await Promise.all(gates.map((gate) => ctx.members.inRoom(gate)));
  if (!memberships.some((members) => members.joined.has(userId))) {
    if (memberships.some((members) => members.local.size === 0))
      throw new MatrixError(400, "M_UNABLE_TO_AUTHORISE_JOIN", `Unable to check if ${userId} is in allowed rooms.`);
    throw forbidden("You do not belong to any of the required rooms/spaces to join this room.");
  }
  const voucher = localVoucher(PowerLevels.of(state), await ctx.members.joinedLocal(roomId));
  if (voucher === undefined) throw new MatrixError(400, "M_UNABLE_TO_GRANT_JOIN", "Unable to find a user which could issue an invite");
  return voucher;
}
