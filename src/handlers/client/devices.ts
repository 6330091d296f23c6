import { z } from "zod";
import { badJson, missingParam, unrecognized } from "../../protocol/errors.ts";
import { requireInteractiveAuth } from "../../services/accounts/uia.ts";
import {
  deleteDevices as removeDevices,
  getDevice as readDevice,
  listDevices,
  type DeviceView,
  updateDevice,
  upsertDevice,
} from "../../services/devices/devices.ts";
import { endpoint } from "../http/endpoint.ts";
import { Reply } from "../http/reply.ts";

/** The user's devices. */
export const getDevices = endpoint({
  servlet: "DevicesRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/devices",
  auth: "guest",
  handle: async (ctx, { requester }) => ({ devices: (await listDevices(ctx, requester.userId)).map(forOwner) }),
});

export const getDevice = endpoint({
  servlet: "DeviceRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/devices/:deviceId",
  auth: "guest",
  handle: async (ctx, { requester, params }) => forOwner(await readDevice(ctx, requester.userId, params.deviceId)),
});

/** Renames a device; appservices make it so (MSC4190). */
export const putDevice = endpoint({
  servlet: "DeviceRestServlet",
  method: "PUT",
  path: "/_matrix/client/(r0|v3|unstable)/devices/:deviceId",
  auth: "guest",
  body: z.object({ display_name: z.string().nullish() }),
  async handle(ctx, { requester, params, body }) {
    const displayName = body.display_name?.replaceAll("\0", "");
    if (requester.appserviceId !== undefined) return new Reply((await upsertDevice(ctx, requester.userId, params.deviceId, displayName)) ? 201 : 200, {});
    await updateDevice(ctx, requester.userId, params.deviceId, displayName);
    return {};
  },
});

/** Deletes a device, once the user has proved who they are. */
export const deleteDevice = endpoint({
  servlet: "DeviceRestServlet",
  method: "DELETE",
  path: "/_matrix/client/(r0|v3|unstable)/devices/:deviceId",
  auth: "user",
  emptyBody: "or no JSON",
  async handle(ctx, request) {
    const { requester, params } = request;
    if (requester.appserviceId === undefined) {
      if (ctx.config.mas.enabled) throw unrecognized(404);
      await requireInteractiveAuth(ctx, requester, request, { description: "remove a device from your account", recentProofCounts: true });
    }
    await removeDevices(ctx, requester.userId, [params.deviceId]);
    return {};
  },
});

/** Deletes several devices, once the user has proved who they are. */
export const deleteDevices = endpoint({
  servlet: "DeleteDevicesRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/delete_devices",
  auth: "user",
  emptyBody: "or no JSON",
  when: (config) => !config.mas.enabled,
  async handle(ctx, request) {
    const { body, requester } = request;
    const proof = { description: "remove device(s) from your account", recentProofCounts: true };
    const given = body["devices"];
    const session = body["auth"] !== undefined && Object.keys(body).length === 1;
    if (!session) readDeviceIds(given);
    const devices = requester.appserviceId === undefined ? (await requireInteractiveAuth(ctx, requester, request, proof)).params["devices"] : given;
    await removeDevices(ctx, requester.userId, readDeviceIds(devices));
    return {};
  },
});

function readDeviceIds(value: unknown): string[] {
  if (value === undefined) throw missingParam("devices: Field required");
  if (!Array.isArray(value) || !value.every((id) => typeof id === "string")) throw badJson("devices must be a list of device ids");
  return (value as string[]).filter((id) => !id.includes("\0"));
}

function forOwner({ last_seen_user_agent: _, ...device }: DeviceView): Omit<DeviceView, "last_seen_user_agent"> {
  return device;
}
