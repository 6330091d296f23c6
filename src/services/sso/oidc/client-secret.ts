import { createPrivateKey, createSecretKey, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import type { Config } from "../../../config/config.ts";
import { ConfigError } from "../../../config/errors.ts";
import type { Clock } from "../../../lib/clock.ts";

const VALIDITY_S = 3600;
const MIN_VALIDITY_S = 600;

/** The client's secret: as it stands in the config, or a JWT signed anew each hour (`client_secret_jwt_key`, Sign in with Apple). */
export class ClientSecret {
  private readonly key: KeyObject | undefined;
  private jwt: { readonly text: string; readonly replaceAt: number } | undefined;

  /** @throws ConfigError for a key that is none */
  constructor(private readonly config: Pick<Config["oidc"]["providers"][number], "clientId" | "clientSecret" | "clientSecretJwtKey" | "issuer">) {
    const { clientSecret, clientSecretJwtKey } = config;
    if (clientSecret === undefined && clientSecretJwtKey !== undefined) this.key = readKey(clientSecretJwtKey);
  }

  /** undefined: the client has none. */
  async current(clock: Pick<Clock, "now">): Promise<string | undefined> {
    const { clientId, clientSecret, clientSecretJwtKey, issuer } = this.config;
    if (clientSecret !== undefined) return clientSecret;
    if (this.key === undefined || clientSecretJwtKey === undefined) return undefined;
    const now = Math.floor(clock.now() / 1000);
    if (this.jwt === undefined || now >= this.jwt.replaceAt) {
      const expires = now + VALIDITY_S;
      const payload = { sub: clientId, aud: issuer, iat: now, exp: expires, ...clientSecretJwtKey.jwtPayload };
      const text = await new SignJWT(payload).setProtectedHeader({ ...clientSecretJwtKey.jwtHeader, alg: clientSecretJwtKey.jwtHeader["alg"]! }).sign(this.key);
      this.jwt = { text, replaceAt: expires - MIN_VALIDITY_S };
    }
    return this.jwt.text;
  }
}

function readKey({ key, jwtHeader }: { readonly key: string; readonly jwtHeader: Readonly<Record<string, string>> }): KeyObject {
  if (jwtHeader["alg"]!.startsWith("HS")) return createSecretKey(Buffer.from(key, "utf8"));
  try {
    return createPrivateKey(key);
  } catch {
    throw new ConfigError("is no private key in PEM form", "client_secret_jwt_key");
  }
}
