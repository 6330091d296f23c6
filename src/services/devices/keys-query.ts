import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { RemoteError } from "../../outbound/federation/client.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { getDomain, isUserId } from "../../protocol/ids.ts";
import { deviceKeys } from "../../storage/devices/keys.ts";
import { crossSigningKeys, signaturesBy } from "../../storage/devices/keys-cross-signing.ts";
import { usersSharingRoomsWith } from "../../storage/devices/lists.ts";
import { cachedDevices, usersWithCachedDevices } from "../../storage/devices/lists-remote.ts";
import { joinedRoomsOf } from "../../storage/presence/presence.ts";
import type { Context } from "../context.ts";
import { parseObject, publicKeyOf, withSignatures } from "./key-json.ts";
import { type RemoteDeviceContext, resyncDevices } from "./lists-remote.ts";

/** `POST /keys/query`, of clients and of other servers (client-server and server-server API, "Key management"). */
export type KeyQueryContext = RemoteDeviceContext & Pick<Context, "config">;

/** User id to device ids; no device ids: all. */
export type KeyQuery = Readonly<Record<string, readonly string[]>>;

type DevicesByUser = Record<string, Record<string, JsonObject>>;
type KeysByUser = Record<string, JsonObject>;

export interface KeyQueryResult {
  device_keys: DevicesByUser;
  failures: Record<string, JsonObject>;
  master_keys: KeysByUser;
  self_signing_keys: KeysByUser;
  user_signing_keys: KeysByUser;
}

const emptyMap = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;

/** What a client asks for: local users from the database, remote ones from what is cached, the rest from their servers within `timeoutMs`. */
export async function queryKeys(ctx: KeyQueryContext, requester: string, query: KeyQuery, timeoutMs: number): Promise<KeyQueryResult> {
  const wanted = await allowedUsers(ctx, requester, Object.keys(query).filter(isUserId));
  const isLocal = (userId: string): boolean => getDomain(userId) === ctx.config.server.serverName;
  const [local, remote] = [wanted.filter(isLocal), wanted.filter((userId) => !isLocal(userId))];
  const [localKeys, crossSigning] = await Promise.all([queryLocalDevices(ctx, pick(query, local), true), crossSigningKeysFor(ctx, wanted, requester)]);
  const result: KeyQueryResult = { device_keys: localKeys, failures: emptyMap(), ...crossSigning };
  if (remote.length > 0) await queryRemote(ctx, pick(query, remote), result, timeoutMs);
  return result;
}

/** What another server asks for. @throws MatrixError 400 when a user is not of this server */
export async function queryKeysForServer(ctx: KeyQueryContext, query: KeyQuery): Promise<Omit<KeyQueryResult, "failures" | "user_signing_keys">> {
  const userIds = Object.keys(query);
  if (userIds.some((userId) => !isUserId(userId) || getDomain(userId) !== ctx.config.server.serverName)) {
    throw new MatrixError(400, "M_UNKNOWN", "User is not hosted on this homeserver");
  }
  const withNames = ctx.config.federation.allowDeviceNameLookupOverFederation;
  const [devices, { master_keys, self_signing_keys }] = await Promise.all([
    queryLocalDevices(ctx, query, withNames),
    crossSigningKeysFor(ctx, userIds, undefined),
  ]);
  return { device_keys: devices, master_keys, self_signing_keys };
}

