import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { signedJsonText, verifyKey, verifyText } from "../../protocol/event/sign.ts";
import type { Context } from "../context.ts";

/** Keys of one invite that are tried, and addresses that are asked about them: real invites have one or two. */
const MAX_KEYS = 20;
const MAX_QUESTIONS = 4;
const MAX_SIGNATURES = 200;

/**
 * Whether what an identity server signed was signed by a key of the original `m.room.third_party_invite`, and the identity server still
 * stands by that key. The address to ask is of the inviter's choice: only permitted ones are asked.
 * @throws MatrixError 403 M_FORBIDDEN when it does not, 502 when it cannot be asked
 */
export async function requireStandingKey(ctx: Pick<Context, "identityServers" | "log">, original: MatrixEvent, signed: JsonObject): Promise<void> {
  const keys = signingKeysOf(original, signed);
  if (keys.length === 0) throw forbidden("No public key of the invite made this signature");
  let unanswered: unknown;
  let questions = 0;
  for (const { publicKey, validityUrl } of keys) {
    if (validityUrl === undefined) return;
    if (!/^https?:\/\//i.test(validityUrl) || !URL.canParse(validityUrl) || ++questions > MAX_QUESTIONS) continue;
    try {
      if (await ctx.identityServers.isKeyValid(validityUrl, publicKey)) return;
    } catch (error) {
      unanswered = error;
    }
  }
  if (unanswered === undefined) throw forbidden("Third party certificate was invalid");
  ctx.log.named("synapse.handlers.federation").warn("Failed to query key_validity_url", { error: unanswered });
  throw new MatrixError(502, "M_UNKNOWN", "Third party certificate could not be checked");
}

/** Those keys of the invite that made one of the signatures. */
function signingKeysOf(original: MatrixEvent, signed: JsonObject): { publicKey: string; validityUrl: string | undefined }[] {
  let text: string;
  try {
    text = signedJsonText(signed);
  } catch {
    return []; // no canonical form: nobody signed it
  }
  const signatures = Object.values(isJsonObject(signed.signatures) ? signed.signatures : {}).flatMap((block) =>
    Object.entries(isJsonObject(block) ? block : {}).flatMap(([keyId, signature]) =>
      keyId.startsWith("ed25519:") && typeof signature === "string" ? [signature] : [],
    ),
  );
  const { content } = original;
  const listed = Array.isArray(content.public_keys) ? content.public_keys : [];
  let attempts = 0;
  return [content, ...listed].slice(0, MAX_KEYS).flatMap((entry) => {
    const { public_key: publicKey, key_validity_url: validityUrl } = isJsonObject(entry) ? entry : {};
    const key = typeof publicKey === "string" ? verifyKey("ed25519:any", publicKey) : undefined;
    if (key === undefined) return [];
    const made = signatures.some((signature) => ++attempts <= MAX_SIGNATURES && verifyText(text, signature, key));
    return made ? [{ publicKey: publicKey as string, validityUrl: typeof validityUrl === "string" ? validityUrl : undefined }] : [];
  });
}
