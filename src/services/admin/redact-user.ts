import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { currentMemberships, eventsSentBy, redactedAmong } from "../../storage/admin/users.ts";
import type { ScheduledTask } from "../../storage/jobs/scheduled-tasks.ts";
import type { Context } from "../context.ts";
import { sendEvent } from "../events/send.ts";
import { sendBeside } from "../events/send-beside.ts";
import type { Requester } from "../requester.ts";
import type { TaskAction } from "../tasks/scheduler.ts";
import { badRequest, inTheNameOf, isLocal } from "./targets.ts";

/** Redacting all that a user wrote, as a task by Synapse's name: either server finishes what the other began. */
export const REDACT_ALL_EVENTS = "redact_all_events";

const TYPES = ["m.room.member", "m.room.message", "m.room.encrypted"] as const;
const DEFAULT_LIMIT = 1000;
/** Events that are looked at together; after each lot the task notes how far it is. */
const LOT = 100;

export interface RedactionOrder {
  readonly userId: string;
  /** Empty: all that the user is in or banned from. */
  readonly rooms: readonly string[];
  readonly reason: string | undefined;
  /** Events for each room, newest first. */
  readonly limit: number | undefined;
  /** In the admin's name, also where the user is one of ours. */
  readonly useAdmin: boolean;
  /** Bounds of the events' times, milliseconds. */
  readonly before: number | undefined;
  readonly after: number | undefined;
}

/** Begins to redact; returns the id of the task. @throws MatrixError 400 while another one for the user is under way */
export async function redactAllOf(ctx: Context, requester: Requester, order: RedactionOrder): Promise<string> {
  const { userId } = order;
  const rooms =
    order.rooms.length > 0
      ? order.rooms
      : (await currentMemberships(ctx.read, userId)).filter(({ membership }) => membership === "join" || membership === "ban").map((row) => row.room_id);
  const running = await ctx.tasks.find({ actions: [REDACT_ALL_EVENTS], resourceId: userId, statuses: ["active"] });
  if (running.length > 0) throw badRequest(`Redact already in progress for user ${userId}`);
  const params: JsonObject = {
    rooms: [...rooms],
    requester: serialised(requester),
    user_id: userId,
    use_admin: order.useAdmin,
    reason: order.reason ?? null,
    before_ts: order.before ?? null,
    after_ts: order.after ?? null,
    limit: order.limit ?? DEFAULT_LIMIT,
  };
  return await ctx.transaction("insert_scheduled_task", (txn) => ctx.tasks.schedule(txn, { action: REDACT_ALL_EVENTS, resourceId: userId, params }));
}

/** How far the task is, as `GET /user/redact_status` says it; undefined when there is none. */
export function redactionStatus(task: ScheduledTask | undefined): JsonObject | undefined {
  if (task === undefined) return undefined;
  const { status, result, error } = task;
  if (status === "active" || status === "scheduled") return { status };
  if (status === "complete") return { status, failed_redactions: result?.["failed_redactions"] ?? {} };
  return { status: "failed", error: error ?? "Unknown error, please check the logs for more information." };
}

/** The task: events that have been redacted already are passed over, so it can be run again. */
export const redactAllEvents: TaskAction = async (ctx, { task, signal, save }) => {
  const { params } = task;
  const userId = text(params?.user_id);
  const admin = isJsonObject(params?.requester) ? text(params.requester.user_id) : undefined;
  if (userId === undefined || admin === undefined || !Array.isArray(params?.rooms)) throw new Error("The task says not whom to redact, where and for whom");
  const sender = params.use_admin === true || !isLocal(ctx, userId) ? admin : userId;
  const requester = inTheNameOf({ authenticatedEntity: admin }, sender);
  const failed: JsonObject = isJsonObject(task.result?.["failed_redactions"]) ? task.result["failed_redactions"] : {};
  for (const roomId of params.rooms) {
    if (typeof roomId !== "string") continue;
    const wanted = { types: TYPES, before: number(params.before_ts), after: number(params.after_ts), limit: number(params.limit) ?? DEFAULT_LIMIT };
    const ids = await eventsSentBy(ctx.read, userId, roomId, wanted);
    for (let at = 0; at < ids.length; at += LOT) {
      if (signal.aborted) return "later";
      if (!(await redactLot(ctx, requester, ids.slice(at, at + LOT), text(params.reason), failed, () => save({ failed_redactions: failed }))))
        return { failed_redactions: failed };
    }
  }
  return { failed_redactions: failed };
};

/** False when the task was cancelled. */
async function redactLot(
  ctx: Context,
  requester: Requester,
  ids: readonly string[],
  reason: string | undefined,
  failed: JsonObject,
  save: () => Promise<boolean>,
): Promise<boolean> {
  const [events, done] = await Promise.all([ctx.events.get(ids), redactedAmong(ctx.read, ids)]);
  for (const id of ids) {
    const event = events.get(id);
    if (event === undefined || done.has(id)) continue;
    // Of memberships only joins are of the user's own making.
    if (event.type === "m.room.member" && event.membership !== "join") continue;
    try {
      await redact(ctx, requester, event, reason);
    } catch (error) {
      ctx.log.named("synapse.handlers.admin").info(`Redaction of event ${id} failed`, { error });
      failed[id] = error instanceof MatrixError ? `${error.status}: ${error.message}` : "Unknown error";
    }
  }
  return await save();
}

/** Redacts on the head of the room, or where the sender may write there no more, beside it on the event itself. */
async function redact(ctx: Context, requester: Requester, event: MatrixEvent, reason: string | undefined): Promise<void> {
  const { roomId, eventId, roomVersion } = event;
  const content: JsonObject = { ...(reason === undefined || reason === "" ? {} : { reason }), ...(roomVersion.redactsInContent ? { redacts: eventId } : {}) };
  const input = { type: "m.room.redaction", content, redacts: roomVersion.redactsInContent ? undefined : eventId };
  try {
    await sendEvent(ctx, requester, { roomId, ...input }, { rateLimit: false, requireConsent: false, ignoreShadowBan: true });
  } catch (error) {
    if (!(error instanceof MatrixError && error.status === 403)) throw error;
    await sendBeside(ctx, roomId, { ...input, sender: requester.userId }, eventId);
  }
}

/** The admin as Synapse writes a requester into a task. */
function serialised(requester: Requester): JsonObject {
  return {
    user_id: requester.userId,
    access_token_id: requester.accessTokenId ?? null,
    is_guest: requester.isGuest,
    scope: [...requester.scope],
    shadow_banned: requester.shadowBanned,
    device_id: requester.deviceId ?? null,
    app_server_id: requester.appserviceId ?? null,
    authenticated_entity: requester.authenticatedEntity,
  };
}

const text = (value: Json | undefined): string | undefined => (typeof value === "string" ? value : undefined);
const number = (value: Json | undefined): number | undefined => (typeof value === "number" ? value : undefined);
