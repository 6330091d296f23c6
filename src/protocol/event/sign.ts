import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { canonicalJson } from "../canonical-json.ts";
import type { RoomVersion } from "../room-versions.ts";
import { signedText } from "./hash.ts";

/** A public Ed25519 key, ready to verify with: make it once and keep it. */
export interface VerifyKey {
  /** `ed25519:` and the version. */
  readonly keyId: string;
  readonly key: KeyObject;
  /** Unpadded base64 of the 32 bytes. */
  readonly base64: string;
}

/** One of the server's own keys. */
export interface SigningKey extends VerifyKey {
  readonly version: string;
  readonly privateKey: KeyObject;
}

/** DER headers of an Ed25519 key in PKCS #8 and SubjectPublicKeyInfo (RFC 8410); the 32 bytes follow. */
const PKCS8_HEADER = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_HEADER = Buffer.from("302a300506032b6570032100", "hex");

/** @throws Error when the seed has not 32 bytes or the version is not one word */
export function signingKeyFromSeed(version: string, seed: Uint8Array): SigningKey {
  if (seed.length !== 32) throw new Error(`an Ed25519 seed has 32 bytes, not ${seed.length}`);
  if (!/^\S+$/.test(version)) throw new Error("the version of a signing key is one word");
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_HEADER, seed]), format: "der", type: "pkcs8" });
  const key = createPublicKey(privateKey);
  const raw = key.export({ format: "der", type: "spki" }).subarray(SPKI_HEADER.length);
  return { keyId: `ed25519:${version}`, version, key, privateKey, base64: encodeBase64(raw) };
}

/**
 * The keys of a signing key file as Synapse writes it: a line each, `ed25519 <version> <unpadded base64 of the seed>`. The first
 * one signs.
 * @throws Error that names the line, never its content
 */
export function parseSigningKeys(text: string): SigningKey[] {
  const keys: SigningKey[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const words = line.trim().split(/\s+/);
    const [algorithm, version, seed] = words;
    if (words.length !== 3 || algorithm !== "ed25519") throw new Error(`line ${index + 1} of the signing key file is not "ed25519 <version> <key>"`);
    const bytes = decodeBase64(seed!);
    if (bytes.length !== 32) throw new Error(`line ${index + 1} of the signing key file does not hold a key of 32 bytes`);
    keys.push(signingKeyFromSeed(version!, bytes));
  }
  return keys;
}

/** The line of a signing key file for a key, with its newline. */
export function formatSigningKey(key: SigningKey): string {
  const seed = key.privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_HEADER.length);
  return `ed25519 ${key.version} ${encodeBase64(seed)}\n`;
}

/** The key of that id and those 32 bytes (or their base64); undefined when it is not an Ed25519 key. */
export function verifyKey(keyId: string, bytes: string | Uint8Array): VerifyKey | undefined {
  const raw = typeof bytes === "string" ? decodeBase64(bytes) : bytes;
  if (!keyId.startsWith("ed25519:") || raw.length !== 32) return undefined;
  try {
    return { keyId, key: createPublicKey({ key: Buffer.concat([SPKI_HEADER, raw]), format: "der", type: "spki" }), base64: encodeBase64(raw) };
  } catch {
    return undefined;
  }
}

/** Unpadded standard base64 of the signature over UTF-8 text. */
export function signText(text: string, key: SigningKey): string {
  return signBytes(Buffer.from(text, "utf8"), key);
}

/** Unpadded standard base64 of the signature over bytes. */
export function signBytes(bytes: Uint8Array, key: SigningKey): string {
  return sign(null, bytes, key.privateKey).toString("base64").slice(0, 86);
}

/** True when `signature` (base64 of either alphabet, padded or not) is that key's over the text. Never throws. */
export function verifyText(text: string, signature: string, key: VerifyKey): boolean {
  const bytes = decodeBase64(signature);
  return bytes.length === 64 && verify(null, Buffer.from(text, "utf8"), key.key, bytes);
}

