import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import { signedJsonText, type VerifyKey, verifyJson, verifyKey } from "../../protocol/event/sign.ts";
import { getDomain } from "../../protocol/ids.ts";
import { deviceKeys } from "../../storage/devices/keys.ts";
import { addSignatures, type CrossSigningKeyType, type SignatureRow } from "../../storage/devices/keys-cross-signing.ts";
import type { Context } from "../context.ts";
import { storeRemoteKeys } from "./cross-signing.ts";
import { parseObject, verifyKeyOf, withSignatures } from "./key-json.ts";
import { crossSigningKeysFor, failureOf } from "./keys-query.ts";
import { recordDeviceChanges, recordSignatureChange } from "./lists.ts";
import type { RemoteDeviceContext } from "./lists-remote.ts";

/**
 * `POST /keys/signatures/upload`: a user signs their own devices with their self-signing key, their master key with a device, and others'
 * master keys with their user-signing key. Every signature is verified over what is stored before it is kept; nothing else is.
 */
export type SignatureContext = RemoteDeviceContext & Pick<Context, "config">;

type Failures = Record<string, Record<string, JsonObject>>;

interface OwnKey {
  readonly key: JsonObject;
  readonly verifyKey: VerifyKey;
  readonly deviceId: string;
}

const invalidSignature = (): MatrixError => new MatrixError(400, "M_INVALID_SIGNATURE", "Invalid signature");

/** Stores what is right; returns why the rest was refused, by user and device. @throws MatrixError 400 M_INVALID_PARAM for a malformed body */
export async function uploadSignatures(ctx: SignatureContext, userId: string, body: JsonObject): Promise<{ failures: Failures }> {
  const failures: Failures = {};
  for (const [target, devices] of Object.entries(body)) {
    if (!isJsonObject(devices) || !Object.values(devices).every(isJsonObject)) throw new MatrixError(400, "M_INVALID_PARAM", "Invalid parameter");
    if (target.includes("\0")) throw new MatrixError(400, "M_INVALID_PARAM", "Invalid parameter");
  }
  const own = isJsonObject(body[userId]) ? await checkOwnSignatures(ctx, userId, body[userId] as Record<string, JsonObject>, failures) : [];
  const others = await checkOtherSignatures(
    ctx,
    userId,
    Object.entries(body).filter((entry): entry is [string, Record<string, JsonObject>] => entry[0] !== userId),
    failures,
  );
  const signatures = [...own, ...others];
  if (signatures.length > 0) {
    await ctx.transaction("add_e2e_signing_key", async (txn) => {
      await addSignatures(txn, userId, signatures);
      await recordDeviceChanges(ctx, txn, userId, [...new Set(own.map(({ targetDeviceId }) => targetDeviceId))]);
      if (others.length > 0) await recordSignatureChange(ctx, txn, userId, [...new Set(others.map(({ targetUserId }) => targetUserId))]);
    });
  }
  return { failures };
}

async function checkOwnSignatures(ctx: SignatureContext, userId: string, signed: Record<string, JsonObject>, failures: Failures): Promise<SignatureRow[]> {
  const fail = (deviceId: string, error: unknown): void => {
    (failures[userId] ??= Object.create(null) as Record<string, JsonObject>)[deviceId] = failureOf(error);
  };
  let selfSigning: OwnKey;
  let master: OwnKey;
  try {
    selfSigning = await keyOf(ctx, userId, "self_signing", undefined);
    master = await keyOf(ctx, userId, "master", userId);
  } catch (error) {
    for (const deviceId of Object.keys(signed)) fail(deviceId, error);
    return [];
  }
  const devices = new Map<string, JsonObject>();
  for (const row of await deviceKeys(ctx.read, [userId], [])) {
    const keys = parseObject(row.keyJson!);
    if (keys !== undefined) devices.set(row.deviceId, withSignatures(keys, userId, row.signatures));
  }
  const accepted: SignatureRow[] = [];
  for (const [deviceId, object] of Object.entries(signed)) {
    try {
      const signatures = signaturesOf(object, userId);
      if (deviceId === master.deviceId) {
        accepted.push(...masterKeySignatures(userId, deviceId, object, signatures, master.key, devices));
        continue;
      }
      const keyId = selfSigning.verifyKey.keyId;
      if (!Object.hasOwn(signatures, keyId)) throw invalidSignature();
      const stored = devices.get(deviceId);
      if (stored === undefined) throw notFound("Unknown device");
      if (hasSignature(stored, userId, keyId)) continue;
      checkSignature(userId, selfSigning.verifyKey, object, stored);
      accepted.push({ targetUserId: userId, targetDeviceId: deviceId, keyId, signature: signatures[keyId]! });
    } catch (error) {
      fail(deviceId, error);
    }
  }
  return accepted;
}

