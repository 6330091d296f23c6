import { forbidden } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import type { VisibilityOptions } from "../visibility.ts";

/** In which capacity a user looks at a room. */
export interface RoomAccess {
  /** `join`, or `leave` for those who were in the room once; a room that anyone may read counts as `join`. */
  readonly membership: "join" | "leave";
  /** The user's member event; undefined for a stranger who looks into a world-readable room. */
  readonly eventId: string | undefined;
  /** Stream position at which the user left; undefined for those who did not. */
  readonly leftAt?: number;
}

/** How `filterForUser` is to judge events for somebody with this access. */
export const visibilityFor = (access: RoomAccess): VisibilityOptions => ({ peeking: access.eventId === undefined, leftAt: access.leftAt });

type Needs = Pick<Context, "members" | "state">;

/**
 * The user's membership when it is a join or, where departed users may look back, a leave that is not forgotten.
 * @throws MatrixError 403 M_FORBIDDEN
 */
export async function requireMembership(ctx: Needs, requester: Requester, roomId: string, options: { departed?: boolean } = {}): Promise<RoomAccess> {
  const found = await memberAccess(ctx, requester.userId, roomId, options);
  if (found === undefined) throw forbidden(`User ${requester.userId} not in room ${roomId}`);
  return found;
}

/**
 * As `requireMembership`; also lets strangers into rooms whose history anyone may read.
 * @throws MatrixError 403 M_FORBIDDEN
 */
export async function requireReadAccess(ctx: Needs, requester: Requester, roomId: string, options: { departed?: boolean } = {}): Promise<RoomAccess> {
  const found = await memberAccess(ctx, requester.userId, roomId, options);
  if (found !== undefined) return found;
  if (await isWorldReadable(ctx, roomId)) return { membership: "join", eventId: undefined };
  throw forbidden(`User ${requester.userId} not in room ${roomId}, and room previews are disabled`);
}

async function memberAccess(ctx: Needs, userId: string, roomId: string, options: { departed?: boolean }): Promise<RoomAccess | undefined> {
  const own = (await ctx.members.roomsOf(userId)).get(roomId);
  if (own?.membership === "join") return { membership: "join", eventId: own.eventId };
  if (options.departed && own?.membership === "leave" && !own.forgotten) return { membership: "leave", eventId: own.eventId, leftAt: own.streamOrdering };
  return undefined;
}

/** True for members of the room. */
export async function isJoined(ctx: Pick<Context, "members">, userId: string, roomId: string): Promise<boolean> {
  return (await ctx.members.roomsOf(userId)).get(roomId)?.membership === "join";
}

/** True when everybody may read the room, by its `m.room.history_visibility`. */
export async function isWorldReadable(ctx: Pick<Context, "state">, roomId: string): Promise<boolean> {
  const event = await ctx.state.currentEvent(roomId, "m.room.history_visibility");
  return event?.content.history_visibility === "world_readable";
}
