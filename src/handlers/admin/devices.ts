import { invalidParam } from "../../protocol/errors.ts";
import { badRequest, localAccount } from "../../services/admin/targets.ts";
import type { Context } from "../../services/context.ts";
import { deleteDevices as removeDevices, getDevice, listDevices, registerDevice, updateDevice } from "../../services/devices/devices.ts";
import { dehydratedDevice } from "../../storage/devices/dehydrated.ts";
import { endpoint } from "../http/endpoint.ts";
import { Reply } from "../http/reply.ts";
import { requireKeys } from "./body.ts";

const DEVICES = "/_synapse/admin/v2/users/:userId/devices";

async function target(ctx: Context, userId: string, message = "Can only lookup local users"): Promise<string> {
  return (await localAccount(ctx, userId, message, "Unknown user")).name;
}

export const listUserDevices = endpoint({
  servlet: "DevicesRestServlet",
  method: "GET",
  path: DEVICES,
  auth: "admin",
  async handle(ctx, { params }) {
    const userId = await target(ctx, params.userId);
    const [devices, dehydrated] = await Promise.all([listDevices(ctx, userId), dehydratedDevice(ctx.read, userId)]);
    return {
      devices: dehydrated === undefined ? devices : devices.map((device) => ({ ...device, dehydrated: device.device_id === dehydrated.deviceId })),
      total: devices.length,
    };
  },
});

export const createUserDevice = endpoint({
  servlet: "DevicesRestServlet",
  method: "POST",
  path: DEVICES,
  auth: "admin",
  emptyBody: false,
  async handle(ctx, { params, body }) {
    const userId = await target(ctx, params.userId, "Can only create devices for local users");
    const deviceId = body.device_id;
    if (deviceId === undefined || deviceId === null || deviceId === "") throw badRequest("Missing device_id");
    if (typeof deviceId !== "string") throw badRequest("device_id must be a string");
    await ctx.transaction("check_device_registered", (txn) => registerDevice(ctx, txn, { userId, deviceId, displayName: undefined }));
    return new Reply(201, {});
  },
});

export const getUserDevice = endpoint({
  servlet: "DeviceRestServlet",
  method: "GET",
  path: `${DEVICES}/:deviceId`,
  auth: "admin",
  handle: async (ctx, { params }) => await getDevice(ctx, await target(ctx, params.userId), params.deviceId),
});

export const putUserDevice = endpoint({
  servlet: "DeviceRestServlet",
  method: "PUT",
  path: `${DEVICES}/:deviceId`,
  auth: "admin",
  emptyBody: true,
  async handle(ctx, { params, body }) {
    const userId = await target(ctx, params.userId);
    const name = body.display_name ?? undefined;
    if (name !== undefined && typeof name !== "string") throw invalidParam("display_name must be a string");
    await updateDevice(ctx, userId, params.deviceId, name);
    return {};
  },
});

export const deleteUserDevice = endpoint({
  servlet: "DeviceRestServlet",
  method: "DELETE",
  path: `${DEVICES}/:deviceId`,
  auth: "admin",
  bodyType: "none",
  async handle(ctx, { params }) {
    await removeDevices(ctx, await target(ctx, params.userId), [params.deviceId]);
    return {};
  },
});

export const deleteUserDevices = endpoint({
  servlet: "DeleteDevicesRestServlet",
  method: "POST",
  path: "/_synapse/admin/v2/users/:userId/delete_devices",
  auth: "admin",
  emptyBody: false,
  async handle(ctx, { params, body }) {
    const userId = await target(ctx, params.userId);
    requireKeys(body, ["devices"]);
    const { devices } = body;
    if (!Array.isArray(devices) || !devices.every((id) => typeof id === "string")) throw invalidParam("devices must be a list of device ids");
    await removeDevices(ctx, userId, devices as string[]);
    return {};
  },
});

export const deviceRoutes = [listUserDevices, createUserDevice, getUserDevice, putUserDevice, deleteUserDevice, deleteUserDevices];
