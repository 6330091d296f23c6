import { childrenOf, parseXml, type XmlElement } from "../xml.ts";

/** An identity provider as its metadata describes it. */
export interface SamlIdp {
  readonly entityId: string;
  /** Where people log in, by the redirect binding. */
  readonly loginUrl: string;
  /** Certificates with which it signs, PEM texts. */
  readonly certificates: readonly string[];
}

const HTTP_REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";

/** The identity providers of a metadata document (Metadata for SAML 2.0); those without a certificate or a login address are no use. */
export function readIdpMetadata(xml: string): SamlIdp[] {
  const root = parseXml(xml);
  return root === undefined ? [] : entitiesOf(root).flatMap(idpOf);
}

function entitiesOf(element: XmlElement): XmlElement[] {
  if (element.name === "EntityDescriptor") return [element];
  return element.name === "EntitiesDescriptor" ? element.children.flatMap(entitiesOf) : [];
}

function idpOf(entity: XmlElement): SamlIdp[] {
  const entityId = entity.attributes["entityID"];
  const roles = childrenOf(entity, "IDPSSODescriptor");
  const login = roles.flatMap((role) => childrenOf(role, "SingleSignOnService")).find(({ attributes }) => attributes["Binding"] === HTTP_REDIRECT);
  const certificates = roles
    .flatMap((role) => childrenOf(role, "KeyDescriptor"))
    .filter(({ attributes }) => attributes["use"] === undefined || attributes["use"] === "signing")
    .flatMap((key) => childrenOf(key, "KeyInfo"))
    .flatMap((info) => childrenOf(info, "X509Data"))
    .flatMap((data) => childrenOf(data, "X509Certificate"))
    .map(({ text }) => pem(text));
  const loginUrl = login?.attributes["Location"];
  if (entityId === undefined || loginUrl === undefined || !URL.canParse(loginUrl) || certificates.length === 0) return [];
  return [{ entityId, loginUrl, certificates }];
}

function pem(text: string): string {
  const lines = text.replace(/\s+/g, "").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