/** Keys of local users' devices with the users' own cross-signatures; every user has an entry. */
export async function queryLocalDevices(ctx: Pick<Context, "read" | "config" | "remote">, query: KeyQuery, withNames: boolean): Promise<DevicesByUser> {
  const result: DevicesByUser = emptyMap();
  const all: string[] = [];
  const single: [string, string][] = [];
  for (const [userId, deviceIds] of Object.entries(query)) {
    result[userId] = emptyMap();
    if (deviceIds.length === 0) all.push(userId);
    else for (const deviceId of new Set(deviceIds)) if (!deviceId.includes("\0")) single.push([userId, deviceId]);
  }
  if (all.length === 0 && single.length === 0) return result;
  for (const row of await deviceKeys(ctx.read, all, single)) {
    const keys = parseObject(row.keyJson!);
    // Rows of older servers may hold anything (CVE-2025-61672).
    if (keys === undefined || !isJsonObject(keys.keys)) continue;
    const unsigned = withNames && row.displayName !== null ? { device_display_name: row.displayName } : {};
    result[row.userId]![row.deviceId] = { ...withSignatures(keys, row.userId, row.signatures), unsigned };
  }
  if (ctx.config.experimental.msc3984AppserviceKeyQuery) {
    const answers = (await ctx.remote.queryAppserviceKeys(query)).device_keys;
    for (const [userId, devices] of Object.entries(isJsonObject(answers) ? answers : {})) {
      if (Object.hasOwn(result, userId) || userId in result) Object.assign(result[userId]!, devices);
    }
  }
  return result;
}

/**
 * Cross-signing keys of users: as stored, and for a client with the signatures that the requester made. The user-signing key is shown to its
 * owner alone.
 */
export async function crossSigningKeysFor(
  ctx: Pick<Context, "read">,
  userIds: readonly string[],
  requester: string | undefined,
): Promise<Pick<KeyQueryResult, "master_keys" | "self_signing_keys" | "user_signing_keys">> {
  const result = { master_keys: emptyMap<JsonObject>(), self_signing_keys: emptyMap<JsonObject>(), user_signing_keys: emptyMap<JsonObject>() };
  const targets: { into: KeysByUser; userId: string; publicKey: string }[] = [];
  for (const row of await crossSigningKeys(ctx.read, userIds)) {
    const into = row.keyType === "master" ? result.master_keys : row.keyType === "self_signing" ? result.self_signing_keys : result.user_signing_keys;
    const key = parseObject(row.keyData);
    if (key === undefined || (into === result.user_signing_keys && row.userId !== requester)) continue;
    into[row.userId] = key;
    const entry = publicKeyOf(key);
    if (entry !== undefined) targets.push({ into, userId: row.userId, publicKey: entry.publicKey });
  }
  if (requester === undefined || targets.length === 0) return result;
  const signatures = await signaturesBy(
    ctx.read,
    requester,
    targets.map(({ userId, publicKey }) => [userId, publicKey] as const),
  );
  const byTarget = new Map<string, Record<string, string>>();
  for (const { targetUserId, targetDeviceId, keyId, signature } of signatures) {
    const name = JSON.stringify([targetUserId, targetDeviceId]);
    byTarget.set(name, { ...byTarget.get(name), [keyId]: signature });
  }
  for (const { into, userId, publicKey } of targets) {
    const more = byTarget.get(JSON.stringify([userId, publicKey]));
    if (more !== undefined) into[userId] = withSignatures(into[userId]!, requester, more);
  }
  return result;
}

async function allowedUsers(ctx: KeyQueryContext, requester: string, userIds: readonly string[]): Promise<string[]> {
  if (!ctx.config.experimental.msc4263LimitKeyQueriesToUsersWhoShareRooms || userIds.length === 0) return [...userIds];
  const shared = await usersSharingRoomsWith(ctx.read, requester, userIds);
  return userIds.filter((userId) => userId === requester || shared.has(userId));
}

function pick(query: KeyQuery, userIds: readonly string[]): KeyQuery {
  return Object.fromEntries(userIds.map((userId) => [userId, query[userId]!]));
}

