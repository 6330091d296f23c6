import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { type VerifyKey, verifyKey } from "../../protocol/event/sign.ts";

/** A JSON text of the database as an object; undefined for anything else (rows of old versions were not checked). */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Device keys with `more` signatures of `userId` added; signatures of the wrong shape are dropped. */
export function withSignatures(keys: JsonObject, userId: string, more: Readonly<Record<string, string>>): JsonObject {
  const all = isJsonObject(keys.signatures) ? keys.signatures : {};
  const own = isJsonObject(all[userId]) ? all[userId] : {};
  return { ...keys, signatures: { ...all, [userId]: { ...own, ...more } } };
}

/** The one public key of a cross-signing key; undefined when there is none, or more than one. */
export function publicKeyOf(key: JsonObject): { keyId: string; publicKey: string } | undefined {
  if (!isJsonObject(key.keys)) return undefined;
  const entries = Object.entries(key.keys);
  const [keyId, publicKey] = entries[0] ?? [];
  return entries.length === 1 && typeof publicKey === "string" && keyId !== undefined ? { keyId, publicKey } : undefined;
}

/** The key to verify with of a cross-signing key, and the id under which devices know it; undefined when malformed. */
export function verifyKeyOf(key: JsonObject): { verifyKey: VerifyKey; deviceId: string } | undefined {
  const entry = publicKeyOf(key);
  const ready = entry && verifyKey(entry.keyId, entry.publicKey);
  return ready && { verifyKey: ready, deviceId: ready.keyId.slice("ed25519:".length) };
}
