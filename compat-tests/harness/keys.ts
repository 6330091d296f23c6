import { createHash, createPrivateKey, createPublicKey, sign, type KeyObject } from "node:crypto";
import type { Json } from "./client.ts";

/**
 * Keys of end-to-end encryption, made from a name, so that two runs make the same. Real Ed25519 and Curve25519 keys and real
 * signatures: servers that check them find them right.
 */

const PKCS8 = { ed25519: "302e020100300506032b657004220420", x25519: "302e020100300506032b656e04220420" };

function privateKey(kind: keyof typeof PKCS8, name: string): KeyObject {
  const seed = createHash("sha256").update(`${kind} ${name}`).digest();
  return createPrivateKey({ key: Buffer.concat([Buffer.from(PKCS8[kind], "hex"), seed]), format: "der", type: "pkcs8" });
}

function publicText(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: "jwk" });
  return Buffer.from(x!, "base64url").toString("base64").replace(/=+$/, "");
}

export interface SigningKey {
  readonly publicKey: string;
  /** Adds a signature of the object under `userId` and `ed25519:<keyName>`. */
  sign(object: Json, userId: string, keyName: string): Json;
}

export function ed25519(name: string): SigningKey {
  const key = privateKey("ed25519", name);
  return {
    publicKey: publicText(key),
    sign(object, userId, keyName) {
      const { signatures, unsigned, ...rest } = object;
      const signature = sign(null, Buffer.from(canonicalJson(rest)), key)
        .toString("base64")
        .replace(/=+$/, "");
      const all = { ...signatures, [userId]: { ...signatures?.[userId], [`ed25519:${keyName}`]: signature } };
      return { ...object, signatures: all, ...(unsigned === undefined ? {} : { unsigned }) };
    },
  };
}

export function curve25519(name: string): string {
  return publicText(privateKey("x25519", name));
}

export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(",")}}`;
}

const ALGORITHMS = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"];

/** Signed device keys as clients upload them. */
export function deviceKeys(userId: string, deviceId: string): { keys: Json; signing: SigningKey } {
  const signing = ed25519(`${userId} ${deviceId}`);
  const unsignedKeys = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ALGORITHMS,
    keys: { [`curve25519:${deviceId}`]: curve25519(`${userId} ${deviceId}`), [`ed25519:${deviceId}`]: signing.publicKey },
  };
  return { keys: signing.sign(unsignedKeys, userId, deviceId), signing };
}

/** `count` signed one-time keys, ids beginning at `first`. */
export function oneTimeKeys(userId: string, deviceId: string, first: number, count: number, fallback = false): Json {
  const signing = ed25519(`${userId} ${deviceId}`);
  const keys: Json = {};
  for (let i = first; i < first + count; i++) {
    const id = `AAAA${String(i).padStart(2, "0")}`;
    keys[`signed_curve25519:${id}`] = signing.sign(
      { key: curve25519(`${userId} ${deviceId} ${fallback ? "fallback" : "otk"} ${i}`), ...(fallback ? { fallback: true } : {}) },
      userId,
      deviceId,
    );
  }
  return keys;
}

/** The three cross-signing keys of a user, the two lower ones signed by the master key. */
export function crossSigningKeys(userId: string, generation = 1): { upload: Json; master: SigningKey; selfSigning: SigningKey; userSigning: SigningKey } {
  const [master, selfSigning, userSigning] = (["master", "self_signing", "user_signing"] as const).map((usage) =>
    ed25519(`${userId} ${usage} ${generation}`),
  ) as [SigningKey, SigningKey, SigningKey];
  const object = (usage: string, key: SigningKey): Json => ({ user_id: userId, usage: [usage], keys: { [`ed25519:${key.publicKey}`]: key.publicKey } });
  return {
    master,
    selfSigning,
    userSigning,
    upload: {
      master_key: object("master", master),
      self_signing_key: master.sign(object("self_signing", selfSigning), userId, master.publicKey),
      user_signing_key: master.sign(object("user_signing", userSigning), userId, master.publicKey),
    },
  };
}
