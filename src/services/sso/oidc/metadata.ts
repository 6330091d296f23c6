import type { Config } from "../../../config/config.ts";
import { isJsonObject, type JsonObject } from "../../../lib/json.ts";

/** What is known of a provider: discovered, or from the config (OpenID Connect Discovery 1.0, section 3). */
export interface ProviderMetadata {
  readonly issuer: string;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly userinfoEndpoint: string | undefined;
  readonly jwksUri: string | undefined;
  readonly algorithms: readonly string[];
  readonly pkce: boolean;
}

/** The provider's metadata cannot be used. */
export class BadMetadata extends Error {
  override name = "BadMetadata";
}

/** Where a provider describes itself. */
export const discoveryUrl = (issuer: string): string => `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;

/** True when claims come from the userinfo endpoint, not from the ID token. */
export function usesUserinfo({ scopes, userProfileMethod }: Pick<Config["oidc"]["providers"][number], "scopes" | "userProfileMethod">): boolean {
  return !scopes.includes("openid") || userProfileMethod === "userinfo_endpoint";
}

/**
 * Metadata as Synapse puts it together: what was discovered, with the config's words over it; the discovered issuer counts.
 * @throws BadMetadata
 */
export function providerMetadata(config: Omit<Config["oidc"]["providers"][number], "userMappingProvider">, discovered: JsonObject): ProviderMetadata {
  const text = (key: string): string | undefined => (typeof discovered[key] === "string" ? discovered[key] : undefined);
  const list = (key: string): unknown[] | undefined => {
    const value = discovered[key];
    if (value !== undefined && value !== null && !Array.isArray(value)) throw new BadMetadata(`"${key}" is no list`);
    return value ?? undefined;
  };
  const authorizationEndpoint = config.authorizationEndpoint ?? text("authorization_endpoint");
  const tokenEndpoint = config.tokenEndpoint ?? text("token_endpoint");
  if (authorizationEndpoint === undefined) throw new BadMetadata('"authorization_endpoint" is missing');
  if (tokenEndpoint === undefined) throw new BadMetadata('"token_endpoint" is missing');
  const challenges = config.pkceMethod === "always" ? ["S256"] : config.pkceMethod === "never" ? undefined : list("code_challenge_methods_supported");
  const algorithms = config.idTokenSigningAlgValuesSupported ?? list("id_token_signing_alg_values_supported") ?? ["RS256"];
  const metadata: ProviderMetadata = {
    issuer: text("issuer") ?? config.issuer,
    authorizationEndpoint,
    tokenEndpoint,
    userinfoEndpoint: config.userinfoEndpoint ?? text("userinfo_endpoint"),
    jwksUri: config.jwksUri ?? text("jwks_uri"),
    // An unsigned token proves nothing, whatever a provider says that it supports.
    algorithms: algorithms.filter((algorithm): algorithm is string => typeof algorithm === "string" && algorithm.toLowerCase() !== "none"),
    pkce: challenges !== undefined && challenges.length > 0,
  };
  for (const url of [authorizationEndpoint, tokenEndpoint]) if (!URL.canParse(url)) throw new BadMetadata(`${url} is no address`);
  if (!config.skipVerification)
    checkMetadata(config, metadata, { challenges, methods: list("token_endpoint_auth_methods_supported"), responses: list("response_types_supported") });
  return metadata;
}

/** A set of keys as a provider publishes it. @throws BadMetadata */
export function readJwks(answer: JsonObject): { keys: JsonObject[] } {
  const { keys } = answer;
  if (!Array.isArray(keys)) throw new BadMetadata("the provider's keys are no list");
  return { keys: keys.filter(isJsonObject) };
}

function checkMetadata(
  config: Pick<Config["oidc"]["providers"][number], "clientAuthMethod" | "scopes" | "userProfileMethod">,
  metadata: ProviderMetadata,
  lists: { challenges: readonly unknown[] | undefined; methods: readonly unknown[] | undefined; responses: readonly unknown[] | undefined },
): void {
  const secure = (name: string, url: string | undefined): void => {
    const parsed = url !== undefined && URL.canParse(url) ? new URL(url) : undefined;
    const local = parsed?.protocol === "http:" && parsed.hostname === "localhost";
    if (parsed === undefined || (parsed.protocol !== "https:" && !local)) throw new BadMetadata(`"${name}" must be an https address`);
  };
  secure("issuer", metadata.issuer);
  if (/[?#]/.test(metadata.issuer)) throw new BadMetadata('"issuer" must have no query and no fragment');
  secure("authorization_endpoint", metadata.authorizationEndpoint);
  secure("token_endpoint", metadata.tokenEndpoint);
  if (lists.methods !== undefined && !lists.methods.includes(config.clientAuthMethod))
    throw new BadMetadata(`"${config.clientAuthMethod}" is not among "token_endpoint_auth_methods_supported"`);
  if (lists.challenges !== undefined && !lists.challenges.includes("S256")) throw new BadMetadata('"S256" is not among "code_challenge_methods_supported"');
  if (lists.responses !== undefined && !lists.responses.includes("code")) throw new BadMetadata('"code" is not among "response_types_supported"');
  if (!usesUserinfo(config)) secure("jwks_uri", metadata.jwksUri);
  else if (metadata.userinfoEndpoint === undefined) throw new BadMetadata('"userinfo_endpoint" is missing, although it is needed');
}
