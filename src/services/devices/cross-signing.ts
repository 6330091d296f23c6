import { isJsonObject, type Json, type JsonObject, stringifyAscii } from "../../lib/json.ts";
import { canonicalJson, canonicalProblem } from "../../protocol/canonical-json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { verifyJson } from "../../protocol/event/sign.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { Txn } from "../../storage/database.ts";
import { addCrossSigningKey, addHiddenDevice, crossSigningKeys, type CrossSigningKeyType } from "../../storage/devices/keys-cross-signing.ts";
import type { Context } from "../context.ts";
import { parseObject, publicKeyOf, verifyKeyOf } from "./key-json.ts";
import { type DeviceListContext, recordDeviceChanges, recordSignatureChange } from "./lists.ts";

/** Cross-signing keys: upload by their owners, updates from other servers (client-server API, "Cross-signing"). */
export type CrossSigningContext = DeviceListContext;

const FIELDS = [
  ["master_key", "master"],
  ["self_signing_key", "self_signing"],
  ["user_signing_key", "user_signing"],
] as const;

/** The stored keys of a user by type. */
export async function storedKeys(ctx: Pick<Context, "read">, userId: string): Promise<Map<CrossSigningKeyType, JsonObject>> {
  const rows = await crossSigningKeys(ctx.read, [userId]);
  return new Map(
    rows.flatMap(({ keyType, keyData }) => {
      const key = parseObject(keyData);
      return key === undefined ? [] : [[keyType as CrossSigningKeyType, key]];
    }),
  );
}

/** Whether an upload holds a key that is not stored as it is: an identical one is answered without further proof (MSC3967). */
export function hasNewKeys(stored: ReadonlyMap<CrossSigningKeyType, JsonObject>, body: JsonObject): boolean {
  return FIELDS.some(([field, type]) => body[field] !== undefined && !sameJson(stored.get(type), body[field]));
}

/**
 * Stores uploaded keys; self-signing and user-signing keys must be signed by the master key, the new one or the stored one. The caller has
 * made sure that the user may replace them.
 * @throws MatrixError 400 M_INVALID_PARAM, M_INVALID_SIGNATURE, M_MISSING_PARAM
 */
export async function uploadCrossSigningKeys(ctx: CrossSigningContext, userId: string, body: JsonObject): Promise<void> {
  const stored = await storedKeys(ctx, userId);
  const masterKey = body.master_key === undefined ? stored.get("master") : checkKey(body.master_key, userId, "master");
  if (masterKey === undefined) throw new MatrixError(400, "M_MISSING_PARAM", "No master key available");
  const master = verifyKeyOf(masterKey);
  if (master === undefined) throw invalidParam("Invalid master key");

  const uploads: { type: CrossSigningKeyType; key: JsonObject; publicKey: string; deviceId: string }[] = [];
  for (const [field, type] of FIELDS) {
    const value = body[field];
    if (value === undefined) continue;
    const key = checkKey(value, userId, type);
    if (type !== "master" && !verifyJson(key, userId, master.verifyKey)) throw new MatrixError(400, "M_INVALID_SIGNATURE", `Invalid signature on ${type} key`);
    const ready = verifyKeyOf(key);
    if (ready === undefined) throw invalidParam(`Invalid ${type} key`);
    if (!sameJson(stored.get(type), key)) uploads.push({ type, key, publicKey: publicKeyOf(key)!.publicKey, deviceId: ready.deviceId });
  }
  await ctx.transaction("add_e2e_cross_signing_key", async (txn) => {
    for (const { type, key, publicKey } of uploads) {
      if (!(await addHiddenDevice(txn, userId, publicKey, type))) throw invalidParam(`The ${type} key has the id of a device`);
      await storeKey(ctx, txn, userId, type, publicKey, key);
    }
    await recordDeviceChanges(
      ctx,
      txn,
      userId,
      uploads.filter(({ type }) => type !== "user_signing").map(({ deviceId }) => deviceId),
    );
    if (uploads.some(({ type }) => type === "user_signing")) await recordSignatureChange(ctx, txn, userId, [userId]);
  });
}

function checkKey(key: Json, userId: string, type: CrossSigningKeyType): JsonObject {
  const valid = isJsonObject(key) && key.user_id === userId && Array.isArray(key.usage) && key.usage.includes(type) && publicKeyOf(key) !== undefined;
  if (!valid || canonicalProblem(key) !== undefined || publicKeyOf(key)!.publicKey.includes("\0")) throw invalidParam(`Invalid ${type} key`);
  return key;
}

/**
 * Keys of a user of another server, as that server told them (device list or `m.signing_key_update`). Malformed ones are passed over.
 * Returns the device ids under which the new ones are known; the caller records them as changed devices.
 */
export async function storeRemoteKeys(
  ctx: Pick<Context, "read" | "streams">,
  txn: Txn,
  userId: string,
  keys: { master?: unknown; selfSigning?: unknown },
): Promise<string[]> {
  const stored = await storedKeys({ read: txn }, userId);
  const deviceIds: string[] = [];
  for (const [type, value] of [
    ["master", keys.master],
    ["self_signing", keys.selfSigning],
  ] as const) {
    if (!isJsonObject(value) || value.user_id !== userId || canonicalProblem(value) !== undefined) continue;
    const ready = verifyKeyOf(value);
    if (ready === undefined || sameJson(stored.get(type), value)) continue;
    await storeKey(ctx, txn, userId, type, publicKeyOf(value)!.publicKey, value);
    deviceIds.push(ready.deviceId);
  }
  return deviceIds;
}

/**
 * An `m.signing_key_update` EDU. Users of other servers than the sender, and users with whom we share no room, are passed over.
 */
export async function receiveSigningKeyUpdate(ctx: CrossSigningContext, origin: string, content: JsonObject): Promise<void> {
  const { user_id: userId, master_key: master, self_signing_key: selfSigning } = content;
  if (typeof userId !== "string" || userId.includes("\0") || getDomain(userId) !== origin) return;
  await ctx.transaction("process_cross_signing_key_update", async (txn) => {
    const deviceIds = await storeRemoteKeys(ctx, txn, userId, { master, selfSigning });
    await recordDeviceChanges(ctx, txn, userId, deviceIds);
  });
}

async function storeKey(
  ctx: Pick<Context, "streams">,
  txn: Txn,
  userId: string,
  keyType: CrossSigningKeyType,
  publicKey: string,
  key: JsonObject,
): Promise<void> {
  const stream = ctx.streams.crossSigningKeys;
  const [streamId] = await stream.next(txn);
  await addCrossSigningKey(txn, { userId, keyType, publicKey, keyData: stringifyAscii(key), streamId: streamId!, instanceName: stream.instanceName });
}

/** True when both say the same, whatever the order of their keys. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  try {
    return canonicalJson(a) === canonicalJson(b);
  } catch {
    return false; // a lone surrogate: equal to nothing
  }
}
