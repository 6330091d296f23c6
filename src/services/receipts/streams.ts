import { JsonText, stringify } from "../../lib/json.ts";
import { receiptsOfEventsAndUser, receiptsOfRooms, receiptsOfUser, type StoredReceipt } from "../../storage/receipts/receipts.ts";
import type { Context } from "../context.ts";

/** What /sync and sliding sync read of receipts. */
type Ctx = Pick<Context, "read" | "changes">;

/** `content` of an `m.receipt` event: event id to receipt type to user id to data. */
export type ReceiptContent = Record<string, Record<string, Record<string, JsonText>>>;

/**
 * `m.receipt` contents by room of what changed in (`since`, `upTo`] (`since` undefined: all), as `userId` may see them: private receipts
 * are shown to their owner alone. Rooms without are left out.
 */
export async function receiptsSince(
  ctx: Ctx,
  userId: string,
  roomIds: Iterable<string>,
  since: number | undefined,
  upTo: number,
): Promise<Map<string, ReceiptContent>> {
  if (since !== undefined && since >= upTo) return new Map();
  const changed = since === undefined ? [...roomIds] : [...roomIds].filter((roomId) => ctx.changes.receipts.hasChanged(roomId, since));
  if (changed.length === 0) return new Map();
  return receiptContents(await receiptsOfRooms(ctx.read, changed, since ?? 0, upTo), userId);
}

/**
 * For rooms that a client sees for the first time (sliding sync): receipts on the events of the timeline, and the user's own ones.
 */
export async function receiptsOfTimelines(
  ctx: Pick<Context, "read">,
  userId: string,
  roomIds: readonly string[],
  eventIds: readonly string[],
  upTo: number,
): Promise<Map<string, ReceiptContent>> {
  if (roomIds.length === 0) return new Map();
  const receipts =
    eventIds.length === 0 ? await receiptsOfUser(ctx.read, userId, roomIds, upTo) : await receiptsOfEventsAndUser(ctx.read, roomIds, eventIds, userId, upTo);
  return receiptContents(receipts, userId);
}

/**
 * Rows as `m.receipt` contents by room, as `userId` may see them (undefined: all of them). A threaded receipt of a user is left out where they have an unthreaded one for the same event:
 * the content has one place for both.
 */
export function receiptContents(receipts: readonly StoredReceipt[], userId: string | undefined): Map<string, ReceiptContent> {
  const rooms = new Map<string, ReceiptContent>();
  const unthreaded = new Set<string>();
  for (const r of receipts) if (r.threadId === null) unthreaded.add(JSON.stringify([r.roomId, r.userId, r.eventId]));
  for (const receipt of receipts) {
    if (receipt.receiptType === "m.read.private" && userId !== undefined && receipt.userId !== userId) continue;
    if (receipt.threadId !== null && unthreaded.has(JSON.stringify([receipt.roomId, receipt.userId, receipt.eventId]))) continue;
    let content = rooms.get(receipt.roomId);
    if (content === undefined) rooms.set(receipt.roomId, (content = Object.create(null) as ReceiptContent));
    const byType = (content[receipt.eventId] ??= Object.create(null) as Record<string, Record<string, JsonText>>);
    (byType[receipt.receiptType] ??= Object.create(null) as Record<string, JsonText>)[receipt.userId] = dataOf(receipt);
  }
  return rooms;
}

/** The stored data; threaded receipts say which thread. */
function dataOf(receipt: StoredReceipt): JsonText {
  if (receipt.threadId === null) return new JsonText(receipt.data);
  return new JsonText(stringify({ ...(JSON.parse(receipt.data) as object), thread_id: receipt.threadId }));
}
