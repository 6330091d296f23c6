import { MatrixError } from "../../protocol/errors.ts";
import { checkBlocking } from "../accounts/blocking.ts";
import type { Context } from "../context.ts";

const MESSAGE_TYPE = "m.server_notice";
const LIMIT_REACHED = "m.server_notice.usage_limit_reached";
const MAU = "monthly_active_user";

/**
 * While the server is closed by its limits, its active users have a pinned notice about it (client-server API, "Server Notices"); afterwards
 * the pin is taken away.
 */
export async function noticeOfLimits(ctx: Context, userId: string): Promise<void> {
  if ((await ctx.monthlyActive.lastSeen(ctx, userId)) === undefined) return;
  const [limit, { isPinned, otherPins }] = await Promise.all([reachedLimit(ctx), pinsOf(ctx, userId)]);
  const silent = limit?.type === MAU && !ctx.config.server.mauLimitAlerting;
  if (limit === undefined || silent) {
    if (isPinned) await pin(ctx, userId, otherPins);
    return;
  }
  if (isPinned) return;
  const content = {
    body: limit.message,
    msgtype: MESSAGE_TYPE,
    server_notice_type: LIMIT_REACHED,
    admin_contact: ctx.config.server.adminContact ?? null,
    limit_type: limit.type,
  };
  const eventId = await ctx.serverNotices.send(userId, { content });
  await pin(ctx, userId, [eventId]);
}

async function pin(ctx: Context, userId: string, eventIds: readonly string[]): Promise<void> {
  await ctx.serverNotices.send(userId, { type: "m.room.pinned_events", stateKey: "", content: { pinned: [...eventIds] } });
}

async function reachedLimit(ctx: Context): Promise<{ message: string; type: string } | undefined> {
  try {
    await checkBlocking(ctx, {});
    return undefined;
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    const type = error.extra.limit_type;
    return { message: error.message, type: typeof type === "string" ? type : "" };
  }
}

/** Whether a notice about a limit is pinned in the user's room, and what else is. */
async function pinsOf(ctx: Context, userId: string): Promise<{ isPinned: boolean; otherPins: string[] }> {
  const roomId = await ctx.serverNotices.roomOf(userId);
  const pinned = roomId === undefined ? undefined : (await ctx.state.currentEvent(roomId, "m.room.pinned_events"))?.content.pinned;
  const ids = Array.isArray(pinned) ? pinned.filter((id) => typeof id === "string") : [];
  const events = await ctx.events.get(ids);
  const notices = new Set(ids.filter((id) => events.get(id)?.type === "m.room.message" && events.get(id)?.content.msgtype === MESSAGE_TYPE));
  return { isPinned: notices.size > 0, otherPins: ids.filter((id) => !notices.has(id)) };
}
