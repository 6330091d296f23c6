import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { canonicalJson, CanonicalJsonError, canonicalProblem } from "../../protocol/canonical-json.ts";
import { badJson, invalidParam, MatrixError } from "../../protocol/errors.ts";
import type { Txn } from "../../storage/database.ts";
import { addOneTimeKeys, keyCounts, type OneTimeKey, putDeviceKeys, putFallbackKeys } from "../../storage/devices/keys.ts";
import type { Context } from "../context.ts";
import { registerDevice } from "./devices.ts";
import { recordDeviceChanges } from "./lists.ts";

/** `POST /keys/upload` and the keys of dehydrated devices: checked before anything is stored, because what is stored is sent to other servers. */

/** Keys as a client uploads them; `checkUpload` has passed. */
export interface KeyUpload {
  readonly deviceKeys: JsonObject | undefined;
  readonly oneTimeKeys: readonly OneTimeKey[];
  readonly fallbackKeys: readonly OneTimeKey[];
}

/** Nesting that keys may have: enough for anything that the specification knows, too little to hurt. */
const MAX_DEPTH = 20;

/**
 * Reads an upload. @throws MatrixError 400 M_BAD_JSON for anything malformed, of another user or device, or without canonical form
 * (CVE-2025-61672: unchecked device keys stopped outbound federation)
 */
export function readKeyUpload(body: JsonObject, userId: string, deviceId: string): KeyUpload {
  const { device_keys: deviceKeys, one_time_keys: oneTimeKeys, fallback_keys: fallbackKeys } = body;
  if (deviceKeys === null) throw invalidParam("device_keys must not be null");
  if (deviceKeys !== undefined) {
    checkDeviceKeys(deviceKeys);
    if (deviceKeys.user_id !== userId) throw badJson("Provided `user_id` in `device_keys` does not match that of the authenticated user");
    if (deviceKeys.device_id !== deviceId) throw badJson("Provided `device_id` in `device_keys` does not match that of the authenticated user device");
  }
  return { deviceKeys, oneTimeKeys: readKeys(oneTimeKeys, "one_time_keys"), fallbackKeys: readKeys(fallbackKeys, "fallback_keys") };
}

function checkDeviceKeys(keys: Json): asserts keys is JsonObject {
  if (!isJsonObject(keys)) throw badJson("device_keys must be an object");
  if (!Array.isArray(keys.algorithms) || !keys.algorithms.every((algorithm) => typeof algorithm === "string"))
    throw badJson("device_keys.algorithms must be a list of strings");
  if (typeof keys.device_id !== "string" || typeof keys.user_id !== "string") throw badJson("device_keys.device_id and device_keys.user_id must be strings");
  if (!isStringMap(keys.keys)) throw badJson("device_keys.keys must map strings to strings");
  if (!isSignatures(keys.signatures)) throw badJson("device_keys.signatures must map strings to maps of strings");
  checkStorable(keys, "device_keys");
}

function readKeys(keys: Json | undefined, field: string): OneTimeKey[] {
  if (keys === undefined || keys === null) return [];
  if (!isJsonObject(keys)) throw badJson(`${field} must be an object`);
  return Object.entries(keys).map(([name, key]) => {
    const [algorithm, keyId, more] = name.split(":");
    if (keyId === undefined || more !== undefined || name.includes("\0")) throw badJson(`Invalid ${field} key '${name}'. Expected "<algorithm>:<device_id>".`);
    const signed =
      isJsonObject(key) && typeof key.key === "string" && isSignatures(key.signatures) && [undefined, null, true, false].includes(key.fallback as null);
    if (typeof key !== "string" && !signed) throw badJson(`${field}.${name} must be a string or a signed key`);
    checkStorable(key!, `${field}.${name}`);
    return { algorithm: algorithm!, keyId, keyJson: canonicalJson(key) };
  });
}

function checkStorable(value: Json, field: string): void {
  const problem = tooDeep(value, MAX_DEPTH) ? "nested too deeply" : canonicalProblem(value);
  if (problem !== undefined) throw badJson(`${field}: ${problem}`);
  try {
    canonicalJson(value);
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw badJson(`${field}: ${error.message}`);
    throw error;
  }
}

function tooDeep(value: Json, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((item) => tooDeep(item as Json, levels - 1));
}

const isStringMap = (value: Json | undefined): boolean => isJsonObject(value) && Object.values(value).every((item) => typeof item === "string");
const isSignatures = (value: Json | undefined): boolean => isJsonObject(value) && Object.values(value).every((item) => isStringMap(item));

/**
 * Stores an upload of a device; returns how many one-time keys are left. Device keys are stored even where a one-time key is refused.
 * @throws MatrixError 400 M_UNKNOWN when a one-time key of that id exists with another content
 */
export async function uploadKeys(ctx: Context, userId: string, deviceId: string, upload: KeyUpload): Promise<Record<string, number>> {
  if (upload.deviceKeys !== undefined) {
    const text = canonicalJson(upload.deviceKeys);
    await ctx.transaction("set_e2e_device_keys", async (txn) => {
      if (await putDeviceKeys(txn, userId, deviceId, text, ctx.clock.now())) await recordDeviceChanges(ctx, txn, userId, [deviceId]);
      // The device may have been deleted while the request was under way: keys without a device would stay for ever.
      await registerDevice(ctx, txn, { userId, deviceId, displayName: undefined });
    });
  }
  if (upload.oneTimeKeys.length > 0 || upload.fallbackKeys.length > 0) {
    await ctx.transaction("add_e2e_one_time_keys", (txn) => storeOneTimeKeys(ctx, txn, userId, deviceId, upload), { isolation: "read committed" });
  }
  return (await keyCounts(ctx.read, userId, deviceId)).oneTimeKeys;
}

/** Stores one-time and fallback keys; to run under READ COMMITTED. @throws as `uploadKeys` */
export async function storeOneTimeKeys(
  ctx: Pick<Context, "clock" | "keyCounts">,
  txn: Txn,
  userId: string,
  deviceId: string,
  upload: KeyUpload,
): Promise<void> {
  if (upload.oneTimeKeys.length > 0) {
    const byName = new Map(upload.oneTimeKeys.map((key) => [`${key.algorithm}:${key.keyId}`, key]));
    const sorted = [...byName.keys()].sort().map((name) => byName.get(name)!);
    for (const stored of await addOneTimeKeys(txn, userId, deviceId, sorted, ctx.clock.now())) {
      const name = `${stored.algorithm}:${stored.keyId}`;
      const { keyJson } = byName.get(name)!;
      if (!sameKey(stored.keyJson, keyJson)) {
        throw new MatrixError(400, "M_UNKNOWN", `One time key ${name} already exists. Old key: ${stored.keyJson}; new key: ${keyJson}`);
      }
    }
  }
  if (upload.fallbackKeys.length > 0) {
    // One is kept for each algorithm: of several the last counts.
    await putFallbackKeys(txn, userId, deviceId, [...new Map(upload.fallbackKeys.map((key) => [key.algorithm, key])).values()]);
  }
  txn.afterCommit(() => ctx.keyCounts.invalidate(userId, [deviceId]));
}

/** Equal but for the signatures, which may be made anew. */
function sameKey(stored: string, uploaded: string): boolean {
  return stored === uploaded || withoutSignatures(stored) === withoutSignatures(uploaded);
}

function withoutSignatures(text: string): string {
  const value = JSON.parse(text) as Json;
  if (!isJsonObject(value)) return canonicalJson(value);
  const { signatures: _signatures, ...rest } = value;
  return canonicalJson(rest);
}
