import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { getDomain, isUserId } from "../../protocol/ids.ts";
import { acknowledgePokes, lastAcknowledged, type OutboundPoke, outboundPokes } from "../../storage/devices/lists-outbound.ts";
import { deleteOutboxMessages, outboxMessages } from "../../storage/devices/inbox.ts";
import { type DeviceKeyRow, deviceKeys } from "../../storage/devices/keys.ts";
import type { Context } from "../context.ts";
import { parseObject, verifyKeyOf, withSignatures } from "./key-json.ts";
import { crossSigningKeysFor } from "./keys-query.ts";

/** What other servers get of local devices: whole lists when they ask, EDUs as things change (server-server API, "Device Management"). */
export type ForServersContext = Pick<Context, "read" | "config" | "streams" | "remote">;

export interface Edu {
  readonly edu_type: string;
  readonly content: JsonObject;
}

/** EDUs for a server, and the position to acknowledge once it has taken them. */
export interface EduBatch {
  readonly edus: readonly Edu[];
  readonly position: number;
}

/** `GET /user/devices/{userId}`. @throws MatrixError 400 when the user is not of this server */
export async function userDevicesForServer(ctx: ForServersContext, userId: string): Promise<JsonObject> {
  if (!isUserId(userId) || getDomain(userId) !== ctx.config.server.serverName) throw new MatrixError(400, "M_UNKNOWN", "User is not hosted on this homeserver");
  // The position first: a change that comes in between is announced again rather than lost.
  const streamId = ctx.streams.deviceLists.currentToken();
  const [rows, keys] = await Promise.all([deviceKeys(ctx.read, [userId], []), crossSigningKeysFor(ctx, [userId], undefined)]);
  const devices = new Map(rows.map((row) => [row.deviceId, describe(ctx, row)]));
  if (ctx.config.experimental.msc3984AppserviceKeyQuery) {
    const answers = (await ctx.remote.queryAppserviceKeys({ [userId]: [] })).device_keys;
    const own = isJsonObject(answers) ? answers[userId] : undefined;
    for (const [deviceId, device] of Object.entries(isJsonObject(own) ? own : {}))
      if (isJsonObject(device)) devices.set(deviceId, { device_id: deviceId, keys: device });
  }
  return {
    user_id: userId,
    stream_id: streamId,
    devices: [...devices.values()],
    master_key: keys.master_keys[userId] ?? null,
    self_signing_key: keys.self_signing_keys[userId] ?? null,
  };
}

/** A device as other servers see it; keys that cannot be read are left out (CVE-2025-61672). */
function describe(ctx: Pick<Context, "config">, row: DeviceKeyRow): JsonObject {
  const keys = row.keyJson === null ? undefined : parseObject(row.keyJson);
  const name = ctx.config.federation.allowDeviceNameLookupOverFederation ? row.displayName : null;
  return {
    device_id: row.deviceId,
    ...(keys === undefined ? {} : { keys: withSignatures(keys, row.userId, row.signatures) }),
    ...(name === null || name === "" ? {} : { device_display_name: name }),
  };
}

/** `m.direct_to_device` EDUs that wait for a server, at most `limit`. */
export async function toDeviceEdus(ctx: Pick<Context, "read" | "streams">, destination: string, after: number, limit: number): Promise<EduBatch> {
  const upTo = ctx.streams.toDevice.currentToken();
  const rows = limit <= 0 || after >= upTo ? [] : await outboxMessages(ctx.read, destination, after, upTo, limit);
  const edus = rows.flatMap(({ json }) => {
    const content = parseObject(json);
    return content === undefined ? [] : [{ edu_type: "m.direct_to_device", content }];
  });
  return { edus, position: limit <= 0 ? after : rows.length < limit ? upTo : rows.at(-1)!.streamId };
}

/**
 * `m.device_list_update` EDUs (and `m.signing_key_update` where cross-signing keys changed) for a server, at most `limit`. A device that
 * changed several times is told of once, as it is now; the updates of a user are linked by `prev_id`.
 */
