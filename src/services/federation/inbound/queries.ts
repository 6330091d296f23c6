import { isJsonObject, type Json, type JsonObject } from "../../../lib/json.ts";
import { badJson, forbidden, MatrixError, missingParam, notFound } from "../../../protocol/errors.ts";
import { getDomain, isRoomAlias, isUserId } from "../../../protocol/ids.ts";
import { getUserOfOpenIdToken } from "../../../storage/accounts/open-id-tokens.ts";
import { getProfile, getProfileField } from "../../accounts/profile.ts";
import type { Context } from "../../context.ts";
import { claimLocalKeys, type ClaimResult } from "../../devices/keys-claim.ts";
import { type KeyQuery, queryKeysForServer } from "../../devices/keys-query.ts";
import { resolveAlias } from "../../directory/aliases.ts";

/** Questions of other servers about users, aliases and keys of this one. */
const notOurs = (what: string): MatrixError => new MatrixError(400, "M_UNKNOWN", `${what} is not hosted on this homeserver`);

/** `GET /query/profile`. @throws MatrixError 400, 403, 404 */
export async function profileForServer(ctx: Context, userId: string | undefined, field: string | undefined): Promise<JsonObject> {
  if (!ctx.config.federation.allowProfileLookupOverFederation) throw forbidden("Profile lookup over federation is disabled on this homeserver");
  if (!isUserId(userId)) throw new MatrixError(400, "M_INVALID_PARAM", "Invalid user ID");
  if (getDomain(userId) !== ctx.config.server.serverName) throw notOurs("User");
  if (field === undefined) return await getProfile(ctx, userId, undefined);
  return { [field]: await getProfileField(ctx, userId, field, undefined) };
}

/** `GET /query/directory`. @throws MatrixError 400, 404 */
export async function aliasForServer(ctx: Context, alias: string | undefined): Promise<JsonObject> {
  if (alias === undefined) throw missingParam("Missing required string query parameter room_alias");
  if (!isRoomAlias(alias)) throw new MatrixError(400, "M_INVALID_PARAM", "Invalid room alias");
  if (getDomain(alias) !== ctx.config.server.serverName) throw notOurs("Room Alias");
  const { roomId, servers } = await resolveAlias(ctx, alias);
  return { room_id: roomId, servers };
}

/** `POST /user/keys/query`. @throws MatrixError 400 */
export async function keysForServer(ctx: Context, body: JsonObject): Promise<unknown> {
  const wanted = body.device_keys ?? {};
  if (!isJsonObject(wanted)) throw badJson("'device_keys' must be an object");
  const query: Record<string, readonly string[]> = {};
  for (const [userId, deviceIds] of Object.entries(wanted)) query[userId] = Array.isArray(deviceIds) ? deviceIds.filter((id) => typeof id === "string") : [];
  return await queryKeysForServer(ctx, query satisfies KeyQuery);
}

/** `POST /user/keys/claim`: user id to device id to algorithm, or (MSC3983) to a list of algorithms. @throws MatrixError 400 */
export async function claimForServer(ctx: Context, body: JsonObject, withFallback: boolean): Promise<Pick<ClaimResult, "one_time_keys">> {
  const wanted = body.one_time_keys ?? {};
  if (!isJsonObject(wanted)) throw badJson("'one_time_keys' must be an object");
  const claims = new Map<string, Parameters<typeof claimLocalKeys>[1][number]>();
  for (const [userId, devices] of Object.entries(wanted)) {
    if (!isUserId(userId) || getDomain(userId) !== ctx.config.server.serverName) throw notOurs("User");
    for (const [deviceId, value] of Object.entries(isJsonObject(devices) ? devices : {})) {
      const algorithms = (Array.isArray(value) ? value : [value]).filter((algorithm): algorithm is string => typeof algorithm === "string");
      for (const algorithm of algorithms) {
        if (deviceId.includes("\0") || algorithm.includes("\0")) continue;
        const key = JSON.stringify([userId, deviceId, algorithm]);
        claims.set(key, { userId, deviceId, algorithm, count: Math.min((claims.get(key)?.count ?? 0) + 1, 5) });
      }
    }
  }
  return { one_time_keys: await claimLocalKeys(ctx, [...claims.values()], withFallback) };
}

/** `GET /user/devices/{userId}`: all devices with keys, for who follows the list. @throws MatrixError 400 */
export async function devicesForServer(ctx: Context, userId: string): Promise<JsonObject> {
  if (!isUserId(userId) || getDomain(userId) !== ctx.config.server.serverName) throw notOurs("User");
  // Before the keys are read: what changes meanwhile will come once more.
  const streamId = ctx.streams.deviceLists.currentToken();
  const { device_keys, master_keys, self_signing_keys } = await queryKeysForServer(ctx, { [userId]: [] });
  const devices = Object.entries(device_keys[userId] ?? {}).map(([deviceId, { unsigned, ...keys }]): JsonObject => {
    const name = isJsonObject(unsigned) ? unsigned.device_display_name : undefined;
    return { device_id: deviceId, keys, ...(name === undefined ? {} : { device_display_name: name }) };
  });
  return {
    user_id: userId,
    stream_id: streamId,
    devices,
    master_key: (master_keys[userId] ?? null) as Json,
    self_signing_key: (self_signing_keys[userId] ?? null) as Json,
  };
}

/** Who has an OpenID token. @throws MatrixError 401 */
export async function openIdUser(ctx: Pick<Context, "clock" | "read">, token: string | undefined): Promise<JsonObject> {
  if (token === undefined) throw new MatrixError(401, "M_MISSING_TOKEN", "Access Token required");
  const userId = token.includes("\0") ? undefined : await getUserOfOpenIdToken(ctx.read, token, ctx.clock.now());
  if (userId === undefined) throw new MatrixError(401, "M_UNKNOWN_TOKEN", "Access Token unknown or expired");
  return { sub: userId };
}

/** @throws MatrixError 404 */
export function unknownQuery(type: string): never {
  throw notFound(`No handler for Query type '${type}'`);
}
