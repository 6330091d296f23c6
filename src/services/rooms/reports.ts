import { type JsonObject, stringifyAscii } from "../../lib/json.ts";
import { badJson, MatrixError, notFound } from "../../protocol/errors.ts";
import { getDomain } from "../../protocol/ids.ts";
import { insertEventReport, insertRoomReport, insertUserReport } from "../../storage/rooms/reports.ts";
import { findRoom } from "../../storage/rooms/rooms.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { visibleEvent } from "../room-access/single-event.ts";

const MAX_REASON = 1000;

/** Files a report of an event that the user can see. `body` is kept whole. @throws MatrixError 404 */
export async function reportEvent(ctx: Context, requester: Requester, roomId: string, eventId: string, body: JsonObject): Promise<void> {
  const event = await visibleEvent(ctx, requester.userId, roomId, eventId).catch((error: unknown) => {
    if (error instanceof MatrixError) return undefined;
    throw error;
  });
  if (event === undefined) {
    // MSC4277: who cannot see it is not told whether it exists.
    if (ctx.config.experimental.msc4277Enabled) return;
    throw notFound("Unable to report event: it does not exist or you aren't able to see it.");
  }
  const id = ctx.localIds.eventReports.next();
  const reason = typeof body.reason === "string" && !body.reason.includes("\0") ? body.reason : undefined;
  await ctx.transaction("add_event_report", (txn) =>
    insertEventReport(txn, { id, receivedTs: ctx.clock.now(), roomId, eventId, userId: requester.userId, reason, content: stringifyAscii(body) }),
  );
}

/** @throws MatrixError 404 for an unknown room */
export async function reportRoom(ctx: Context, requester: Requester, roomId: string, reason: string): Promise<void> {
  if ((await findRoom(ctx.read, roomId)) === undefined) {
    if (ctx.config.experimental.msc4277Enabled) return;
    throw notFound("Room does not exist");
  }
  const id = ctx.localIds.roomReports.next();
  await ctx.transaction("add_room_report", (txn) =>
    insertRoomReport(txn, { id, receivedTs: ctx.clock.now(), roomId, userId: requester.userId, reason: reason.replaceAll("\0", "") }),
  );
}

/** Reports of users whom this server does not have are dropped without a word. @throws MatrixError 400, 429 */
export async function reportUser(ctx: Context, requester: Requester, targetUserId: string, reason: string): Promise<void> {
  await ctx.limits.check("reports", requester.userId, { requester });
  if ([...reason].length > MAX_REASON) throw badJson("Reason must be less than 1000 characters");
  if (getDomain(targetUserId) !== ctx.config.server.serverName || (await ctx.accounts.user(targetUserId)) === undefined) return;
  const id = ctx.localIds.userReports.next();
  await ctx.transaction("add_user_report", (txn) =>
    insertUserReport(txn, { id, receivedTs: ctx.clock.now(), targetUserId, userId: requester.userId, reason: reason.replaceAll("\0", "") }),
  );
}
