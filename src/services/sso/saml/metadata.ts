import type { Config } from "../../../config/config.ts";
import { HTTP_POST, type LocalText } from "../../../config/sections/saml2-sp.ts";
import { escapeXml } from "../xml.ts";

/** Settings of our side. */
export type SamlServiceProvider = NonNullable<Config["saml2"]["serviceProvider"]>;

const PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol";
const BASIC = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic";

/** What identity providers need to know of us (Metadata for SAML 2.0), as XML. */
export function serviceProviderMetadata(
  sp: SamlServiceProvider,
  attributes: { readonly required: readonly string[]; readonly optional: readonly string[] },
): string {
  const signing = sp.certificate === undefined ? [] : [keyDescriptor("signing", sp.certificate)];
  const encryption = [...new Set(sp.encryption.map(({ certificate }) => certificate).filter((certificate) => certificate !== undefined))];
  const acs = sp.acsUrls.map((url, index) => `<md:AssertionConsumerService Binding="${HTTP_POST}" Location="${escapeXml(url)}" index="${index + 1}"/>`);
  const flags = `AuthnRequestsSigned="${sp.authnRequestsSigned}" WantAssertionsSigned="${sp.wantAssertionsSigned}"`;
  const requested = [
    ...attributes.required.map((name) => requestedAttribute(name, true)),
    ...attributes.optional.map((name) => requestedAttribute(name, false)),
  ];
  const consuming = [
    '<md:AttributeConsumingService index="1">',
    element("ServiceName", sp.names.length > 0 ? sp.names : [{ text: sp.entityId, language: "en" }]),
    element("ServiceDescription", sp.descriptions),
    ...requested,
    "</md:AttributeConsumingService>",
  ];
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="${escapeXml(sp.entityId)}">`,
    `<md:SPSSODescriptor ${flags} protocolSupportEnumeration="${PROTOCOL}">`,
    ...uiInfo(sp),
    ...signing,
    ...encryption.map((certificate) => keyDescriptor("encryption", certificate)),
    ...sp.nameIdFormats.map((format) => `<md:NameIDFormat>${escapeXml(format)}</md:NameIDFormat>`),
    ...acs,
    ...(requested.length > 0 ? consuming : []),
    "</md:SPSSODescriptor>",
    ...organization(sp),
    ...contacts(sp),
    "</md:EntityDescriptor>",
    "",
  ].join("\n");
}

function keyDescriptor(use: "signing" | "encryption", pem: string): string {
  const certificate = pem.replace(/-----[^-]+-----|\s+/g, "");
  return `<md:KeyDescriptor use="${use}"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>${escapeXml(certificate)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`;
}

const requestedAttribute = (name: string, required: boolean): string =>
  `<md:RequestedAttribute Name="${escapeXml(name)}" FriendlyName="${escapeXml(name)}" NameFormat="${BASIC}" isRequired="${required}"/>`;

const element = (name: string, texts: readonly LocalText[], prefix = "md"): string =>
  texts.map(({ text, language }) => `<${prefix}:${name} xml:lang="${escapeXml(language)}">${escapeXml(text)}</${prefix}:${name}>`).join("");

function uiInfo({ uiInfo: info }: SamlServiceProvider): string[] {
  if (info === undefined) return [];
  const logos = info.logos.map(({ url, width, height, language }) => {
    const lang = language === undefined ? "" : ` xml:lang="${escapeXml(language)}"`;
    return `<mdui:Logo width="${escapeXml(width)}" height="${escapeXml(height)}"${lang}>${escapeXml(url)}</mdui:Logo>`;
  });
  return [
    '<md:Extensions><mdui:UIInfo xmlns:mdui="urn:oasis:names:tc:SAML:metadata:ui">',
    element("DisplayName", info.displayNames, "mdui"),
    element("Description", info.descriptions, "mdui"),
    element("Keywords", info.keywords, "mdui"),
    ...logos,
    element("InformationURL", info.informationUrls, "mdui"),
    element("PrivacyStatementURL", info.privacyStatementUrls, "mdui"),
    "</mdui:UIInfo></md:Extensions>",
  ];
}

function organization({ organization: given }: SamlServiceProvider): string[] {
  if (given === undefined) return [];
  const { names, displayNames, urls } = given;
  return [
    "<md:Organization>",
    element("OrganizationName", names),
    element("OrganizationDisplayName", displayNames),
    element("OrganizationURL", urls),
    "</md:Organization>",
  ];
}

function contacts({ contacts: people }: SamlServiceProvider): string[] {
  const child = (name: string, text: string | undefined): string => (text === undefined ? "" : `<md:${name}>${escapeXml(text)}</md:${name}>`);
  return people.map(
    (person) =>
      `<md:ContactPerson contactType="${escapeXml(person.type)}">${child("Company", person.company)}${child("GivenName", person.givenName)}${child("SurName", person.surname)}${person.emails.map((email) => child("EmailAddress", email)).join("")}${person.telephones.map((number) => child("TelephoneNumber", number)).join("")}</md:ContactPerson>`,
  );
}