/** The text under a signed JSON object: its canonical form without `signatures` and `unsigned` (appendix "Signing JSON"). */
export function signedJsonText(json: JsonObject): string {
  const { signatures: _signatures, unsigned: _unsigned, ...signed } = json;
  return canonicalJson(signed);
}

/** The object with that server's (or user's) signature added; the argument is not changed. */
export function signJson(json: JsonObject, name: string, key: SigningKey): JsonObject {
  return withSignature(json, name, key.keyId, signText(signedJsonText(json), key));
}

/** True when the object carries a valid signature under that name by that key. False, never an exception, for anything malformed. */
export function verifyJson(json: JsonObject, name: string, key: VerifyKey): boolean {
  const signature = signatureOf(json, name, key.keyId);
  return signature !== undefined && verifyCanonical(() => signedJsonText(json), signature, key);
}

/** The PDU with that server's signature added (server-server API, "Signing Events"); the argument is not changed. */
export function signEventJson(json: JsonObject, version: RoomVersion, serverName: string, key: SigningKey): JsonObject {
  return withSignature(json, serverName, key.keyId, signText(signedText(json, version), key));
}

/** True when the PDU carries that server's valid signature by that key. False, never an exception, for anything malformed. */
export function verifyEventJson(json: JsonObject, version: RoomVersion, serverName: string, key: VerifyKey): boolean {
  const signature = signatureOf(json, serverName, key.keyId);
  return signature !== undefined && verifyCanonical(() => signedText(json, version), signature, key);
}

/** What Ed25519 has to check of a PDU for that server and key; undefined when it bears no such signature, or nothing that can be signed. */
export function eventSignature(
  json: JsonObject,
  version: RoomVersion,
  serverName: string,
  keyId: string,
): { readonly data: Buffer; readonly signature: Buffer } | undefined {
  const text = signatureOf(json, serverName, keyId);
  const signature = text === undefined ? undefined : decodeBase64(text);
  if (signature?.length !== 64) return undefined;
  try {
    return { data: Buffer.from(signedText(json, version), "utf8"), signature };
  } catch {
    return undefined; // what has no canonical form was never signed
  }
}

function verifyCanonical(text: () => string, signature: string, key: VerifyKey): boolean {
  try {
    return verifyText(text(), signature, key);
  } catch {
    return false; // what has no canonical form was never signed
  }
}

/** Ids of the Ed25519 keys that a server's signatures on an object claim; empty when there are none. */
export function signingKeyIds(json: JsonObject, name: string): string[] {
  const signatures = isJsonObject(json.signatures) ? ownObject(json.signatures, name) : undefined;
  if (signatures === undefined) return [];
  return Object.keys(signatures).filter((keyId) => keyId.startsWith("ed25519:") && typeof signatures[keyId] === "string");
}

/** The object with one more signature; signatures of other names and keys stay. */
export function withSignature(json: JsonObject, name: string, keyId: string, signature: string): JsonObject {
  const all = isJsonObject(json.signatures) ? json.signatures : {};
  return { ...json, signatures: { ...all, [name]: { ...ownObject(all, name), [keyId]: signature } } };
}

function signatureOf(json: JsonObject, name: string, keyId: string): string | undefined {
  const signatures = isJsonObject(json.signatures) ? ownObject(json.signatures, name) : undefined;
  const signature = signatures !== undefined && Object.hasOwn(signatures, keyId) ? signatures[keyId] : undefined;
  return typeof signature === "string" ? signature : undefined;
}

function ownObject(object: JsonObject, key: string): JsonObject | undefined {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return isJsonObject(value) ? value : undefined;
}

/** Unpadded standard base64. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64").replace(/=+$/, "");
}

/** Bytes of base64 in either alphabet, with or without padding; characters of no alphabet are skipped, as Python does. */
export function decodeBase64(text: string): Buffer {
  return Buffer.from(text, "base64");
}
