import type { Config } from "../../../config/config.ts";
import { mappingError } from "../answers.ts";
import { dottedLocalpartFrom, localpartFrom } from "../localpart.ts";
import type { UserAttributes } from "../provider.ts";

/** Values of attributes by their local names. */
export type SamlAttributes = ReadonlyMap<string, readonly string[]>;

/** The id at the provider: `uid`, as Synapse's `DefaultSamlMappingProvider`. @throws SsoError when there is none */
export function remoteUserIdOf(attributes: SamlAttributes): string {
  const uid = attributes.get("uid")?.[0];
  if (uid === undefined) throw mappingError("'uid' not in SAML2 response");
  if (uid === "" || uid.includes("\0")) throw mappingError("Failed to extract remote user id from SAML response");
  return uid;
}

/** `failures` is put behind localparts that are taken. @throws SsoError when the source of the localpart is missing */
export function userAttributesOf(attributes: SamlAttributes, config: Config["saml2"]["userMappingProvider"], failures: number): UserAttributes {
  const source = attributes.get(config.mxidSourceAttribute)?.[0];
  if (source === undefined) throw mappingError("Could not extract user attributes from SSO response.", new Error(`${config.mxidSourceAttribute} is missing`));
  const localpart = config.mxidMapping === "dotreplace" ? dottedLocalpartFrom(source) : localpartFrom(source);
  return {
    localpart: localpart + (failures > 0 ? String(failures) : ""),
    displayName: attributes.get("displayName")?.[0] || undefined,
    emails: attributes.get("email") ?? [],
  };
}
