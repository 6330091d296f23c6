import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { readConfigFile } from "../reader.ts";
import { decodeKeyBytes, parseSigningKeys, type OldSigningKey, type SigningKey } from "../signing-key.ts";

/** Signing keys, secrets and trusted key servers (`key`). */
export type KeyConfig = ReturnType<typeof parseKey>;

export interface TrustedKeyServer {
  readonly serverName: string;
  /** Key id to unpadded base64; undefined: the server's own keys are fetched over TLS and believed. */
  readonly verifyKeys: Readonly<Record<string, string>> | undefined;
}

export function parseKey(
  raw: ConfigReader,
  ctx: ParseContext,
  sections: { serverName: string; registrationSharedSecret: string | undefined; verifyCertificates: boolean },
) {
  const signingKeys = parseOwnKeys(raw, ctx, sections.serverName);
  const notaryFile = raw.filePath("key_server_signing_keys_path", ctx);
  const formSecret = raw.secret("form_secret", "form_secret_path", ctx);
  return {
    /** The first one signs, all are published. */
    signingKeys,
    oldSigningKeys: parseOldKeys(raw),
    /** Sign what this server says as a notary about other servers' keys. */
    keyServerSigningKeys:
      notaryFile === undefined ? signingKeys : parseSigningKeys(readConfigFile(notaryFile, "key_server_signing_keys_path"), "key_server_signing_keys_path"),
    keyRefreshIntervalMs: raw.duration("key_refresh_interval", "1d"),
    trustedKeyServers: parseKeyServers(raw, ctx, sections.verifyCertificates),
    macaroonSecretKey: parseMacaroonSecret(raw, ctx, sections.registrationSharedSecret, signingKeys[0]!),
    /** Signs consent links; undefined: consent pages are refused. */
    formSecret,
  };
}

/** Where the signing key lies when it is not inline. */
export function signingKeyPath(raw: ConfigReader, ctx: Pick<ParseContext, "configDir" | "dataDir">, serverName: string): string {
  return raw.filePath("signing_key_path", ctx) ?? join(ctx.configDir, `${serverName}.signing.key`);
}

function parseOwnKeys(raw: ConfigReader, ctx: ParseContext, serverName: string): SigningKey[] {
  const file = signingKeyPath(raw, ctx, serverName);
  const inline = raw.string("signing_key");
  if (inline !== undefined) return parseSigningKeys(inline, "signing_key");
  if (!existsSync(file)) {
    throw new ConfigError(
      `the signing key file ${file} does not exist; make one with --generate-keys, or set the path of the existing one`,
      "signing_key_path",
    );
  }
  return parseSigningKeys(readConfigFile(file, "signing_key_path"), "signing_key_path");
}

function parseOldKeys(raw: ConfigReader): OldSigningKey[] {
  return raw.map("old_signing_keys").map(([keyId, reader]) => {
    const publicKey = reader.requiredString("key");
    const expiredTs = reader.integer("expired_ts");
    if (!keyId.startsWith("ed25519:")) throw raw.error(`old_signing_keys.${keyId}`, "has an unknown algorithm, wanted ed25519:<version>");
    if (decodeKeyBytes(publicKey) === undefined) throw reader.wrong("key", "32 bytes in base64");
    if (expiredTs === undefined) throw reader.wrong("expired_ts", "a time in milliseconds (the option is required)");
    return { keyId, publicKey: publicKey.replace(/=+$/, ""), expiredTs };
  });
}

/** The secret of macaroons and login tokens: its own option, else the registration secret, else the hash of the signing key, as Synapse. */
function parseMacaroonSecret(raw: ConfigReader, ctx: ParseContext, registrationSecret: string | undefined, signingKey: SigningKey): Uint8Array {
  const secret = raw.secret("macaroon_secret_key", "macaroon_secret_key_path", ctx) || registrationSecret;
  if (secret) return new TextEncoder().encode(secret);
  ctx.notice("macaroon_secret_key is not set; it is derived from the signing key");
  return new Uint8Array(createHash("sha256").update(signingKey.seed).digest());
}

function parseKeyServers(raw: ConfigReader, ctx: ParseContext, verifyCertificates: boolean): TrustedKeyServer[] {
  const suppress = raw.boolean("suppress_key_server_warning", false);
  const perspectives = raw.object("perspectives").map("servers");
  const configured = raw.optionalObjects("trusted_key_servers");
  if (configured === undefined && !raw.has("perspectives")) {
    if (!suppress) ctx.notice("trusted_key_servers is not set; matrix.org is asked for the keys of other servers");
    checkInsecure({ serverName: "matrix.org", verifyKeys: undefined }, false, verifyCertificates, "trusted_key_servers");
    return [{ serverName: "matrix.org", verifyKeys: undefined }];
  }
  const servers = (configured ?? []).map((reader) => {
    const server = { serverName: reader.requiredString("server_name"), verifyKeys: reader.optionalObject("verify_keys") && reader.stringMap("verify_keys") };
    checkKeys(server, reader.pathOf("verify_keys"));
    checkInsecure(server, reader.boolean("accept_keys_insecurely", false), verifyCertificates, reader.path);
    return server;
  });
  const legacy = perspectives.map(([serverName, reader]) => {
    const keys = reader.optionalObject("verify_keys") && reader.map("verify_keys");
    const verifyKeys = keys && Object.fromEntries(keys.map(([keyId, key]) => [keyId, key.requiredString("key")]));
    const server = { serverName, verifyKeys };
    checkKeys(server, reader.pathOf("verify_keys"));
    checkInsecure(server, false, verifyCertificates, reader.path);
    return server;
  });
  const all = [...servers, ...legacy];
  if (!suppress && all.some((server) => server.serverName === "matrix.org")) {
    ctx.notice("matrix.org is a trusted key server; set suppress_key_server_warning: true when that is wanted");
  }
  return all;
}

function checkKeys(server: TrustedKeyServer, path: string): void {
  for (const [keyId, key] of Object.entries(server.verifyKeys ?? {})) {
    if (!keyId.startsWith("ed25519:")) throw new ConfigError(`the key ${keyId} has an unknown algorithm, wanted ed25519:<version>`, path);
    if (decodeKeyBytes(key) === undefined) throw new ConfigError(`the key ${keyId} holds no 32 bytes in base64`, path);
  }
}

/** Without TLS checks, a key server's answer is worth its own signature only. */
function checkInsecure(server: TrustedKeyServer, accepted: boolean, verifyCertificates: boolean, path: string): void {
  if (verifyCertificates || accepted) return;
  const keys = Object.keys(server.verifyKeys ?? {});
  const advice = "set federation_verify_certificates, or accept_keys_insecurely if you are sure";
  if (keys.length === 0) throw new ConfigError(`answers of ${server.serverName} would be believed without TLS check and without verify_keys; ${advice}`, path);
  if (server.serverName === "matrix.org" && keys.includes("ed25519:auto")) {
    throw new ConfigError(`answers of matrix.org would be believed by its old key ed25519:auto, without TLS check; ${advice}`, path);
  }
}
