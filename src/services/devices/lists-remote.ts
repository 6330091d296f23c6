import { isJsonObject, type JsonObject, stringifyAscii } from "../../lib/json.ts";
import { canonicalProblem } from "../../protocol/canonical-json.ts";
import { getDomain } from "../../protocol/ids.ts";
import { roomsJoinedBy } from "../../storage/devices/lists.ts";
import {
  addPendingUpdate,
  anyPartialStateRoom,
  cachedDevices,
  lastRemoteUpdate,
  markFresh,
  markStale,
  pendingUpdatesInRoom,
  putRemoteDevice,
  replaceRemoteDevices,
  staleUsers,
  usersWithCachedDevices,
} from "../../storage/devices/lists-remote.ts";
import type { Context } from "../context.ts";
import { storeRemoteKeys, storedKeys } from "./cross-signing.ts";
import { parseObject } from "./key-json.ts";
import { type DeviceListContext, recordDeviceChanges } from "./lists.ts";

/** Device lists of users of other servers: kept up to date by `m.device_list_update` EDUs, fetched whole where one was missed. */
export type RemoteDeviceContext = DeviceListContext & Pick<Context, "log" | "remote" | "deviceResyncs">;

/** A user with more devices than this is ignored (but for cross-signing), as in Synapse. */
const MAX_DEVICES = 1000;
/** Lists fetched anew in one run of the job. */
const RESYNCS_PER_RUN = 100;

export interface RemoteDeviceList {
  readonly devices: readonly { readonly deviceId: string; readonly content: JsonObject }[];
  readonly masterKey: JsonObject | undefined;
  readonly selfSigningKey: JsonObject | undefined;
}

/**
 * An `m.device_list_update` EDU. One that does not follow from what we know marks the list as stale, and it is fetched anew. Updates of
 * other servers' users and of users who share no room with us are passed over.
 */
export async function handleRemoteDeviceListUpdate(ctx: RemoteDeviceContext, origin: string, content: JsonObject): Promise<void> {
  const { user_id: userId, device_id: deviceId, stream_id: streamId, prev_id: prevIds = [], ...device } = content;
  if (typeof userId !== "string" || typeof deviceId !== "string" || getDomain(userId) !== origin || userId.includes("\0") || deviceId.includes("\0")) return;
  if ((typeof streamId !== "string" && typeof streamId !== "number") || !Array.isArray(prevIds) || canonicalProblem(device) !== undefined) return;
  const instanceName = ctx.streams.deviceLists.instanceName;
  if (await anyPartialStateRoom(ctx.read)) {
    await ctx.transaction("add_remote_device_list_to_pending", async (txn) => {
      const [id] = await ctx.streams.deviceLists.next(txn);
      await addPendingUpdate(txn, userId, deviceId, id!, instanceName);
    });
  }
  if ((await roomsJoinedBy(ctx.read, userId)).length === 0) return;

  await ctx.deviceResyncs.oneAtATime(userId, async () => {
    const known = await lastRemoteUpdate(ctx.read, userId);
    // Several servers count in different ways: ids are compared as texts.
    const follows = prevIds.length > 0 && prevIds.every((id) => String(id) === known || ctx.deviceResyncs.hasSeen(userId, String(id)));
    if (!follows) {
      await ctx.transaction("mark_remote_users_device_caches_as_stale", (txn) => markStale(txn, [userId], ctx.clock.now()));
      ctx.deviceResyncs.inBackground(() => resyncDevices(ctx, userId));
      return;
    }
    await ctx.transaction("update_remote_device_list_cache_entry", async (txn) => {
      const gone = device.deleted !== undefined && device.deleted !== false && device.deleted !== null;
      await putRemoteDevice(txn, userId, deviceId, gone ? undefined : stringifyAscii(device), String(streamId));
      await recordDeviceChanges(ctx, txn, userId, [deviceId]);
    });
    ctx.deviceResyncs.noteSeen(userId, String(streamId));
  });
}

/**
 * The device list of a remote user: what is cached if that is up to date, else fetched from the server and stored. undefined when it cannot
 * be had; then the list is marked as stale and tried again by `retryResyncs`.
 */