/** The master key, signed by devices. */
function masterKeySignatures(
  userId: string,
  targetDeviceId: string,
  object: JsonObject,
  signatures: Readonly<Record<string, string>>,
  master: JsonObject,
  devices: ReadonlyMap<string, JsonObject>,
): SignatureRow[] {
  return Object.entries(signatures).map(([keyId, signature]) => {
    const signer = devices.get(keyId.slice(keyId.indexOf(":") + 1))?.keys;
    const publicKey = isJsonObject(signer) ? signer[keyId] : undefined;
    const ready = typeof publicKey === "string" ? verifyKey(keyId, publicKey) : undefined;
    if (ready === undefined) throw invalidSignature();
    checkSignature(userId, ready, object, master);
    return { targetUserId: userId, targetDeviceId, keyId, signature };
  });
}

async function checkOtherSignatures(
  ctx: SignatureContext,
  userId: string,
  signed: readonly (readonly [target: string, devices: Record<string, JsonObject>])[],
  failures: Failures,
): Promise<SignatureRow[]> {
  if (signed.length === 0) return [];
  const failAll = (target: string, deviceIds: readonly string[], error: unknown): void => {
    const entries = (failures[target] ??= Object.create(null) as Record<string, JsonObject>);
    for (const deviceId of deviceIds) entries[deviceId] = failureOf(error);
  };
  let userSigning: OwnKey;
  try {
    userSigning = await keyOf(ctx, userId, "user_signing", userId);
  } catch (error) {
    for (const [target, devices] of signed) failAll(target, Object.keys(devices), error);
    return [];
  }
  const keyId = userSigning.verifyKey.keyId;
  const accepted: SignatureRow[] = [];
  for (const [target, devices] of signed) {
    let master: OwnKey;
    try {
      master = await keyOf(ctx, target, "master", userId);
      if (!Object.hasOwn(devices, master.deviceId)) throw notFound("Unknown device");
    } catch (error) {
      failAll(target, Object.keys(devices), error);
      continue;
    }
    failAll(
      target,
      Object.keys(devices).filter((deviceId) => deviceId !== master.deviceId),
      notFound("Unknown device"),
    );
    if (Object.keys(failures[target]!).length === 0) delete failures[target];
    if (hasSignature(master.key, userId, keyId)) continue;
    try {
      const object = devices[master.deviceId]!;
      checkSignature(userId, userSigning.verifyKey, object, master.key);
      accepted.push({ targetUserId: target, targetDeviceId: master.deviceId, keyId, signature: signaturesOf(object, userId)[keyId]! });
    } catch (error) {
      failAll(target, [master.deviceId], error);
    }
  }
  return accepted;
}

/** A user's key of that type with the requester's signatures; of a remote user it is fetched when it is not known. @throws MatrixError 404 */
async function keyOf(ctx: SignatureContext, userId: string, type: CrossSigningKeyType, requester: string | undefined): Promise<OwnKey> {
  const keys = await crossSigningKeysFor(ctx, [userId], requester ?? userId);
  const field = type === "master" ? keys.master_keys : type === "self_signing" ? keys.self_signing_keys : keys.user_signing_keys;
  let key = field[userId];
  if (key === undefined && type !== "user_signing" && getDomain(userId) !== ctx.config.server.serverName) key = await fetchKey(ctx, userId, type);
  const ready = key && verifyKeyOf(key);
  if (key === undefined || ready === undefined) throw notFound(`No ${type} key found for ${userId}`);
  return { key, ...ready };
}

async function fetchKey(ctx: SignatureContext, userId: string, type: "master" | "self_signing"): Promise<JsonObject | undefined> {
  let answer: JsonObject;
  try {
    answer = await ctx.remote.userDevices(getDomain(userId), userId);
  } catch {
    return undefined;
  }
  const { master_key: master, self_signing_key: selfSigning } = answer;
  await ctx.transaction("add_e2e_cross_signing_key", async (txn) => {
    await recordDeviceChanges(ctx, txn, userId, await storeRemoteKeys(ctx, txn, userId, { master, selfSigning }));
  });
  const key = type === "master" ? master : selfSigning;
  return isJsonObject(key) && key.user_id === userId ? key : undefined;
}

/** Signatures of that user on an object. @throws MatrixError 400 M_INVALID_SIGNATURE when there are none, or they are no strings */
function signaturesOf(object: JsonObject, userId: string): Record<string, string> {
  const signatures = isJsonObject(object.signatures) ? object.signatures[userId] : undefined;
  if (
    !isJsonObject(signatures) ||
    !Object.entries(signatures).every(([keyId, value]) => typeof value === "string" && !keyId.includes("\0") && !value.includes("\0"))
  ) {
    throw invalidSignature();
  }
  return signatures as Record<string, string>;
}

const hasSignature = (object: JsonObject, userId: string, keyId: string): boolean => {
  const own = isJsonObject(object.signatures) ? object.signatures[userId] : undefined;
  return isJsonObject(own) && Object.hasOwn(own, keyId);
};

/** The signed object must be the stored one, and the signature valid. */
function checkSignature(userId: string, key: VerifyKey, object: JsonObject, stored: JsonObject): void {
  let same: boolean;
  try {
    same = signedJsonText(object) === signedJsonText(stored);
  } catch {
    same = false; // no canonical form
  }
  if (!same) throw new MatrixError(400, "M_UNKNOWN", "Key does not match");
  if (!verifyJson(object, userId, key)) throw invalidSignature();
}
