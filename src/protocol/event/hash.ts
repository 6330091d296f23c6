import { createHash } from "node:crypto";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { canonicalJson } from "../canonical-json.ts";
import type { RoomVersion } from "../room-versions.ts";
import { redactJson } from "./redact.ts";

/**
 * Top-level keys that the content hash leaves out. The specification names the first three; Synapse has left out the others from
 * its beginning, and events of that time are hashed so.
 */
const NOT_IN_CONTENT_HASH = ["unsigned", "signatures", "hashes", "age_ts", "outlier", "destinations"];

/** Unpadded standard base64 of the SHA-256 content hash (server-server API, "Calculating the content hash for an event"). */
export function contentHash(json: JsonObject): string {
  const hashed = { ...json };
  for (const key of NOT_IN_CONTENT_HASH) delete hashed[key];
  return unpad(sha256(canonicalJson(hashed)).toString("base64"));
}

/** True when `hashes.sha256` of a PDU is its content hash. False means: go on with the redacted event. */
export function contentHashMatches(json: JsonObject): boolean {
  const stated = isJsonObject(json.hashes) ? json.hashes.sha256 : undefined;
  if (typeof stated !== "string") return false;
  const actual = contentHash(json);
  return stated === actual || Buffer.from(stated, "base64").equals(Buffer.from(actual, "base64"));
}

/** The text that is signed and whose hash names the event: canonical JSON of the redacted PDU without signatures and unsigned. */
export function signedText(json: JsonObject, version: RoomVersion): string {
  const redacted = redactJson(json, version);
  delete redacted.signatures;
  delete redacted.unsigned;
  return canonicalJson(redacted);
}

/** The reference hash in unpadded standard base64, as room versions 1 and 2 put it beside event ids. */
export function referenceHash(json: JsonObject, version: RoomVersion): string {
  return unpad(sha256(signedText(json, version)).toString("base64"));
}

/**
 * The event id of a PDU: `event_id` in room versions 1 and 2 ("" when it is no string), else `$` and the reference hash.
 * @throws CanonicalJsonError when the PDU has no canonical form
 */
export function eventIdOf(json: JsonObject, version: RoomVersion): string {
  if (version.eventFormat === 1) return typeof json.event_id === "string" ? json.event_id : "";
  return eventIdOfSignedText(signedText(json, version), version);
}

/** The event id that belongs to a `signedText`, in room version 3 and later. */
export function eventIdOfSignedText(text: string, version: RoomVersion): string {
  const hash = sha256(text);
  // v3: standard base64; v4 on: the URL-safe alphabet.
  return "$" + (version.eventFormat === 2 ? unpad(hash.toString("base64")) : hash.toString("base64url"));
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest();
const unpad = (base64: string): string => base64.replace(/=+$/, "");
