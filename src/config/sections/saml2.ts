import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { parseServiceProvider, type SamlServiceProvider } from "./saml2-sp.ts";
import { parseAttributeRequirements } from "./sso.ts";

/** SAML2 login (`saml2`). */
export type Saml2Config = ReturnType<typeof parseSaml2>;

const DEFAULT_MAPPING = "synapse.handlers.saml.DefaultSamlMappingProvider";
const LEGACY_MAPPING = "synapse.handlers.saml_handler.DefaultSamlMappingProvider";

export function parseSaml2(root: ConfigReader, ctx: ParseContext, publicBaseurl: string) {
  const raw = root.object("saml2_config");
  const sp = raw.optionalObject("sp_config");
  const configPath = raw.filePath("config_path", ctx);
  const enabled = raw.boolean("enabled", true) && ((sp !== undefined && !sp.isEmpty) || configPath !== undefined);
  if (enabled && configPath !== undefined)
    throw raw.error("config_path", "is a Python file, which is not run here; write its CONFIG below saml2_config.sp_config, in YAML");
  if (!enabled) sp?.everything();
  const serviceProvider: SamlServiceProvider | undefined = enabled ? parseServiceProvider(sp!, ctx, publicBaseurl) : undefined;
  return {
    enabled,
    /** undefined where SAML is not enabled. */
    serviceProvider,
    attributeRequirements: parseAttributeRequirements(raw),
    grandfatheredMxidSourceAttribute: raw.string("grandfathered_mxid_source_attribute", "uid"),
    idpEntityid: raw.string("idp_entityid"),
    idpName: raw.string("idp_name", "SAML"),
    idpIcon: raw.string("idp_icon"),
    idpBrand: raw.string("idp_brand"),
    sessionLifetimeMs: raw.duration("saml_session_lifetime", "15m"),
    userMappingProvider: parseMapping(raw, enabled),
  };
}

function parseMapping(raw: ConfigReader, enabled: boolean) {
  const provider = raw.object("user_mapping_provider");
  const module = provider.string("module", DEFAULT_MAPPING);
  const config = provider.object("config");
  const legacySource = raw.string("mxid_source_attribute");
  const legacyMapping = raw.oneOf("mxid_mapping", ["hexencode", "dotreplace"]);
  const isDefault = module === DEFAULT_MAPPING || module === LEGACY_MAPPING;
  if (!isDefault && enabled) throw foreignMapping(module, provider.pathOf("module"));
  if (!isDefault) config.everything();
  return {
    mxidSourceAttribute: (legacySource || config.string("mxid_source_attribute")) ?? "uid",
    mxidMapping: legacyMapping ?? config.oneOf("mxid_mapping", ["hexencode", "dotreplace"], "hexencode"),
  };
}

/** The error for a mapping provider that somebody wrote in Python. */
export const foreignMapping = (module: string, path: string): ConfigError =>
  new ConfigError(`${JSON.stringify(module)} is a Python class, which cannot run here; only Synapse's own mapping provider is known`, path);
