import { isJsonObject } from "../../lib/json.ts";
import { badJson, invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import type { Config } from "../../config/config.ts";
import { dehydratedDeviceMessages, getDehydratedDevice, removeDehydratedDevice, storeDehydratedDevice } from "../../services/devices/dehydrated.ts";
import { readKeyUpload } from "../../services/devices/keys-upload.ts";
import { endpoint } from "../http/endpoint.ts";

const PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const when = (config: Config): boolean => config.experimental.msc3814Enabled;
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

export const getDehydrated = endpoint({
  servlet: "DehydratedDeviceV2Servlet",
  method: "GET",
  path: PATH,
  auth: "user",
  when,
  async handle(ctx, { requester }) {
    const { deviceId, data } = await getDehydratedDevice(ctx, requester.userId);
    return { device_id: deviceId, device_data: data };
  },
});

export const putDehydrated = endpoint({
  servlet: "DehydratedDeviceV2Servlet",
  method: "PUT",
  path: PATH,
  auth: "user",
  when,
  lossless: true,
  async handle(ctx, { requester, body }) {
    const { device_id: deviceId, device_data: data, initial_device_display_name: name } = body;
    const missing = ["device_data", "device_id", "initial_device_display_name"].filter((field) => body[field] === undefined);
    // As in Synapse, where several are missing that is no one's fault in particular; a device without a name is let be.
    if (missing.length > 1) throw badJson(`Missing ${missing.join(", ")}`);
    if (missing.length === 1 && missing[0] !== "initial_device_display_name") throw missingParam(`Missing '${missing[0]}'`);
    if (!isJsonObject(data) || typeof data.algorithm !== "string") throw badJson("device_data must be an object with a string 'algorithm'");
    if (typeof deviceId !== "string" || deviceId === "" || deviceId.includes("\0")) throw badJson("device_id must be a string");
    if (name !== undefined && name !== null && typeof name !== "string") throw badJson("initial_device_display_name must be a string");
    if (body.device_keys === undefined) throw new MatrixError(400, "M_UNKNOWN", "Device key(s) not found, these must be provided.");
    const keys = readKeyUpload(body, requester.userId, deviceId);
    await storeDehydratedDevice(ctx, requester.userId, { deviceId, displayName: name?.replaceAll("\0", ""), data, keys });
    return { device_id: deviceId };
  },
});

export const deleteDehydrated = endpoint({
  servlet: "DehydratedDeviceV2Servlet",
  method: "DELETE",
  path: PATH,
  auth: "user",
  bodyType: "none",
  when,
  async handle(ctx, { requester }) {
    return { device_id: await removeDehydratedDevice(ctx, requester.userId) };
  },
});

export const getDehydratedEvents = endpoint({
  servlet: "DehydratedDeviceEventsServlet",
  method: "GET",
  path: `${PATH}/:deviceId/events`,
  auth: "user",
  when,
  async handle(ctx, { requester, params, query }) {
    const { events, nextBatch, limited } = await dehydratedDeviceMessages(
      ctx,
      requester.userId,
      params.deviceId,
      query.string("from"),
      readLimit(query.integer("limit", DEFAULT_LIMIT)),
    );
    return limited ? { events, next_batch: nextBatch } : { events };
  },
});

/** The form of an earlier draft: `next_batch` in the body, and always one in the answer. */
export const postDehydratedEvents = endpoint({
  servlet: "DehydratedDeviceEventsServlet",
  method: "POST",
  path: `${PATH}/:deviceId/events`,
  auth: "user",
  when,
  async handle(ctx, { requester, params, query, body }) {
    const from = body.next_batch ?? undefined;
    if (from !== undefined && typeof from !== "string") throw badJson("next_batch must be a string");
    const { events, nextBatch } = await dehydratedDeviceMessages(
      ctx,
      requester.userId,
      params.deviceId,
      from,
      readLimit(query.integer("limit", DEFAULT_LIMIT)),
    );
    return { events, next_batch: nextBatch };
  },
});

function readLimit(limit: number): number {
  if (limit <= 0) throw invalidParam("limit must be positive");
  return Math.min(limit, MAX_LIMIT);
}

export const dehydratedDeviceRoutes = [getDehydrated, putDehydrated, deleteDehydrated, getDehydratedEvents, postDehydratedEvents];
