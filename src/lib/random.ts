import { randomBytes, randomInt } from "node:crypto";

/** Randomness, as everything else in Myelin sees it: from the system's generator, replaceable in tests. */
export interface Random {
  /** `length` ASCII letters (a-z, A-Z), as Synapse makes its tokens and ids. */
  letters(length: number): string;
  /** `length` random bytes. */
  bytes(length: number): Buffer;
  /** A whole number in [0, `bound`). */
  below(bound: number): number;
}

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

export const systemRandom: Random = {
  letters(length) {
    let out = "";
    while (out.length < length) {
      for (const byte of randomBytes(length + 16)) {
        // 208 = 4 * 52: bytes above it would favour the first letters.
        if (byte < 208 && out.length < length) out += LETTERS[byte % 52]!;
      }
    }
    return out;
  },
  bytes: (length) => randomBytes(length),
  below: (bound) => randomInt(bound),
};
