import type { ConfigReader } from "../reader.ts";
import type { AttributeRequirement } from "./sso.ts";

/** CAS login (`cas`). */
export type CasConfig = ReturnType<typeof parseCas>;

export function parseCas(root: ConfigReader, publicBaseurl: string) {
  const raw = root.object("cas_config");
  const enabled = raw.boolean("enabled", true) && !raw.isEmpty;
  const serverUrl = raw.string("server_url");
  const prefix = raw.string("numeric_ids_prefix", "u");
  if (enabled && serverUrl === undefined) throw raw.wrong("server_url", "the address of the CAS server (the option is required)");
  if (!/^[\p{L}\p{N}]+$/u.test(prefix)) throw raw.wrong("numeric_ids_prefix", "letters and digits");
  return {
    enabled,
    serverUrl,
    serviceUrl: `${publicBaseurl}_matrix/client/r0/login/cas/ticket`,
    protocolVersion: raw.oneOf("protocol_version", [1, 2, 3]),
    displaynameAttribute: raw.string("displayname_attribute"),
    requiredAttributes: parseRequired(raw),
    enableRegistration: raw.boolean("enable_registration", true),
    allowNumericIds: raw.boolean("allow_numeric_ids", false),
    numericIdsPrefix: prefix,
    idpName: raw.string("idp_name", "CAS"),
    idpIcon: raw.string("idp_icon"),
    idpBrand: raw.string("idp_brand"),
  };
}

function parseRequired(raw: ConfigReader): AttributeRequirement[] {
  const reader = raw.object("required_attributes");
  return raw.names("required_attributes").map((attribute) => ({ attribute, value: reader.string(attribute), oneOf: undefined }));
}
