import { type UserPresence, presenceChangedInRooms, presenceInRooms } from "../../storage/presence/presence.ts";
import type { Context } from "../context.ts";

/** What /sync reads of presence. */
type Ctx = Pick<Context, "read" | "changes" | "presence">;

/**
 * Presence that changed in (`since`, `upTo`] (`since` undefined: everybody who is not offline, or offline ones too with `includeOffline`)
 * of the user and of those who share one of `roomIds`: the rooms that the user is joined to, without those excluded from presence.
 */
export async function presenceSince(
  ctx: Ctx,
  userId: string,
  roomIds: readonly string[],
  since: number | undefined,
  upTo: number,
  includeOffline = false,
): Promise<UserPresence[]> {
  if (!ctx.presence.enabled) return [];
  let states: UserPresence[];
  if (since === undefined) {
    states = await presenceInRooms(ctx.read, roomIds, includeOffline);
  } else {
    if (since >= upTo || ctx.changes.presence.changed(since, upTo)?.size === 0) return [];
    states = await presenceChangedInRooms(ctx.read, roomIds, since, upTo);
  }
  const result = new Map(states.map((state) => [state.userId, ctx.presence.newest(state)]));
  if (!result.has(userId) && (since === undefined || ctx.changes.presence.hasChanged(userId, since))) {
    result.set(userId, (await ctx.presence.get([userId])).get(userId)!);
  }
  const all = [...result.values()];
  return since === undefined && !includeOffline ? all.filter((state) => state.state !== "offline") : all;
}

/** Presence as clients see it: content of `m.presence`, answer of the status API (there without `user_id`). */
export function presenceContent(state: UserPresence, now: number, withUserId: boolean): Record<string, unknown> {
  return {
    presence: state.state,
    ...(withUserId ? { user_id: state.userId } : {}),
    ...(state.lastActiveTs > 0 ? { last_active_ago: now - state.lastActiveTs } : {}),
    ...(state.statusMsg ? { status_msg: state.statusMsg } : {}),
    ...(state.state === "online" ? { currently_active: state.currentlyActive } : {}),
  };
}

/** An `m.presence` event of /sync. */
export function presenceEvent(state: UserPresence, now: number): Record<string, unknown> {
  return { type: "m.presence", sender: state.userId, content: presenceContent(state, now, false) };
}
