import { MatrixError, notFound } from "../../protocol/errors.ts";
import { type DeletedToken, deleteTokensOfDevices } from "../../storage/accounts/access-tokens.ts";
import type { Txn } from "../../storage/database.ts";
import {
  deleteDevices as deleteDeviceRows,
  type Device,
  getDevice as readDevice,
  getDevicesOfUser,
  getStaleDevices,
  insertDevice,
  insertDeviceAuthProvider,
  setDeviceName,
} from "../../storage/devices/devices.ts";
import type { Context } from "../context.ts";

/** Longest display name of a device, in characters. */
export const MAX_DEVICE_NAME = 100;
const DEVICE_ID_LENGTH = 10;

export interface NewDevice {
  readonly userId: string;
  /** undefined: a new id is made up. */
  readonly deviceId: string | undefined;
  readonly displayName: string | undefined;
  /** The identity provider's session that the login came from. */
  readonly authProvider?: { readonly id: string; readonly sessionId: string } | undefined;
}

/**
 * Makes the device, or takes the one that the user has under that id (its name stays). Returns its id.
 * @throws MatrixError 400 M_TOO_LARGE for the name; 400 M_FORBIDDEN when the id is that of a cross-signing key
 */
export async function registerDevice(ctx: Context, txn: Txn, device: NewDevice): Promise<string> {
  const { userId, displayName, authProvider } = device;
  checkDeviceName(displayName);
  const deviceId = device.deviceId ?? ctx.random.letters(DEVICE_ID_LENGTH).toUpperCase();
  const made = await insertDevice(txn, userId, deviceId, displayName ?? null);
  if (made === "hidden") throw new MatrixError(400, "M_FORBIDDEN", "The device ID is in use");
  if (made === "known" && device.deviceId === undefined) return await registerDevice(ctx, txn, device);
  if (authProvider !== undefined) await insertDeviceAuthProvider(txn, userId, deviceId, authProvider.id, authProvider.sessionId);
  if (made === "new" && !ctx.config.registration.dontNotifyNewDevicesFor.includes(userId)) await devicesChanged(ctx, txn, userId, [deviceId]);
  return deviceId;
}

/** Deletes devices of a user with their tokens, keys and pushers; those that do not exist are passed over. */
export async function deleteDevices(ctx: Context, userId: string, deviceIds: readonly string[]): Promise<void> {
  if (deviceIds.length === 0) return;
  await ctx.transaction("delete_devices", (txn) => deleteDevicesIn(ctx, txn, userId, deviceIds));
}

/** As `deleteDevices`, as part of a larger transaction. */
export async function deleteDevicesIn(ctx: Context, txn: Txn, userId: string, deviceIds: readonly string[]): Promise<void> {
  if (deviceIds.length === 0) return;
  await deleteDeviceRows(txn, userId, deviceIds);
  const tokens = await deleteTokensOfDevices(txn, ctx.accounts, userId, deviceIds);
  for (const hook of ctx.accountHooks.devicesDeleted) await hook(ctx, txn, userId, deviceIds);
  await tokensDeleted(ctx, txn, userId, tokens);
  await devicesChanged(ctx, txn, userId, deviceIds);
}

/** Access tokens were deleted: what was made with them goes, and modules hear of it after the commit. */
export async function tokensDeleted(ctx: Context, txn: Txn, userId: string, tokens: readonly DeletedToken[]): Promise<void> {
  if (tokens.length === 0) return;
  const ids = tokens.map(({ id }) => id);
  for (const hook of ctx.accountHooks.tokensDeleted) await hook(ctx, txn, userId, ids);
  txn.afterCommit(() => ctx.modules.passwordAuth.sessionsEnded(userId, tokens));
}

/** Deletes all devices of a user but one. */
export async function deleteAllDevices(ctx: Context, txn: Txn, userId: string, except?: string): Promise<void> {
  const devices = await getDevicesOfUser(txn, userId);
  await deleteDevicesIn(
    ctx,
    txn,
    userId,
    devices.map(({ deviceId }) => deviceId).filter((deviceId) => deviceId !== except),
  );
}