export async function resyncDevices(ctx: RemoteDeviceContext, userId: string): Promise<RemoteDeviceList | undefined> {
  return await ctx.deviceResyncs.onePerUser(userId, async () => {
    if ((await usersWithCachedDevices(ctx.read, [userId])).has(userId)) return await cachedList(ctx, userId);
    let answer: JsonObject;
    try {
      answer = await ctx.remote.userDevices(getDomain(userId), userId);
    } catch (error) {
      ctx.log.named("synapse.handlers.device").debug(`Devices of ${userId} could not be fetched`, { error });
      await ctx.transaction("mark_remote_users_device_caches_as_stale", (txn) => markStale(txn, [userId], ctx.clock.now()));
      return undefined;
    }
    return await storeList(ctx, userId, answer);
  });
}

async function cachedList(ctx: RemoteDeviceContext, userId: string): Promise<RemoteDeviceList> {
  const [devices, keys] = await Promise.all([cachedDevices(ctx.read, [userId]), storedKeys(ctx, userId)]);
  const parsed = (devices.get(userId) ?? []).flatMap(({ deviceId, content }) => {
    const object = parseObject(content);
    return object === undefined ? [] : [{ deviceId, content: object }];
  });
  return { devices: parsed, masterKey: keys.get("master"), selfSigningKey: keys.get("self_signing") };
}

async function storeList(ctx: RemoteDeviceContext, userId: string, answer: JsonObject): Promise<RemoteDeviceList | undefined> {
  const { stream_id: streamId, devices: list, master_key: master, self_signing_key: selfSigning } = answer;
  if ((typeof streamId !== "string" && typeof streamId !== "number") || !Array.isArray(list)) return undefined;
  const valid = new Map<string, JsonObject>();
  for (const device of list.length > MAX_DEVICES ? [] : list) {
    if (!isJsonObject(device) || typeof device.device_id !== "string" || device.device_id.includes("\0") || canonicalProblem(device) !== undefined) continue;
    valid.set(device.device_id, device);
  }
  const devices = [...valid].map(([deviceId, content]) => ({ deviceId, content }));
  await ctx.transaction("update_remote_device_list_cache", async (txn) => {
    if (list.length <= MAX_DEVICES) {
      await replaceRemoteDevices(
        txn,
        userId,
        devices.map(({ deviceId, content }) => ({ deviceId, content: stringifyAscii(content) })),
        String(streamId),
      );
    }
    await markFresh(txn, userId);
    const keyIds = await storeRemoteKeys(ctx, txn, userId, { master, selfSigning });
    await recordDeviceChanges(ctx, txn, userId, [...devices.map(({ deviceId }) => deviceId), ...keyIds]);
  });
  ctx.deviceResyncs.forgetSeen(userId);
  ctx.deviceResyncs.noteSeen(userId, String(streamId));
  return { devices, masterKey: isJsonObject(master) ? master : undefined, selfSigningKey: isJsonObject(selfSigning) ? selfSigning : undefined };
}

/** Fetches lists that are marked as stale; a job, each half minute. Servers that cannot be reached cost one attempt. */
export async function retryResyncs(ctx: RemoteDeviceContext): Promise<void> {
  if (!ctx.remote.federates) return;
  const unreachable = new Set<string>();
  for (const userId of await staleUsers(ctx.read, RESYNCS_PER_RUN)) {
    const server = getDomain(userId);
    if (unreachable.has(server)) continue;
    if ((await resyncDevices(ctx, userId)) === undefined) unreachable.add(server);
  }
}

/** These remote users' lists are not to be trusted any more (an unknown device asked for keys); they are fetched anew. */
export async function distrustDevices(ctx: RemoteDeviceContext, userId: string): Promise<void> {
  await ctx.transaction("mark_remote_users_device_caches_as_stale", (txn) => markStale(txn, [userId], ctx.clock.now()));
  ctx.deviceResyncs.inBackground(() => resyncDevices(ctx, userId));
}

/** A room has its full state now: updates that came meanwhile concern the users who turned out to be in it. */
export async function replayPendingUpdates(ctx: RemoteDeviceContext, roomId: string): Promise<void> {
  const byUser = new Map<string, string[]>();
  for (const { userId, deviceId } of await pendingUpdatesInRoom(ctx.read, roomId)) byUser.set(userId, [...(byUser.get(userId) ?? []), deviceId]);
  for (const [userId, deviceIds] of byUser) {
    await ctx.transaction("add_device_change_to_stream", (txn) => recordDeviceChanges(ctx, txn, userId, deviceIds));
  }
}
