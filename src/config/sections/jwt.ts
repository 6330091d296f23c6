import type { ConfigReader } from "../reader.ts";

/** Login by JSON web tokens (`jwt`). */
export type JwtConfig = ReturnType<typeof parseJwt>;

export function parseJwt(root: ConfigReader) {
  const raw = root.object("jwt_config");
  const config = {
    enabled: raw.boolean("enabled", false),
    /** HMAC secret or PEM public key, by the algorithm. */
    secret: raw.string("secret"),
    algorithm: raw.string("algorithm"),
    subjectClaim: raw.string("subject_claim", "sub"),
    displayNameClaim: raw.string("display_name_claim"),
    issuer: raw.string("issuer"),
    audiences: raw.optionalStrings("audiences"),
  };
  if (!raw.isEmpty && config.secret === undefined) throw raw.wrong("secret", "a secret or a public key (the option is required)");
  if (!raw.isEmpty && config.algorithm === undefined) throw raw.wrong("algorithm", 'an algorithm such as "HS256" (the option is required)');
  return config;
}
