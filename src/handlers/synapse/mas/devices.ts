import { z } from "zod";
import { deleteDevices, updateDevice, upsertDevice } from "../../../services/devices/devices.ts";
import { syncDevices } from "../../../services/mas/provision.ts";
import { endpoint } from "../../http/endpoint.ts";
import { Reply } from "../../http/reply.ts";
import { userOf, when } from "./delegated.ts";

const id = z.string().refine((value) => !value.includes("\0"), "must not contain U+0000");
const name = z.string().transform((value) => value.replaceAll("\0", ""));

/** Makes or renames a device. */
export const upsert = endpoint({
  servlet: "MasUpsertDeviceResource",
  method: "POST",
  path: "/_synapse/mas/upsert_device",
  auth: "mas",
  body: z.object({ localpart: z.string(), device_id: id, display_name: name.nullish() }),
  when,
  async handle(ctx, { body }) {
    const user = await userOf(ctx, body.localpart);
    return new Reply((await upsertDevice(ctx, user.name, body.device_id, body.display_name ?? undefined)) ? 201 : 200, {});
  },
});

export const remove = endpoint({
  servlet: "MasDeleteDeviceResource",
  method: "POST",
  path: "/_synapse/mas/delete_device",
  auth: "mas",
  body: z.object({ localpart: z.string(), device_id: id }),
  when,
  async handle(ctx, { body }) {
    await deleteDevices(ctx, (await userOf(ctx, body.localpart)).name, [body.device_id]);
    return new Reply(204, undefined);
  },
});

export const rename = endpoint({
  servlet: "MasUpdateDeviceDisplayNameResource",
  method: "POST",
  path: "/_synapse/mas/update_device_display_name",
  auth: "mas",
  body: z.object({ localpart: z.string(), device_id: id, display_name: name }),
  when,
  async handle(ctx, { body }) {
    await updateDevice(ctx, (await userOf(ctx, body.localpart)).name, body.device_id, body.display_name);
    return {};
  },
});

/** All devices that a user has, as the authentication service knows them. */
export const sync = endpoint({
  servlet: "MasSyncDevicesResource",
  method: "POST",
  path: "/_synapse/mas/sync_devices",
  auth: "mas",
  body: z.object({ localpart: z.string(), devices: z.array(id) }),
  when,
  async handle(ctx, { body }) {
    await syncDevices(ctx, (await userOf(ctx, body.localpart)).name, body.devices);
    return {};
  },
});

export const masDeviceRoutes = [upsert, remove, rename, sync];
