import { resolve } from "node:path";
import { ConfigError } from "../errors.ts";
import { readConfigFile, type ConfigReader, type ParseContext } from "../reader.ts";
import { foreignMapping } from "./saml2.ts";
import { parseAttributeRequirements } from "./sso.ts";

/** OpenID Connect providers (`oidc`). */
export type OidcConfig = ReturnType<typeof parseOidc>;
export type OidcProviderConfig = ReturnType<typeof parseProvider>;

const DEFAULT_MAPPING = "synapse.handlers.oidc.JinjaOidcMappingProvider";
const LEGACY_MAPPING = "synapse.handlers.oidc_handler.JinjaOidcMappingProvider";

export function parseOidc(raw: ConfigReader, ctx: ParseContext, publicBaseurl: string) {
  const providers = raw.objects("oidc_providers").map((reader) => {
    const idpId = reader.string("idp_id");
    if (idpId === undefined || !/^[A-Za-z0-9._~-]{1,250}$/.test(idpId)) throw reader.wrong("idp_id", "1 to 250 of the characters A-Z a-z 0-9 . _ ~ -");
    reader.requiredString("idp_name");
    return parseProvider(reader, ctx);
  });
  const legacy = raw.optionalObject("oidc_config");
  if (legacy !== undefined) {
    if (legacy.boolean("enabled", false)) providers.push(parseProvider(legacy, ctx));
    else legacy.everything();
  }
  const ids = providers.map((provider) => provider.idpId);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new ConfigError(`several providers have the idp_id ${twice}`, "oidc_providers");
  return { enabled: providers.length > 0, providers, callbackUrl: `${publicBaseurl}_synapse/client/oidc/callback` };
}

function parseProvider(raw: ConfigReader, ctx: ParseContext) {
  const id = raw.string("idp_id", "oidc");
  const brand = raw.string("idp_brand");
  if (brand !== undefined && !/^[a-z][a-z0-9_.-]{0,254}$/.test(brand))
    throw raw.wrong("idp_brand", "lower-case letters, digits, _ . -, beginning with a letter");
  const icon = raw.string("idp_icon");
  if (icon !== undefined && !/^mxc:\/\/[^/]+\/[^/?#]+$/.test(icon)) throw raw.wrong("idp_icon", "an mxc:// address");
  const credentials = parseCredentials(raw, ctx);
  const scopes = raw.strings("scopes", ["openid"]);
  return {
    /** As it stands in `user_external_ids.auth_provider`. */
    idpId: id === "oidc" ? "oidc" : `oidc-${id}`,
    idpName: raw.string("idp_name", "OIDC"),
    idpIcon: icon,
    idpBrand: brand,
    discover: raw.boolean("discover", true),
    issuer: raw.requiredString("issuer"),
    clientId: raw.requiredString("client_id"),
    ...credentials,
    pkceMethod: raw.oneOf("pkce_method", ["auto", "always", "never"], "auto"),
    idTokenSigningAlgValuesSupported: raw.optionalStrings("id_token_signing_alg_values_supported"),
    scopes,
    authorizationEndpoint: raw.string("authorization_endpoint"),
    tokenEndpoint: raw.string("token_endpoint"),
    userinfoEndpoint: raw.string("userinfo_endpoint"),
    jwksUri: raw.string("jwks_uri"),
    backchannelLogoutEnabled: raw.boolean("backchannel_logout_enabled", false),
    backchannelLogoutIgnoreSub: raw.boolean("backchannel_logout_ignore_sub", false),
    skipVerification: raw.boolean("skip_verification", false),
    userProfileMethod: raw.oneOf("user_profile_method", ["auto", "userinfo_endpoint"], "auto"),
    redirectUri: raw.string("redirect_uri"),
    allowExistingUsers: raw.boolean("allow_existing_users", false),
    userMappingProvider: parseMapping(raw),
    attributeRequirements: parseAttributeRequirements(raw),
    enableRegistration: raw.boolean("enable_registration", true),
    additionalAuthorizationParameters: raw.stringMap("additional_authorization_parameters"),
    passthroughAuthorizationParameters: raw.strings("passthrough_authorization_parameters"),
  };
}

function parseCredentials(raw: ConfigReader, ctx: ParseContext) {
  const inline = raw.string("client_secret");
  const fromFile = raw.fileContent("client_secret_path", ctx);
  if (inline !== undefined && fromFile !== undefined) throw raw.error("client_secret", "is set together with client_secret_path; keep only one of them");
  const clientSecret = inline ?? fromFile?.replace(/\n+$/, "");
  const clientSecretJwtKey = parseJwtKey(raw, ctx);
  const method = raw.oneOf("client_auth_method", ["client_secret_basic", "client_secret_post", "none"]);
  const hasSecret = clientSecret !== undefined || clientSecretJwtKey !== undefined;
  if (!hasSecret && method !== undefined && method !== "none") throw raw.wrong("client_auth_method", "none, since there is no client_secret");
  return { clientSecret, clientSecretJwtKey, clientAuthMethod: method ?? (hasSecret ? ("client_secret_basic" as const) : ("none" as const)) };
}

/** A key with which the client secret is made anew as a signed JWT (Apple). */
function parseJwtKey(raw: ConfigReader, ctx: ParseContext) {
  const reader = raw.optionalObject("client_secret_jwt_key");
  if (reader === undefined) return undefined;
  const inline = reader.string("key");
  const file = reader.string("key_file");
  const header = reader.optionalObject("jwt_header");
  const jwtHeader = reader.rawObject("jwt_header") ?? {};
  const jwtPayload = reader.rawObject("jwt_payload") ?? {};
  if ((inline === undefined) === (file === undefined)) throw reader.error("key", "wanted either key or key_file");
  if (header?.string("alg") === undefined) throw reader.wrong("jwt_header", "a mapping with alg");
  const key = inline ?? readConfigFile(resolve(ctx.dataDir, file!), reader.pathOf("key_file"));
  return { key, jwtHeader: jwtHeader as Record<string, string>, jwtPayload: jwtPayload as Record<string, string> };
}

function parseMapping(raw: ConfigReader) {
  const provider = raw.object("user_mapping_provider");
  const module = provider.string("module", DEFAULT_MAPPING);
  const isDefault = module === DEFAULT_MAPPING || module === LEGACY_MAPPING;
  const config = provider.object("config");
  if (!isDefault) throw foreignMapping(module, provider.pathOf("module"));
  return {
    /** Jinja2 templates over `user`, the claims. */
    subjectTemplate: config.string("subject_template") || `{{ user.${config.string("subject_claim", "sub")} }}`,
    pictureTemplate: config.string("picture_template") || `{{ user.${config.string("picture_claim", "picture")} }}`,
    localpartTemplate: config.string("localpart_template"),
    displayNameTemplate: config.string("display_name_template"),
    emailTemplate: config.string("email_template"),
    extraAttributes: config.stringMap("extra_attributes"),
    confirmLocalpart: config.boolean("confirm_localpart", false),
  };
}
