import { signals } from "../../lib/signals.ts";
import { activePresence, type UserPresence, presenceChangedInRooms, presenceInRooms } from "../../storage/presence/presence.ts";
import type { Context } from "../context.ts";

/** What /sync reads of presence. */
type Ctx = Pick<Context, "read" | "changes" | "modules" | "presence">;

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
  if (since !== undefined && ctx.presence.wantsAll(userId, since)) return await presenceSince(ctx, userId, roomIds, undefined, upTo);
  signals.presenceRead.emit(since === undefined ? "full" : "stream");
  const router = ctx.modules.presenceRouter;
  const also = router.isEmpty ? undefined : await router.interestedUsers(userId);
  if (also === "ALL") return await routedPresence(ctx, userId, since, upTo, includeOffline);
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
  const routed = [...(also ?? [])].filter((other) => !result.has(other) && (since === undefined || ctx.changes.presence.hasChanged(other, since)));
  if (routed.length > 0) for (const [other, state] of await ctx.presence.get(routed)) result.set(other, state);
  const all = [...result.values()];
  return since === undefined && !includeOffline ? all.filter((state) => state.state !== "offline") : all;
}

/** For a user whom a module routes everybody's presence: what of it the module gives them. */
async function routedPresence(ctx: Ctx, userId: string, since: number | undefined, upTo: number, includeOffline: boolean): Promise<UserPresence[]> {
  const changed = since === undefined ? undefined : since >= upTo ? new Set<string>() : ctx.changes.presence.changed(since, upTo);
  const states =
    changed === undefined
      ? (await activePresence(ctx.read)).map((state) => ctx.presence.newest(state))
      : [...(await ctx.presence.get(changed)).values()].filter((state) => includeOffline || state.state !== "offline");
  const wanted = (await ctx.modules.presenceRouter.usersForStates(states)).get(userId);
  return states.filter((state) => wanted?.has(state.userId) === true);
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
