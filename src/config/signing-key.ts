import { encodeBase64, signingKeyFromSeed as keyPairOf } from "../protocol/event/sign.ts";
import { ConfigError } from "./errors.ts";

/** An Ed25519 signing key of this server. */
export interface SigningKey {
  /** `ed25519:<version>`, as it stands in signatures. */
  readonly keyId: string;
  readonly version: string;
  /** The 32 secret bytes. */
  readonly seed: Uint8Array;
  /** Unpadded base64. */
  readonly publicKey: string;
}

/** A key that signs no more, whose signatures up to `expiredTs` (milliseconds) hold. */
export interface OldSigningKey {
  readonly keyId: string;
  readonly publicKey: string;
  readonly expiredTs: number;
}

/** 32 bytes from (un)padded standard or URL-safe base64; undefined for anything else. */
export function decodeKeyBytes(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** The key of that seed. */
export function signingKeyFromSeed(version: string, seed: Uint8Array): SigningKey {
  const { keyId, base64: publicKey } = keyPairOf(version, seed);
  return { keyId, version, seed, publicKey };
}

/** One line of a signing key file: `ed25519 <version> <base64 seed>`, without the line's end. */
export function formatSigningKey(key: Pick<SigningKey, "version" | "seed">): string {
  return `ed25519 ${key.version} ${encodeBase64(key.seed)}`;
}

/**
 * The keys of a signing key file, one a line; the first one signs.
 * @throws ConfigError naming `option`, never showing the key
 */
export function parseSigningKeys(text: string, option: string): SigningKey[] {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length === 0) throw new ConfigError("found no key, wanted a line `ed25519 <version> <base64>`", option);
  return lines.map((line, index) => {
    const words = line.trim().split(/\s+/);
    const [algorithm, version, base64] = words;
    if (words.length !== 3 || version === undefined || base64 === undefined) {
      throw new ConfigError(`line ${index + 1} has ${words.length} words, wanted three: ed25519 <version> <base64>`, option);
    }
    if (algorithm !== "ed25519") throw new ConfigError(`line ${index + 1} has an unknown algorithm, wanted ed25519`, option);
    const seed = decodeKeyBytes(base64);
    if (seed === undefined) throw new ConfigError(`line ${index + 1} holds no 32 bytes in base64`, option);
    return signingKeyFromSeed(version, seed);
  });
}
