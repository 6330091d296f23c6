import { stateFrom } from "../../storage/state/snapshot.ts";
import { CREATE_KEY, memberKey, POWER_LEVELS_KEY, PowerLevels } from "../../protocol/power-levels.ts";
import { unrotatedEvents } from "../../storage/push/crowd-rows.ts";
import type { Context } from "../context.ts";
import { type CrowdContext, evaluatePushForAll } from "./push-actions.ts";

/**
 * After the process was killed: events since the last rotation are judged once more, and those whose many recipients have no rows are
 * taken up again. Events that another server program stored have a row for each recipient, and are left alone. Called at start.
 */
export async function recoverCrowds(ctx: CrowdContext & Pick<Context, "crowds" | "state">): Promise<void> {
  const candidates = await unrotatedEvents(ctx.read);
  if (candidates.length === 0) return;
  const told = new Map(candidates.map(({ eventId, told: users }) => [eventId, new Set(users)]));
  for (const event of (await ctx.events.get(told.keys())).values()) {
    if ((await ctx.members.joinedLocal(event.roomId)).size === 0) continue;
    const before = await ctx.state.beforeEvent(event);
    if (before === undefined) continue;
    const state = await ctx.state.hydrate([CREATE_KEY, POWER_LEVELS_KEY].flatMap((key) => (before.has(key) ? [[key, before.get(key)!] as const] : [])));
    const { crowd } = await evaluatePushForAll(ctx, { event, before: stateFrom(before), levels: PowerLevels.of(state) });
    const current = await ctx.state.currentIds(event.roomId);
    const came = (userId: string): boolean => before.get(memberKey(userId)) !== current.get(memberKey(userId));
    const untold = crowd.flatMap((notice) => {
      const except = new Set([...notice.except, ...told.get(event.eventId)!, ...notice.users.filter(came)]);
      return except.size * 2 < notice.users.length ? [{ ...notice, except }] : [];
    });
    if (untold.length > 0) ctx.crowds.add(event, untold);
  }
}
