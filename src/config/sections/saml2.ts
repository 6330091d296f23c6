import type { ConfigReader, ParseContext } from "../reader.ts";
import { parseAttributeRequirements } from "./sso.ts";

/** SAML2 login (`saml2`). */
export type Saml2Config = ReturnType<typeof parseSaml2>;

const DEFAULT_MAPPING = "synapse.handlers.saml.DefaultSamlMappingProvider";

export function parseSaml2(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("saml2_config");
  const spConfig = raw.rawObject("sp_config");
  const configPath = raw.filePath("config_path", ctx);
  const enabled = raw.boolean("enabled", true) && (spConfig !== undefined || configPath !== undefined);
  return {
    enabled,
    /** pysaml2's settings of the service provider, as they stand in the file. */
    spConfig: spConfig ?? {},
    /** A Python file with pysaml2 settings. */
    configPath,
    attributeRequirements: parseAttributeRequirements(raw),
    grandfatheredMxidSourceAttribute: raw.string("grandfathered_mxid_source_attribute", "uid"),
    idpEntityid: raw.string("idp_entityid"),
    idpName: raw.string("idp_name", "SAML"),
    idpIcon: raw.string("idp_icon"),
    idpBrand: raw.string("idp_brand"),
    sessionLifetimeMs: raw.duration("saml_session_lifetime", "15m"),
    userMappingProvider: parseMapping(raw),
  };
}

function parseMapping(raw: ConfigReader) {
  const provider = raw.object("user_mapping_provider");
  const module = provider.string("module", DEFAULT_MAPPING);
  const config = provider.object("config");
  const legacySource = raw.string("mxid_source_attribute");
  const legacyMapping = raw.oneOf("mxid_mapping", ["hexencode", "dotreplace"]);
  const isDefault = module === DEFAULT_MAPPING || module === "synapse.handlers.saml_handler.DefaultSamlMappingProvider";
  return {
    module: isDefault ? DEFAULT_MAPPING : module,
    isDefault,
    mxidSourceAttribute: legacySource ?? config.string("mxid_source_attribute", "uid"),
    mxidMapping: legacyMapping ?? config.oneOf("mxid_mapping", ["hexencode", "dotreplace"], "hexencode"),
    /** Settings of a provider by someone else. */
    config: isDefault ? {} : config.everything(),
  };
}