export async function deviceListEdus(ctx: ForServersContext, destination: string, after: number, limit: number): Promise<EduBatch> {
  const upTo = ctx.streams.deviceLists.currentToken();
  const pokes = limit <= 0 || after >= upTo ? [] : await outboundPokes(ctx.read, destination, after, upTo, limit);
  if (pokes.length === 0) return { edus: [], position: limit <= 0 ? after : upTo };
  const userIds = [...new Set(pokes.map((poke) => poke.userId))];
  const keys = await crossSigningKeysFor(ctx, userIds, undefined);
  const crossSigning = new Map<string, JsonObject>();
  const newest = new Map<string, OutboundPoke>();
  let position = pokes.length < limit ? upTo : pokes.at(-1)!.streamId;
  for (const poke of pokes) {
    const { userId, deviceId } = poke;
    const [master, selfSigning] = [keys.master_keys[userId], keys.self_signing_keys[userId]];
    const isMaster = master !== undefined && verifyKeyOf(master)?.deviceId === deviceId;
    const isSelfSigning = selfSigning !== undefined && verifyKeyOf(selfSigning)?.deviceId === deviceId;
    const name = JSON.stringify([userId, deviceId]);
    const isCrossSigning = isMaster || isSelfSigning;
    // A change of cross-signing keys is sent under its stable and its unstable name.
    const more = isCrossSigning ? (crossSigning.has(userId) ? 0 : 2) : newest.has(name) ? 0 : 1;
    if (newest.size + 2 * crossSigning.size + more > limit) {
      position = poke.streamId - 1;
      break;
    }
    if (isCrossSigning) crossSigning.set(userId, { ...crossSigning.get(userId), ...(isMaster ? { master_key: master } : { self_signing_key: selfSigning }) });
    else newest.set(name, poke);
  }
  const edus = await updateEdus(ctx, destination, after, [...newest.values()]);
  for (const [userId, changed] of crossSigning) {
    const content = { ...changed, user_id: userId };
    edus.push({ edu_type: "m.signing_key_update", content }, { edu_type: "org.matrix.signing_key_update", content });
  }
  return { edus, position };
}

async function updateEdus(ctx: ForServersContext, destination: string, after: number, pokes: readonly OutboundPoke[]): Promise<Edu[]> {
  if (pokes.length === 0) return [];
  const [rows, previous] = await Promise.all([
    deviceKeys(
      ctx.read,
      [],
      pokes.map(({ userId, deviceId }) => [userId, deviceId] as const),
      true,
    ),
    lastAcknowledged(ctx.read, destination, [...new Set(pokes.map(({ userId }) => userId))], after),
  ]);
  const devices = new Map(rows.map((row) => [JSON.stringify([row.userId, row.deviceId]), row]));
  const edus: Edu[] = [];
  for (const { userId, deviceId, streamId } of [...pokes].sort((a, b) => a.streamId - b.streamId)) {
    const row = devices.get(JSON.stringify([userId, deviceId]));
    const before = previous.get(userId);
    previous.set(userId, streamId);
    edus.push({
      edu_type: "m.device_list_update",
      content: {
        user_id: userId,
        ...(row === undefined ? { deleted: true } : describe(ctx, row)),
        device_id: deviceId,
        prev_id: before === undefined || before === 0 ? [] : [before],
        stream_id: streamId,
      },
    });
  }
  return edus;
}

/** The server has taken the EDUs up to these positions. */
export async function acknowledgeEdus(
  ctx: Pick<Context, "transaction">,
  destination: string,
  positions: { toDevice?: number; deviceLists?: number },
): Promise<void> {
  const { toDevice, deviceLists } = positions;
  await ctx.transaction(
    "acknowledge_edus",
    async (txn) => {
      if (toDevice !== undefined) await deleteOutboxMessages(txn, destination, toDevice);
      if (deviceLists !== undefined) await acknowledgePokes(txn, destination, deviceLists);
    },
    { isolation: "read committed" },
  );
}
