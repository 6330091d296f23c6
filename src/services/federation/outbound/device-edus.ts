import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import { deviceKeys } from "../../../storage/devices/keys.ts";
import { crossSigningKeys } from "../../../storage/devices/keys-cross-signing.ts";
import { lastAcknowledged, type OutboundPoke, outboundPokes } from "../../../storage/devices/lists-outbound.ts";
import { outboxMessages } from "../../../storage/devices/inbox.ts";
import type { Context } from "../../context.ts";
import { parseObject, verifyKeyOf, withSignatures } from "../../devices/key-json.ts";
import type { Edu } from "./pending-edus.ts";

type Needs = Pick<Context, "config" | "read" | "streams">;

/** EDUs made from rows that wait in the database. */
export interface WaitingEdus {
  readonly edus: readonly Edu[];
  /** All rows up to here are in `edus` (or can never be sent): to be acknowledged when those have arrived. undefined: there are none. */
  readonly upTo: number | undefined;
}

/** To-device messages for a server (`device_federation_outbox`), oldest first. Rows that are no JSON object are passed over. */
export async function toDeviceEdus(ctx: Needs, destination: string, limit: number): Promise<WaitingEdus> {
  const rows = await outboxMessages(ctx.read, destination, 0, ctx.streams.toDevice.currentToken(), limit);
  const edus = rows.flatMap(({ json }) => {
    const content = parseObject(json);
    return content === undefined ? [] : [{ type: "m.direct_to_device", content }];
  });
  return { edus, upTo: rows.at(-1)?.streamId };
}

/**
 * Changes of local users' devices for a server (`device_lists_outbound_pokes`), oldest first: `m.device_list_update` with the ids of
 * the updates before, and for cross-signing keys `m.signing_key_update`. Several changes of one device are one update.
 */
export async function deviceListEdus(ctx: Needs, destination: string, limit: number): Promise<WaitingEdus> {
  const pokes = await outboundPokes(ctx.read, destination, 0, ctx.streams.deviceLists.currentToken(), limit);
  if (pokes.length === 0) return { edus: [], upTo: undefined };
  const keys = await signingKeys(ctx, [...new Set(pokes.map((poke) => poke.userId))]);
  const devices = new Map<string, OutboundPoke>();
  const signing = new Map<string, JsonObject>();
  const taken: number[] = [];
  let left: OutboundPoke | undefined;
  for (const poke of pokes) {
    const { userId, deviceId } = poke;
    const key = keys.get(userId)?.get(deviceId);
    const id = JSON.stringify([userId, deviceId]);
    // A key makes two EDUs, one by the name from before it was in the specification.
    const more = key !== undefined ? (signing.has(userId) ? 0 : 2) : devices.has(id) ? 0 : 1;
    if (devices.size + 2 * signing.size + more > limit) {
      left = poke;
      break;
    }
    if (key !== undefined) signing.set(userId, { ...signing.get(userId), user_id: userId, [key.field]: key.json });
    else devices.set(id, poke);
    taken.push(poke.streamId);
  }
  const edus: Edu[] = await deviceUpdates(ctx, destination, [...devices.values()]);
  for (const content of signing.values()) for (const type of ["m.signing_key_update", "org.matrix.signing_key_update"]) edus.push({ type, content });
  // Rows of one position are acknowledged together: one that found no place keeps back the others.
  return { edus, upTo: taken.findLast((streamId) => streamId !== left?.streamId) };
}

/** Public cross-signing keys of users, by the device id that stands for them in the device lists. */
async function signingKeys(ctx: Needs, userIds: readonly string[]): Promise<Map<string, Map<string, { field: string; json: JsonObject }>>> {
  const byUser = new Map<string, Map<string, { field: string; json: JsonObject }>>();
  for (const row of await crossSigningKeys(ctx.read, userIds)) {
    const field = row.keyType === "master" ? "master_key" : row.keyType === "self_signing" ? "self_signing_key" : undefined;
    const json = parseObject(row.keyData);
    const ready = json === undefined ? undefined : verifyKeyOf(json);
    if (field === undefined || json === undefined || ready === undefined) continue;
    const own = byUser.get(row.userId) ?? new Map<string, { field: string; json: JsonObject }>();
    own.set(ready.deviceId, { field, json });
    byUser.set(row.userId, own);
  }
  return byUser;
}

async function deviceUpdates(ctx: Needs, destination: string, pokes: readonly OutboundPoke[]): Promise<Edu[]> {
  if (pokes.length === 0) return [];
  const rows = await deviceKeys(
    ctx.read,
    [],
    pokes.map((poke) => [poke.userId, poke.deviceId] as const),
    true,
  );
  const known = new Map(rows.map((row) => [JSON.stringify([row.userId, row.deviceId]), row]));
  const before = await lastAcknowledged(ctx.read, destination, [...new Set(pokes.map((poke) => poke.userId))], Number.MAX_SAFE_INTEGER);
  const edus: Edu[] = [];
  for (const { userId, deviceId, streamId } of [...pokes].sort((a, b) => a.streamId - b.streamId)) {
    const previous = before.get(userId);
    before.set(userId, streamId);
    const row = known.get(JSON.stringify([userId, deviceId]));
    const keys = row?.keyJson == null ? undefined : parseObject(row.keyJson);
    const name = ctx.config.federation.allowDeviceNameLookupOverFederation ? row?.displayName : undefined;
    edus.push({
      type: "m.device_list_update",
      content: {
        user_id: userId,
        device_id: deviceId,
        prev_id: previous === undefined ? [] : [previous],
        stream_id: streamId,
        ...(keys === undefined || !isJsonObject(keys) ? {} : { keys: withSignatures(keys, userId, row!.signatures) }),
        ...(name ? { device_display_name: name } : {}),
        ...(row === undefined ? { deleted: true } : {}),
      },
    });
  }
  return edus;
}
