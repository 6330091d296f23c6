import { forbidden } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import { filterForUser, type VisibleEvent } from "../visibility.ts";
import { isJoined } from "./access.ts";

type Needs = Pick<Context, "config" | "read" | "clock" | "events" | "state" | "members" | "ignoredUsers" | "erasedUsers" | "accounts">;

/**
 * One event as the user may see it; undefined when it does not exist, or lies in another room than `roomId` (undefined: any).
 * `unredacted`: with its content, where a redaction has not yet erased it (MSC2815; the caller checks the right).
 * @throws MatrixError 403 when the user may not see it
 */
export async function visibleEvent(
  ctx: Needs,
  userId: string,
  roomId: string | undefined,
  eventId: string,
  options: { unredacted?: boolean } = {},
): Promise<VisibleEvent | undefined> {
  const event = await ctx.events.one(eventId, options.unredacted ? { raw: true } : {});
  if (event === undefined || (roomId !== undefined && event.roomId !== roomId)) return undefined;
  const peeking = !(await isJoined(ctx, userId, event.roomId));
  const [visible] = await filterForUser(ctx, userId, [event], { peeking });
  if (visible === undefined) throw forbidden("You don't have permission to access that event.");
  return visible;
}