/** A device as `GET /devices` shows it. */
export interface DeviceView {
  readonly device_id: string;
  readonly display_name: string | null;
  readonly last_seen_ip: string | null;
  readonly last_seen_ts: number | null;
  readonly user_id: string;
  /** Shown to admins only. */
  readonly last_seen_user_agent: string | null;
}

type ReadContext = Pick<Context, "clientIps" | "read">;

/** The devices of a user, with where they were seen last (to the second, also what is not written yet). */
export async function listDevices(ctx: ReadContext, userId: string): Promise<DeviceView[]> {
  const devices = await getDevicesOfUser(ctx.read, userId);
  return devices.map((device) => view(ctx, userId, device));
}

/** @throws MatrixError 404 M_NOT_FOUND */
export async function getDevice(ctx: ReadContext, userId: string, deviceId: string): Promise<DeviceView> {
  const device = await readDevice(ctx.read, userId, deviceId);
  if (device === undefined) throw notFound();
  return view(ctx, userId, device);
}

/**
 * Renames a device; without a name only the change is announced, as in Synapse.
 * @throws MatrixError 404 M_NOT_FOUND, 400 M_TOO_LARGE
 */
export async function updateDevice(ctx: Context, userId: string, deviceId: string, displayName: string | undefined): Promise<void> {
  checkDeviceName(displayName);
  await ctx.transaction("update_device", async (txn) => {
    if (displayName !== undefined && !(await setDeviceName(txn, userId, deviceId, displayName))) throw notFound();
    await devicesChanged(ctx, txn, userId, [deviceId]);
  });
}

/** Makes or renames a device (appservices and admins); true when it is new. */
export async function upsertDevice(ctx: Context, userId: string, deviceId: string, displayName: string | undefined): Promise<boolean> {
  checkDeviceName(displayName);
  return await ctx.transaction("upsert_device", async (txn) => {
    const made = await insertDevice(txn, userId, deviceId, displayName ?? null);
    if (made === "hidden") throw new MatrixError(400, "M_FORBIDDEN", "The device ID is in use");
    if (made === "known" && displayName !== undefined) await setDeviceName(txn, userId, deviceId, displayName);
    await devicesChanged(ctx, txn, userId, [deviceId]);
    return made === "new";
  });
}

/** Deletes devices not used for `delete_stale_devices_after`; called each day. */
export async function deleteStaleDevices(ctx: Context): Promise<void> {
  const age = ctx.config.server.deleteStaleDevicesAfterMs;
  if (age === undefined) return;
  for (const [userId, deviceIds] of await getStaleDevices(ctx.read, ctx.clock.now() - age)) {
    if (userId.endsWith(`:${ctx.config.server.serverName}`)) await deleteDevices(ctx, userId, deviceIds);
  }
}

async function devicesChanged(ctx: Context, txn: Txn, userId: string, deviceIds: readonly string[]): Promise<void> {
  for (const hook of ctx.accountHooks.devicesChanged) await hook(ctx, txn, userId, deviceIds);
}

function checkDeviceName(name: string | undefined): void {
  if (name !== undefined && [...name].length > MAX_DEVICE_NAME)
    throw new MatrixError(400, "M_TOO_LARGE", `Device display name is too long (max ${MAX_DEVICE_NAME})`);
}

function view(ctx: ReadContext, userId: string, device: Device): DeviceView {
  let { lastSeen, ip, userAgent } = device;
  for (const sighting of ctx.clientIps.pendingOf(userId)) if (sighting.deviceId === device.deviceId) ({ lastSeen, ip, userAgent } = sighting);
  return {
    device_id: device.deviceId,
    display_name: device.displayName,
    last_seen_ip: ip,
    last_seen_ts: lastSeen,
    user_id: userId,
    last_seen_user_agent: userAgent,
  };
}
