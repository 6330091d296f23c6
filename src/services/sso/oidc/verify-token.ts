import { createHash, timingSafeEqual } from "node:crypto";
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify, type JWTVerifyOptions } from "jose";
import type { JsonObject } from "../../../lib/json.ts";

/** A token that does not prove what it says. */
export class BadToken extends Error {
  override name = "BadToken";
}

const CLOCK_TOLERANCE_S = 120;
const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout";

export interface Verification {
  readonly issuer: string;
  readonly clientId: string;
  readonly algorithms: readonly string[];
  /** Milliseconds. */
  readonly now: number;
}

export type SetOfKeys = { readonly keys: readonly JsonObject[] };

/** None of the keys signed the token: the provider may have new ones. */
export class UnknownKey extends BadToken {
  override name = "UnknownKey";
}

/**
 * The claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7): signed by the provider with one of the algorithms, made by it, for
 * us, for this login, not expired. @throws BadToken
 */
export async function verifyIdToken(
  token: string,
  keys: SetOfKeys,
  verification: Verification,
  login: { readonly nonce: string; readonly accessToken: string | undefined },
): Promise<JsonObject> {
  const { claims, algorithm } = await verifyJwt(token, keys, verification);
  const { clientId } = verification;
  if (typeof claims.sub !== "string" || claims.sub === "") throw new BadToken("The claim sub is missing");
  if (typeof claims.exp !== "number") throw new BadToken("The claim exp is missing");
  if (typeof claims.iat !== "number") throw new BadToken("The claim iat is missing");
  if (claims["nonce"] !== login.nonce) throw new BadToken("The claim nonce is not that of this login");
  const party = claims["azp"];
  if (Array.isArray(claims.aud) && claims.aud.length > 1 && party === undefined) throw new BadToken("The claim azp is missing");
  if (party !== undefined && party !== clientId) throw new BadToken("The token is for another client");
  const hash = claims["at_hash"];
  if (login.accessToken !== undefined && hash !== undefined && (typeof hash !== "string" || !isHashOf(hash, login.accessToken, algorithm)))
    throw new BadToken("The claim at_hash is not that of the access token");
  return claims as JsonObject;
}

/** The claims of a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6). @throws BadToken */
export async function verifyLogoutToken(token: string, keys: SetOfKeys, verification: Verification): Promise<{ sid: string; sub: string | undefined }> {
  const { claims } = await verifyJwt(token, keys, verification);
  const { sid, sub, events } = claims as JsonObject;
  if (typeof sid !== "string" || sid === "") throw new BadToken("The claim sid is missing");
  if (typeof events !== "object" || events === null || Array.isArray(events) || !Object.hasOwn(events, LOGOUT_EVENT))
    throw new BadToken("It is no logout event");
  if (Object.hasOwn(claims, "nonce")) throw new BadToken("An ID token is no logout token");
  if (sub !== undefined && typeof sub !== "string") throw new BadToken("The claim sub is no text");
  return { sid, sub };
}

/** The claims of a signed userinfo answer. @throws BadToken */
export async function verifyUserinfo(token: string, keys: SetOfKeys, verification: Pick<Verification, "algorithms" | "now">): Promise<JsonObject> {
  return (await verifyJwt(token, keys, verification)).claims as JsonObject;
}

async function verifyJwt(
  token: string,
  keys: SetOfKeys,
  { algorithms, clientId, issuer, now }: Pick<Verification, "algorithms" | "now"> & Partial<Verification>,
): Promise<{ claims: JWTPayload; algorithm: string }> {
  const options: JWTVerifyOptions = {
    // The algorithms are the provider's, never the token's.
    algorithms: [...algorithms],
    clockTolerance: CLOCK_TOLERANCE_S,
    currentDate: new Date(now),
    ...(issuer === undefined ? {} : { issuer }),
    ...(clientId === undefined ? {} : { audience: clientId }),
  };
  // A text of the admin's, or of anybody, must never be a key: only asymmetric ones are taken from a provider's set.
  const asymmetric = keys.keys.filter(({ kty }) => kty !== "oct");
  const keySet = createLocalJWKSet({ keys: asymmetric } as unknown as JSONWebKeySet);
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keySet, options);
    checkIssuedAt(payload, now);
    return { claims: payload, algorithm: protectedHeader.alg };
  } catch (error) {
    if (error instanceof errors.JWKSMultipleMatchingKeys) return await tryEach(token, error, options, now);
    if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed) throw new UnknownKey(error.message);
    if (error instanceof errors.JOSEError || error instanceof TypeError) throw new BadToken(error.message);
    throw error;
  }
}

/** The token does not say which of several keys signed it. */
async function tryEach(
  token: string,
  candidates: errors.JWKSMultipleMatchingKeys,
  options: JWTVerifyOptions,
  now: number,
): Promise<{ claims: JWTPayload; algorithm: string }> {
  for await (const key of candidates) {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, key, options);
      checkIssuedAt(payload, now);
      return { claims: payload, algorithm: protectedHeader.alg };
    } catch (error) {
      if (error instanceof errors.JWSSignatureVerificationFailed) continue;
      throw error instanceof errors.JOSEError ? new BadToken(error.message) : error;
    }
  }
  throw new UnknownKey("none of the provider's keys signed the token");
}

function checkIssuedAt({ iat }: JWTPayload, now: number): void {
  if (iat !== undefined && iat > now / 1000 + CLOCK_TOLERANCE_S) throw new BadToken("The token is from the future");
}

/** at_hash: the left half of the hash that the signature's algorithm uses. */
function isHashOf(hash: string, accessToken: string, algorithm: string): boolean {
  const bits = /(?:256|384|512)$/.exec(algorithm)?.[0] ?? "512"; // EdDSA: SHA-512
  const digest = createHash(`sha${bits}`).update(accessToken, "ascii").digest();
  const wanted = Buffer.from(digest.subarray(0, digest.length / 2).toString("base64url"));
  const given = Buffer.from(hash);
  return wanted.length === given.length && timingSafeEqual(wanted, given);
}
