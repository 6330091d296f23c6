import { stateFrom } from "../../storage/state/snapshot.ts";
import { CREATE_KEY, memberKey, POWER_LEVELS_KEY, PowerLevels } from "../../protocol/power-levels.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { unrotatedEvents } from "../../storage/push/crowd-rows.ts";
import type { Context } from "../context.ts";
import { type CrowdContext, evaluatePushForAll, isCrowd } from "./push-actions.ts";

type RecoverContext = CrowdContext & Pick<Context, "crowds" | "state">;

/** Events that are in memory at once. */
const BATCH = 500;

/**
 * After the process was killed: events since the last rotation are judged once more, and those whose many recipients have no rows are
 * taken up again. Events that another server program stored have a row for each recipient, and are left alone. Called at start.
 */
export async function recoverCrowds(ctx: RecoverContext): Promise<void> {
  const candidates = await unrotatedEvents(ctx.read);
  if (candidates.length === 0) return;
  const members = await ctx.members.inRooms(candidates.map(({ roomId }) => roomId));
  const untold = candidates.filter(({ roomId, told }) => {
    const { local } = members.get(roomId)!;
    return isCrowd(local) && told.length * 2 < local.size;
  });
  for (let start = 0; start < untold.length; start += BATCH) {
    const batch = new Map(untold.slice(start, start + BATCH).map(({ eventId, told }) => [eventId, told]));
    for (const event of (await ctx.events.get(batch.keys())).values()) await recover(ctx, event, batch.get(event.eventId)!);
  }
}

async function recover(ctx: RecoverContext, event: MatrixEvent, told: readonly string[]): Promise<void> {
  const before = await ctx.state.beforeEvent(event);
  if (before === undefined) return;
  const state = await ctx.state.hydrate([CREATE_KEY, POWER_LEVELS_KEY].flatMap((key) => (before.has(key) ? [[key, before.get(key)!] as const] : [])));
  const { crowd } = await evaluatePushForAll(ctx, { event, before: stateFrom(before), levels: PowerLevels.of(state) });
  const current = await ctx.state.currentIds(event.roomId);
  const came = (userId: string): boolean => before.get(memberKey(userId)) !== current.get(memberKey(userId));
  const untold = crowd.flatMap((notice) => {
    const except = new Set([...notice.except, ...told, ...notice.users.filter(came)]);
    return except.size * 2 < notice.users.length ? [{ ...notice, except }] : [];
  });
  if (untold.length > 0) ctx.crowds.add(event, untold);
}
