import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isRoomId } from "../../protocol/ids.ts";
import type { Context } from "../../services/context.ts";
import { sendReceipt, setReadMarker } from "../../services/receipts/receipts.ts";
import { threadForReceipt, threadOfEvent } from "../../storage/receipts/receipts.ts";
import { endpoint } from "../http/endpoint.ts";

const TYPES = ["m.read", "m.read.private", "m.fully_read"];
const ALLOW_BACKWARD = "com.beeper.allow_backward";

export const postReceipt = endpoint({
  servlet: "ReceiptRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/rooms/:roomId/receipt/:receiptType/:eventId",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { requester, params, body }) {
    const { roomId, receiptType, eventId } = params;
    if (!isRoomId(roomId) || !eventId.startsWith("$")) throw new MatrixError(400, "M_UNKNOWN", "A valid room ID and event ID must be specified");
    if (!TYPES.includes(receiptType)) throw new MatrixError(400, "M_UNKNOWN", `Receipt type must be ${TYPES.join(", ")}`);
    const allowBackward = readAllowBackward(ctx, body);
    if (allowBackward && receiptType !== "m.fully_read") throw invalidParam(`${ALLOW_BACKWARD} is only allowed to be true for m.fully_read.`);
    const threadId = await readThread(ctx, body, receiptType, eventId);
    await ctx.presence.bumpActive(requester.userId, requester.deviceId);
    if (receiptType === "m.fully_read") await setReadMarker(ctx, requester.userId, roomId, eventId, allowBackward);
    else await sendReceipt(ctx, { roomId, receiptType: receiptType as "m.read" | "m.read.private", userId: requester.userId, eventId, threadId });
    return {};
  },
});

/** MSC4446: the fully-read marker may go back. */
export function readAllowBackward(ctx: Pick<Context, "config">, body: JsonObject): boolean {
  const value = ctx.config.experimental.msc4446Enabled ? (body[ALLOW_BACKWARD] ?? false) : false;
  if (typeof value !== "boolean") throw invalidParam(`${ALLOW_BACKWARD} must be a boolean.`);
  return value;
}

async function readThread(ctx: Pick<Context, "read">, body: JsonObject, receiptType: string, eventId: string): Promise<string | undefined> {
  if (!("thread_id" in body)) return undefined;
  const threadId = body.thread_id;
  if (typeof threadId !== "string" || threadId === "" || threadId.includes("\0")) throw invalidParam("thread_id field must be a non-empty string");
  if (receiptType === "m.fully_read") throw invalidParam("thread_id is not compatible with m.fully_read receipts.");
  const actual = threadId === "main" ? await threadOfEvent(ctx.read, eventId) : await threadForReceipt(ctx.read, eventId);
  if (actual !== threadId) throw invalidParam(`event_id ${eventId} is not related to thread ${threadId}`);
  return threadId;
}

export const receiptRoutes = [postReceipt];
