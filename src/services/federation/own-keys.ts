import { type JsonObject } from "../../lib/json.ts";
import { signJson, type SigningKey, verifyKey } from "../../protocol/event/sign.ts";
import type { Context } from "../context.ts";
import type { ServerKey } from "./key-ring.ts";

/** The server's own public keys by id: current ones hold for ever, old ones until they expired. */
export function ownKeysOf(config: Context["config"], signingKeys: readonly SigningKey[]): Map<string, ServerKey> {
  const keys = new Map<string, ServerKey>();
  for (const old of config.key.oldSigningKeys) {
    const key = verifyKey(old.keyId, old.publicKey);
    if (key !== undefined) keys.set(old.keyId, { ...key, validUntilTs: old.expiredTs });
  }
  for (const key of signingKeys) keys.set(key.keyId, { keyId: key.keyId, key: key.key, base64: key.base64, validUntilTs: Number.MAX_SAFE_INTEGER });
  return keys;
}

/** The document that this server publishes about its keys, signed by all of them (server-server API, "Publishing keys"). */
export function keyDocument(ctx: Pick<Context, "clock" | "config" | "signingKeys">): JsonObject {
  const verifyKeys: JsonObject = {};
  for (const key of ctx.signingKeys) verifyKeys[key.keyId] = { key: key.base64 };
  const oldKeys: JsonObject = {};
  for (const old of ctx.config.key.oldSigningKeys) oldKeys[old.keyId] = { key: old.publicKey, expired_ts: old.expiredTs };
  let document: JsonObject = {
    valid_until_ts: ctx.clock.now() + ctx.config.key.keyRefreshIntervalMs,
    server_name: ctx.config.server.serverName,
    verify_keys: verifyKeys,
    old_verify_keys: oldKeys,
  };
  for (const key of ctx.signingKeys) document = signJson(document, ctx.config.server.serverName, key);
  return document;
}
