import { createPublicKey, createSecretKey, type KeyObject } from "node:crypto";
import { errors, jwtVerify } from "jose";
import type { Context } from "../context.ts";
import { LoginError } from "./login-error.ts";

const CLOCK_TOLERANCE_S = 120;

/**
 * The user that a JSON Web Token names: for org.matrix.login.jwt.
 * @throws LoginError 403 M_FORBIDDEN
 */
export async function validateJwt(ctx: Pick<Context, "clock" | "config">, token: unknown): Promise<{ localpart: string; displayName: string | undefined }> {
  const { jwt } = ctx.config;
  if (token === undefined || token === null) throw refused("Token field for JWT is missing");
  if (typeof token !== "string" || jwt.secret === undefined || jwt.algorithm === undefined) throw refused("JWT validation failed");
  let claims: Record<string, unknown>;
  try {
    const { payload } = await jwtVerify(token, keyOf(jwt.secret, jwt.algorithm), {
      algorithms: [jwt.algorithm],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(ctx.clock.now()),
      ...(jwt.issuer === undefined ? {} : { issuer: jwt.issuer }),
      ...(jwt.audiences === undefined ? {} : { audience: [...jwt.audiences] }),
    });
    claims = payload;
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) throw refused("JWT validation failed: Signature verification failed");
    throw refused(`JWT validation failed: ${error instanceof errors.JOSEError ? error.message : "invalid token"}`);
  }
  const { iat } = claims;
  if (iat !== undefined && (typeof iat !== "number" || iat > ctx.clock.now() / 1000 + CLOCK_TOLERANCE_S)) {
    throw refused("JWT validation failed: invalid_token: The token is not valid as it was issued in the future");
  }
  // A token for a named audience is not for us when we have no name.
  if (claims["aud"] !== undefined && !jwt.audiences?.length) throw refused('JWT validation failed: invalid_claim: Invalid claim "aud"');
  const localpart = claims[jwt.subjectClaim];
  if (typeof localpart !== "string" || localpart === "" || localpart.includes("\0")) throw refused("Invalid JWT");
  const displayName = jwt.displayNameClaim === undefined ? undefined : claims[jwt.displayNameClaim];
  return { localpart, displayName: typeof displayName === "string" ? displayName : undefined };
}

function keyOf(secret: string, algorithm: string): KeyObject {
  return algorithm.startsWith("HS") ? createSecretKey(Buffer.from(secret, "utf8")) : createPublicKey(secret);
}

const refused = (message: string): LoginError => new LoginError(403, "M_FORBIDDEN", message);
