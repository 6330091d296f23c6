import { isJsonObject, type JsonObject, stringifyAscii } from "../../lib/json.ts";
import { badJson, MatrixError, missingParam } from "../../protocol/errors.ts";
import type { Txn } from "../../storage/database.ts";
import { noteRemovedPushers, pushersOfUser, putPusher, type RemovedPusher, removePusher, removePushersOfOthers } from "../../storage/push/pushers.ts";
import { getUserOfThreepid } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";

/** Pushers: where a user wants to be notified (client-server API, "Push Notifications: API"; MSC3881). */
export type PusherContext = Pick<Context, "read" | "transaction" | "clock" | "streams" | "notifier">;

const REQUIRED = ["kind", "app_id", "app_display_name", "device_display_name", "pushkey", "lang", "data"] as const;
const NOTIFY_PATH = "/_matrix/push/v1/notify";
const MAX_TEXT = 512;

/** A user's pushers as `GET /pushers` shows them; with `msc3881` also whether they are on, and their device. */
export async function listPushers(ctx: Pick<Context, "read">, userId: string, msc3881: boolean): Promise<JsonObject[]> {
  return (await pushersOfUser(ctx.read, userId)).map((pusher) => ({
    app_display_name: pusher.appDisplayName,
    app_id: pusher.appId,
    data: pusher.data === null ? null : (JSON.parse(pusher.data) as JsonObject),
    device_display_name: pusher.deviceDisplayName,
    kind: pusher.kind,
    lang: pusher.lang,
    profile_tag: pusher.profileTag,
    pushkey: pusher.pushkey,
    ...(msc3881 ? { "org.matrix.msc3881.enabled": pusher.enabled, "org.matrix.msc3881.device_id": pusher.deviceId } : {}),
  }));
}

/**
 * `POST /pushers/set`: adds, replaces or (kind null) removes a pusher. Unless it is appended, nobody else keeps one for that app and push key.
 * @throws MatrixError 400 M_MISSING_PARAM, M_BAD_JSON, M_THREEPID_NOT_FOUND
 */
export async function setPusher(ctx: PusherContext, requester: Requester, body: JsonObject, msc3881: boolean): Promise<void> {
  const { userId } = requester;
  if (body.kind === null && body.app_id !== undefined && body.pushkey !== undefined) {
    await deletePusher(ctx, userId, text(body, "app_id"), text(body, "pushkey"));
    return;
  }
  const missing = REQUIRED.filter((field) => body[field] === undefined);
  if (missing.length > 0) throw missingParam(`Missing params: ${JSON.stringify(missing)}`);
  const kind = text(body, "kind");
  const [appId, pushkey] = [text(body, "app_id"), text(body, "pushkey")];
  const { append = false, "org.matrix.msc3881.enabled": enabled = true } = body;
  if (typeof append !== "boolean" || typeof enabled !== "boolean") throw badJson("append and enabled must be booleans");
  const data = checkedData(kind, body.data);
  if (kind === "email") await checkOwnsEmail(ctx, userId, pushkey);
  const [appDisplayName, deviceDisplayName] = [text(body, "app_display_name"), text(body, "device_display_name")];
  const lang = body.lang === null ? null : text(body, "lang");
  const profileTag = body.profile_tag === undefined || body.profile_tag === null ? "" : text(body, "profile_tag");
  await ctx.transaction("add_pusher", async (txn) => {
    if (!append) await note(ctx, txn, appId, pushkey, await removePushersOfOthers(txn, userId, appId, pushkey));
    const [id] = await ctx.streams.pushers.next(txn);
    await putPusher(
      txn,
      {
        id: id!,
        userId,
        deviceId: requester.deviceId ?? null,
        profileTag,
        kind,
        appId,
        appDisplayName,
        deviceDisplayName,
        pushkey,
        ts: ctx.clock.now(),
        lang,
        data,
        lastStreamOrdering: ctx.streams.events.currentToken(),
        enabled: msc3881 ? enabled : true,
      },
      ctx.streams.pushers.instanceName,
    );
    txn.afterCommit(() => ctx.notifier.announce());
  });
}

/** Removes a user's pusher; that it is gone already is no error. */
export async function deletePusher(ctx: Pick<Context, "transaction" | "streams" | "notifier">, userId: string, appId: string, pushkey: string): Promise<void> {
  await ctx.transaction("delete_pusher", async (txn) => {
    if (await removePusher(txn, userId, appId, pushkey)) await note(ctx, txn, appId, pushkey, [userId]);
    txn.afterCommit(() => ctx.notifier.announce());
  });
}

async function note(ctx: Pick<Context, "streams">, txn: Txn, appId: string, pushkey: string, userIds: readonly string[]): Promise<void> {
  const removed: RemovedPusher[] = [{ appId, pushkey }];
  for (const userId of userIds) await noteRemovedPushers(txn, userId, removed, await ctx.streams.pushers.next(txn), ctx.streams.pushers.instanceName);
}

/** The data to store. @throws MatrixError 400 M_MISSING_PARAM, as Synapse's "Config Error" */
function checkedData(kind: string, data: unknown): string {
  const wrong = (message: string): MatrixError => new MatrixError(400, "M_MISSING_PARAM", `Config Error: ${message}`);
  if (kind === "http") {
    if (data === null) throw wrong("'data' key can not be null for HTTP pusher");
    if (!isJsonObject(data) || data.url === undefined) throw wrong("'url' required in data for HTTP pusher");
    if (typeof data.url !== "string") throw wrong("'url' must be a string");
    if (!URL.canParse(data.url) || new URL(data.url).pathname !== NOTIFY_PATH) throw wrong(`'url' must have a path of '${NOTIFY_PATH}'`);
  } else if (data !== null && !isJsonObject(data)) {
    throw badJson("data must be an object");
  }
  return stringifyAscii(data);
}

async function checkOwnsEmail(ctx: Pick<Context, "read">, userId: string, address: string): Promise<void> {
  if ((await getUserOfThreepid(ctx.read, "email", address.toLowerCase())) !== userId) throw new MatrixError(400, "M_THREEPID_NOT_FOUND", "Email not found");
}

function text(body: JsonObject, field: string): string {
  const value = body[field];
  if (typeof value !== "string" || value.includes("\0")) throw badJson(`${field} must be a string`);
  if (Buffer.byteLength(value, "utf8") > MAX_TEXT) throw badJson(`${field} is longer than ${MAX_TEXT} bytes`);
  return value;
}
