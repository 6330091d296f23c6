import { type JsonObject, type JsonText, stringifyAscii } from "../../lib/json.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { forbidden, invalidParam, notFound } from "../../protocol/errors.ts";
import { deleteDehydratedDevices, dehydratedDevice, putDehydratedDevice } from "../../storage/devices/dehydrated.ts";
import { getDevice } from "../../storage/devices/devices.ts";
import { inboxMessages } from "../../storage/devices/inbox.ts";
import { putDeviceKeys } from "../../storage/devices/keys.ts";
import type { Context } from "../context.ts";
import { deleteDevicesIn, registerDevice } from "./devices.ts";
import { type KeyUpload, storeOneTimeKeys } from "./keys-upload.ts";
import { recordDeviceChanges } from "./lists.ts";

/** Dehydrated devices: a device that receives messages while its owner is logged out (MSC3814). */
export interface NewDehydratedDevice {
  readonly deviceId: string;
  readonly displayName: string | undefined;
  readonly data: JsonObject;
  /** With device keys. */
  readonly keys: KeyUpload;
}

/** Replaces the user's dehydrated device; the old one is deleted like any device. */
export async function storeDehydratedDevice(ctx: Context, userId: string, device: NewDehydratedDevice): Promise<void> {
  const { deviceId, displayName, data, keys } = device;
  await ctx.transaction(
    "store_dehydrated_device",
    async (txn) => {
      const old = await dehydratedDevice(txn, userId);
      if (old !== undefined) await deleteDevicesIn(ctx, txn, userId, [old.deviceId]);
      const known = await getDevice(txn, userId, deviceId);
      await registerDevice(ctx, txn, { userId, deviceId, displayName });
      await putDeviceKeys(txn, userId, deviceId, canonicalJson(keys.deviceKeys), ctx.clock.now());
      await storeOneTimeKeys(ctx, txn, userId, deviceId, keys);
      await putDehydratedDevice(txn, userId, deviceId, stringifyAscii(data));
      // Of a new device the others hear anyway.
      if (known !== undefined) await recordDeviceChanges(ctx, txn, userId, [deviceId]);
    },
    { isolation: "read committed" },
  );
}

/** @throws MatrixError 404 */
export async function getDehydratedDevice(ctx: Pick<Context, "read">, userId: string): Promise<{ deviceId: string; data: JsonText }> {
  const device = await dehydratedDevice(ctx.read, userId);
  if (device === undefined) throw notFound("No dehydrated device available");
  return device;
}

/** Deletes the device; returns its id. @throws MatrixError 404 */
export async function removeDehydratedDevice(ctx: Context, userId: string): Promise<string> {
  const { deviceId } = await getDehydratedDevice(ctx, userId);
  await ctx.transaction("remove_dehydrated_device", async (txn) => {
    await deleteDehydratedDevices(txn, userId, [deviceId]);
    await deleteDevicesIn(ctx, txn, userId, [deviceId]);
  });
  return deviceId;
}

export interface DehydratedMessages {
  readonly events: readonly JsonText[];
  readonly nextBatch: string;
  readonly limited: boolean;
}

/**
 * Messages that wait for the dehydrated device, from a token of an earlier answer on. They stay until the device is deleted.
 * @throws MatrixError 403 when it is not the user's dehydrated device; 400 for a bad token
 */
export async function dehydratedDeviceMessages(
  ctx: Pick<Context, "read" | "streams">,
  userId: string,
  deviceId: string,
  from: string | undefined,
  limit: number,
): Promise<DehydratedMessages> {
  const device = await dehydratedDevice(ctx.read, userId);
  if (device === undefined) throw forbidden("No dehydrated device exists");
  if (device.deviceId !== deviceId) throw forbidden("You may only fetch messages for your dehydrated device");
  if (from !== undefined && from !== "" && !/^d\d{1,15}$/.test(from)) throw invalidParam(`from parameter '${from}' has an invalid format`);
  const since = from === undefined || from === "" ? 0 : Number(from.slice(1));
  const upTo = ctx.streams.toDevice.currentToken();
  const rows = await inboxMessages(ctx.read, userId, deviceId, since, upTo, limit);
  const position = rows.length < limit ? upTo : rows.at(-1)!.streamId;
  return { events: rows.map(({ message }) => message), nextBatch: `d${position}`, limited: position !== upTo };
}
