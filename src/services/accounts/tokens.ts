import { crc32 } from "../../lib/crc32.ts";
import type { Random } from "../../lib/random.ts";

/**
 * The texts of tokens, as Synapse makes them: a prefix, who it is for, 20 letters, and a CRC-32 of what stands before, in base 62, so
 * that a mistyped or leaked token can be recognised without a look into the database.
 */

/** "syt_<localpart in base64>_<letters>_<crc>" */
export function newAccessToken(random: Random, userId: string): string {
  return withChecksum(`syt_${encodedLocalpart(userId)}_${random.letters(20)}`);
}

/** "syr_<localpart in base64>_<letters>_<crc>" */
export function newRefreshToken(random: Random, userId: string): string {
  return withChecksum(`syr_${encodedLocalpart(userId)}_${random.letters(20)}`);
}

/** "syl_<letters>_<crc>" */
export function newLoginToken(random: Random): string {
  return withChecksum(`syl_${random.letters(20)}`);
}

/** True when the text has the form of a refresh token and its checksum is right. */
export function isRefreshToken(token: string): boolean {
  const parts = token.split("_");
  return parts.length === 4 && parts[0] === "syr" && /^[\x00-\x7f]*$/.test(token) && withChecksum(parts.slice(0, 3).join("_")) === token;
}

function encodedLocalpart(userId: string): string {
  return Buffer.from(userId.slice(1, userId.indexOf(":")), "utf8")
    .toString("base64")
    .replace(/=+$/, "");
}

function withChecksum(base: string): string {
  return `${base}_${base62(crc32(Buffer.from(base, "latin1"))).padStart(6, "0")}`;
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

function base62(value: number): string {
  let out = "";
  do {
    out = DIGITS[value % 62]! + out;
    value = Math.floor(value / 62);
  } while (value > 0);
  return out;
}