/** Fills `result` for remote users: from the cache where the list is kept up to date, else by asking their servers. */
async function queryRemote(ctx: KeyQueryContext, query: KeyQuery, result: KeyQueryResult, timeoutMs: number): Promise<void> {
  const userIds = Object.keys(query);
  const [cached, inRooms] = await Promise.all([usersWithCachedDevices(ctx.read, userIds), joinedRoomsOf(ctx.read, userIds)]);
  // A list is kept up to date only while a room is shared; a master key without its self-signing key shows that something was missed.
  const usable = userIds.filter((userId) => cached.has(userId) && inRooms.has(userId) && userId in result.master_keys === userId in result.self_signing_keys);
  const devices = await cachedDevices(ctx.read, usable);
  for (const userId of usable) result.device_keys[userId] = devicesOf(devices.get(userId) ?? [], query[userId]!);

  const byServer = new Map<string, Record<string, readonly string[]>>();
  for (const userId of userIds) {
    if (usable.includes(userId)) continue;
    const server = getDomain(userId);
    const users = byServer.get(server) ?? {};
    users[userId] = query[userId]!;
    byServer.set(server, users);
  }
  await Promise.all([...byServer].map(([server, users]) => queryServer(ctx, server, users, inRooms, result, timeoutMs)));
}

function devicesOf(rows: readonly { deviceId: string; content: string }[], wanted: readonly string[]): Record<string, JsonObject> {
  const devices = emptyMap<JsonObject>();
  for (const { deviceId, content } of rows) {
    if (wanted.length > 0 && !wanted.includes(deviceId)) continue;
    const device = parseObject(content);
    if (device === undefined || !isJsonObject(device.keys)) continue;
    const unsigned = isJsonObject(device.keys.unsigned) ? device.keys.unsigned : {};
    const name = device.device_display_name;
    devices[deviceId] = { ...device.keys, unsigned: { ...unsigned, ...(typeof name === "string" && name !== "" ? { device_display_name: name } : {}) } };
  }
  return devices;
}

async function queryServer(
  ctx: KeyQueryContext,
  server: string,
  users: Readonly<Record<string, readonly string[]>>,
  inRooms: ReadonlyMap<string, unknown>,
  result: KeyQueryResult,
  timeoutMs: number,
): Promise<void> {
  const left: Record<string, readonly string[]> = {};
  try {
    // Whole lists of users who share a room are fetched in the form that can be kept up to date.
    await Promise.all(
      Object.entries(users).map(async ([userId, deviceIds]) => {
        if (deviceIds.length > 0 || !inRooms.has(userId)) {
          left[userId] = deviceIds;
          return;
        }
        const list = await resyncDevices(ctx, userId);
        if (list === undefined) throw new Error(`The devices of ${userId} could not be fetched`);
        result.device_keys[userId] = Object.fromEntries(
          list.devices.flatMap(({ deviceId, content }) => (isJsonObject(content.keys) ? [[deviceId, content.keys]] : [])),
        );
        if (list.masterKey !== undefined) result.master_keys[userId] = list.masterKey;
        if (list.selfSigningKey !== undefined) result.self_signing_keys[userId] = list.selfSigningKey;
      }),
    );
    if (Object.keys(left).length === 0) return;
    const answer = await ctx.remote.queryKeys(server, left, timeoutMs);
    for (const field of ["device_keys", "master_keys", "self_signing_keys"] as const) {
      const entries = answer[field];
      if (!isJsonObject(entries)) continue;
      for (const [userId, value] of Object.entries(entries)) {
        if (Object.hasOwn(left, userId) && isJsonObject(value)) (result[field] as Record<string, JsonObject>)[userId] = value;
      }
    }
  } catch (error) {
    result.failures[server] = failureOf(error);
  }
}

/** An error as the `failures` of key requests show it. Of what another server said, only the status goes further. */
export function failureOf(error: unknown): JsonObject {
  if (error instanceof RemoteError) return { status: error.status, message: `${error.status}: The other server refused` };
  if (error instanceof MatrixError && error.status < 500) return { status: error.status, errcode: error.errcode, message: `${error.status}: ${error.message}` };
  return { status: 503, message: error instanceof Error ? error.message : "The server could not be asked" };
}
