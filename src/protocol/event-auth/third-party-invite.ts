import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { signedJsonText, verifyKey, verifyText } from "../event/sign.ts";
import { stateKeyOf, type MatrixEvent } from "../event/event.ts";
import type { AuthState } from "../power-levels.ts";
import { thirdPartyToken } from "./auth-types.ts";
import { ALLOWED, refuse, type AuthResult } from "./result.ts";

const REASON = "You are not invited to this room.";

/**
 * Verifications tried for one invite. Real ones have one signature and two keys; two events full of keys and signatures would
 * take a processor for minutes.
 */
const MAX_ATTEMPTS = 200;

/** Rule 5.4.1, but for the ban (5.4.1.1), which the caller has the target's membership for. */
export function checkThirdPartyInvite(event: MatrixEvent, state: AuthState): AuthResult {
  const invite = event.content.third_party_invite;
  const signed = isJsonObject(invite) ? invite.signed : undefined;
  // Rule 5.4.1.2
  if (!isJsonObject(signed)) return refuse("5.4.1.2", REASON);
  // Rule 5.4.1.3
  const token = thirdPartyToken(event.content);
  if (token === undefined || typeof signed.mxid !== "string" || !isJsonObject(signed.signatures)) return refuse("5.4.1.3", REASON);
  // Rule 5.4.1.4
  if (signed.mxid !== event.stateKey) return refuse("5.4.1.4", REASON);
  // Rule 5.4.1.5
  const original = state.get(stateKeyOf("m.room.third_party_invite", token));
  if (original === undefined) return refuse("5.4.1.5", REASON);
  // Rule 5.4.1.6
  if (original.sender !== event.sender) return refuse("5.4.1.6", REASON);
  // Rule 5.4.1.7, else 5.4.1.8
  return isSignedByAny(signed, publicKeys(original)) ? ALLOWED : refuse("5.4.1.8", REASON);
}

/** Base64 of the keys that a third-party invite names: `public_key` and those of `public_keys`. */
export function publicKeys(invite: MatrixEvent): string[] {
  const keys: string[] = [];
  if (typeof invite.content.public_key === "string") keys.push(invite.content.public_key);
  const list = invite.content.public_keys;
  for (const entry of Array.isArray(list) ? list : []) {
    if (isJsonObject(entry) && typeof entry.public_key === "string") keys.push(entry.public_key);
  }
  return keys;
}

function isSignedByAny(signed: JsonObject, keys: readonly string[]): boolean {
  let text: string;
  try {
    text = signedJsonText(signed);
  } catch {
    return false; // no canonical form: nobody signed it
  }
  let attempts = 0;
  for (const base64 of new Set(keys)) {
    const key = verifyKey("ed25519:any", base64);
    if (key === undefined) continue;
    for (const signatures of Object.values(signed.signatures as JsonObject)) {
      if (!isJsonObject(signatures)) continue;
      for (const [keyId, signature] of Object.entries(signatures)) {
        if (!keyId.startsWith("ed25519:") || typeof signature !== "string") continue;
        if (++attempts > MAX_ATTEMPTS) return false;
        if (verifyText(text, signature, key)) return true;
      }
    }
  }
  return false;
}
