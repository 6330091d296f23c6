import { isJsonObject, type JsonObject, stringifyAscii } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { getDomain } from "../../protocol/ids.ts";
import { eventPositions, newestEvent, type NewReceipt, putReceipts } from "../../storage/receipts/receipts.ts";
import { roomAccountDataOfType } from "../../storage/accounts/account-data.ts";
import { setRoomAccountData } from "../account-data/account-data.ts";
import type { Context } from "../context.ts";
import { tellInRows } from "../push/unread.ts";
import { visibleEvent } from "../room-access/single-event.ts";

/** Read receipts and the fully-read marker (client-server API, "Receipts", "Read and unread markers"). */
export type ReceiptContext = Parameters<typeof visibleEvent>[0] &
  Pick<Context, "transaction" | "streams" | "notifier" | "changes" | "crowds" | "modules" | "remote" | "unreadCache">;

const PRIVATE = "m.read.private";
const FULLY_READ = "m.fully_read";

/** More receipts of an EDU than this are dropped. */
const MAX_RECEIPTS_OF_EDU = 5000;

export interface ClientReceipt {
  readonly roomId: string;
  readonly receiptType: "m.read" | "m.read.private";
  readonly userId: string;
  readonly eventId: string;
  readonly threadId: string | undefined;
}

/**
 * A receipt of a local user. Receipts for events that the server does not have, or that lie before the present one, change nothing.
 * @throws MatrixError 403 when the user may not see the event
 */
export async function sendReceipt(ctx: ReceiptContext, receipt: ClientReceipt): Promise<void> {
  const read = await visibleEvent(ctx, receipt.userId, receipt.roomId, receipt.eventId);
  if (read === undefined) return;
  const data = { ts: ctx.clock.now() };
  const { eventId, threadId, ...rest } = receipt;
  const row: NewReceipt = { ...rest, eventId, eventIds: [eventId], threadId: threadId ?? null, data: stringifyAscii(data) };
  await tellInRows(ctx, receipt.userId, receipt.roomId, read.event.streamOrdering);
  const stored = await store(ctx, [row]);
  if (stored.length > 0 && receipt.receiptType !== PRIVATE) ctx.remote.sendReceipt({ ...rest, threadId, eventIds: [eventId], data });
}

/**
 * An `m.receipt` EDU of another server. What is malformed, about users of other servers, or about rooms that either server is not in, is
 * dropped; so is a receipt of somebody who is not in the room.
 */
export async function receiveReceipts(ctx: ReceiptContext, origin: string, content: JsonObject): Promise<void> {
  const rows = new Map<string, NewReceipt>();
  for (const [roomId, byType] of Object.entries(content)) {
    if (!isJsonObject(byType)) continue;
    const members = await ctx.members.joined(roomId);
    if ((await ctx.members.joinedLocal(roomId)).size === 0) continue;
    for (const [receiptType, byUser] of Object.entries(byType)) {
      if (!isJsonObject(byUser)) continue;
      for (const [userId, receipt] of Object.entries(byUser)) {
        if (getDomain(userId) !== origin || !members.has(userId) || rows.size >= MAX_RECEIPTS_OF_EDU) continue;
        const row = await remoteReceipt(ctx, roomId, receiptType, userId, receipt);
        if (row !== undefined) rows.set(JSON.stringify([roomId, receiptType, userId, row.threadId]), row);
      }
    }
  }
  if (rows.size > 0) await store(ctx, [...rows.values()]);
}

async function remoteReceipt(ctx: ReceiptContext, roomId: string, receiptType: string, userId: string, receipt: unknown): Promise<NewReceipt | undefined> {
  if (!isJsonObject(receipt) || !Array.isArray(receipt.event_ids)) return undefined;
  const eventIds = receipt.event_ids.filter((id): id is string => typeof id === "string" && !id.includes("\0"));
  if (eventIds.length === 0 || eventIds.length > 100 || receiptType.includes("\0")) return undefined;
  const data = isJsonObject(receipt.data) ? receipt.data : {};
  const threadId = typeof data.thread_id === "string" && !data.thread_id.includes("\0") ? data.thread_id : null;
  const eventId = eventIds.length === 1 ? eventIds[0] : await newestEvent(ctx.read, roomId, eventIds);
  if (eventId === undefined) return undefined;
  return { roomId, receiptType, userId, eventId, eventIds, threadId, data: stringifyAscii(data) };
}

/**
 * Moves the fully-read marker of a room, which lies in account data; only forwards unless `allowBackward` (MSC4446).
 * @throws MatrixError 404 M_UNKNOWN when the event is not in the room
 */
export async function setReadMarker(ctx: ReceiptContext, userId: string, roomId: string, eventId: string, allowBackward = false): Promise<void> {
  const current = await roomAccountDataOfType(ctx.read, userId, roomId, FULLY_READ);
  const currentId = current === undefined ? undefined : eventIdOf(current);
  const positions = await eventPositions(ctx.read, roomId, currentId === undefined ? [eventId] : [eventId, currentId]);
  const wanted = positions.get(eventId);
  if (wanted === undefined) throw new MatrixError(404, "M_UNKNOWN", `Could not find event ${eventId} in room ${roomId}`);
  const old = currentId === undefined ? undefined : positions.get(currentId);
  const forwards = old === undefined || wanted.depth > old.depth || (wanted.depth === old.depth && wanted.streamOrdering > old.streamOrdering);
  if (forwards || allowBackward) await setRoomAccountData(ctx, userId, roomId, FULLY_READ, { event_id: eventId });
}

function eventIdOf(text: string): string | undefined {
  const value: unknown = JSON.parse(text);
  return isJsonObject(value) && typeof value.event_id === "string" ? value.event_id : undefined;
}

/** Stores receipts and wakes the rooms' members; returns those that were new. */
async function store(ctx: ReceiptContext, receipts: readonly NewReceipt[]): Promise<NewReceipt[]> {
  const stream = ctx.streams.receipts;
  const { stored, position } = await ctx.transaction(
    "insert_receipts",
    async (txn) => {
      const streamIds = await stream.next(txn, receipts.length);
      const stored = await putReceipts(txn, receipts, streamIds, stream.instanceName);
      const position = streamIds.at(-1)!;
      txn.afterCommit(() => {
        for (const { roomId, userId } of stored) {
          ctx.changes.receipts.record(roomId, position);
          ctx.unreadCache.forget(roomId, userId);
        }
      });
      return { stored, position };
    },
    { isolation: "read committed" },
  );
  if (stored.length > 0) {
    const rooms = await Promise.all([...new Set(stored.map((receipt) => receipt.roomId))].map((roomId) => ctx.members.joinedLocal(roomId)));
    stream.whenVisible(position, () => {
      for (const members of rooms) ctx.notifier.wakeMembers(members, "receipt_key");
      ctx.notifier.announce();
    });
  }
  return stored;
}
