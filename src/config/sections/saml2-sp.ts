import { ConfigError } from "../errors.ts";
import { type ConfigReader, type ParseContext, readConfigFile } from "../reader.ts";
import { resolve } from "node:path";

/** pysaml2's settings of a service provider (`saml2_config.sp_config`), as far as they have a meaning for logging in. */
export type SamlServiceProvider = ReturnType<typeof parseServiceProvider>;

export const HTTP_POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

/** Settings of logging in stand in the section of the service; above it they have no meaning, as for pysaml2, and are named at start. */
export function parseServiceProvider(raw: ConfigReader, ctx: ParseContext, publicBaseurl: string) {
  const sp = raw.object("service").object("sp");
  // Response or assertion must be signed in any case.
  sp.boolean("want_assertions_or_response_signed", false);
  const metadata = parseMetadata(raw, ctx);
  const contacts = raw.objects("contact_person").map((contact) => ({
    type: contact.string("contact_type", "technical"),
    company: contact.string("company"),
    givenName: contact.string("given_name"),
    surname: contact.string("sur_name"),
    emails: contact.stringOrStrings("email_address", []),
    telephones: contact.stringOrStrings("telephone_number", []),
  }));
  if (raw.value("attribute_map_dir") !== undefined)
    throw raw.error("attribute_map_dir", "holds Python files, which are not read here; set allow_unknown_attributes, and attributes keep their own names");
  return {
    entityId: raw.string("entityid", `${publicBaseurl}_synapse/client/saml2/metadata.xml`),
    metadata,
    /** Addresses at which we take responses; the first one is asked for. */
    acsUrls: parseAcs(sp.object("endpoints"), publicBaseurl),
    allowUnsolicited: sp.boolean("allow_unsolicited", false),
    wantResponseSigned: sp.boolean("want_response_signed", true),
    wantAssertionsSigned: sp.boolean("want_assertions_signed", false),
    authnRequestsSigned: sp.boolean("authn_requests_signed", false),
    forceAuthn: sp.boolean("force_authn", false),
    allowUnknownAttributes: raw.boolean("allow_unknown_attributes", false),
    nameIdFormats: [...sp.stringOrStrings("name_id_format", []), ...raw.stringOrStrings("name_id_format", [])],
    nameIdPolicyFormat: sp.string("name_id_policy_format"),
    requiredAttributes: sp.optionalStrings("required_attributes"),
    optionalAttributes: sp.optionalStrings("optional_attributes"),
    /** PEM texts. */
    key: raw.fileContent("key_file", ctx),
    certificate: raw.fileContent("cert_file", ctx),
    encryption: raw.objects("encryption_keypairs").map((pair) => ({ key: pair.fileContent("key_file", ctx), certificate: pair.fileContent("cert_file", ctx) })),
    /** Tolerated between the clocks of the two servers. */
    acceptedClockSkewMs: raw.integer("accepted_time_diff", 0, { min: 0 }) * 1000,
    names: localTexts(sp.raw("name") ?? raw.raw("name")),
    descriptions: localTexts(sp.raw("description") ?? raw.raw("description")),
    uiInfo: parseUiInfo(sp.optionalObject("ui_info") ?? raw.optionalObject("ui_info")),
    organization: parseOrganization(raw),
    contacts,
  };
}

/** Where the identity providers are described. */
function parseMetadata(raw: ConfigReader, ctx: ParseContext): { documents: string[]; urls: string[] } {
  const metadata = raw.object("metadata");
  const documents = metadata.strings("local").map((file) => readConfigFile(resolve(ctx.dataDir, file), metadata.pathOf("local")));
  const urls = metadata.objects("remote").map((remote) => {
    if (remote.string("cert") !== undefined)
      throw remote.error("cert", "the signature of metadata is not checked here; download the file, check it, and name it in metadata.local");
    return remote.requiredString("url");
  });
  documents.push(...metadata.strings("inline"));
  for (const kind of ["mdfile", "mdq", "folder", "loader"])
    if (metadata.value(kind) !== undefined) throw metadata.error(kind, "is not read here; use local, remote or inline");
  if (documents.length + urls.length === 0) throw new ConfigError("names no identity provider: it needs local, remote or inline", metadata.path);
  return { documents, urls };
}

/** Addresses, or pairs of an address and a binding, of which the form post is the one that is understood. */
function parseAcs(endpoints: ConfigReader, publicBaseurl: string): string[] {
  const given = endpoints.raw("assertion_consumer_service") ?? [];
  const entries = (Array.isArray(given) ? given : [given]) as unknown[];
  const urls = entries.flatMap((entry) => {
    const [url, binding] = Array.isArray(entry) ? (entry as unknown[]) : [entry, HTTP_POST];
    if (typeof url !== "string") throw endpoints.wrong("assertion_consumer_service", "a list of addresses, or of pairs of an address and a binding");
    return binding === HTTP_POST ? [url] : [];
  });
  return urls.length > 0 ? urls : [`${publicBaseurl}_synapse/client/saml2/authn_response`];
}

/** Each a text, or a list of texts and pairs of a text and a language. */
function parseOrganization(raw: ConfigReader): { names: LocalText[]; displayNames: LocalText[]; urls: LocalText[] } | undefined {
  const organization = raw.optionalObject("organization");
  if (organization === undefined) return undefined;
  return {
    names: localTexts(organization.raw("name")),
    displayNames: localTexts(organization.raw("display_name")),
    urls: localTexts(organization.raw("url")),
  };
}

/** What identity providers show of us (Metadata Extensions for Login and Discovery User Interface 1.0). */
function parseUiInfo(raw: ConfigReader | undefined) {
  if (raw === undefined) return undefined;
  const one = (key: string): LocalText[] => localTexts(raw.raw(key));
  return {
    displayNames: one("display_name"),
    descriptions: one("description"),
    informationUrls: one("information_url"),
    privacyStatementUrls: one("privacy_statement_url"),
    keywords: one("keywords"),
    logos: (raw.optionalObjects("logo") ?? []).map((logo) => ({
      url: logo.requiredString("text"),
      width: logo.text("width") ?? "0",
      height: logo.text("height") ?? "0",
      language: logo.string("lang"),
    })),
  };
}

export interface LocalText {
  readonly text: string;
  readonly language: string;
}

/** A text, a pair of a text and a language, `{text, lang}`, or a list of these; lists of texts are one text of words (keywords). */
function localTexts(value: unknown): LocalText[] {
  const one = localText(value);
  if (one !== undefined) return [one];
  return Array.isArray(value) ? (value as unknown[]).map(localText).filter((text) => text !== undefined) : [];
}

function localText(value: unknown): LocalText | undefined {
  if (typeof value === "string") return { text: value, language: "en" };
  if (Array.isArray(value)) {
    const [text, language] = value as unknown[];
    return value.length === 2 && typeof text === "string" && typeof language === "string" ? { text, language } : undefined;
  }
  const { text, lang } = (value ?? {}) as { text?: unknown; lang?: unknown };
  const words = Array.isArray(text) ? text.join(" ") : text;
  return typeof words === "string" ? { text: words, language: typeof lang === "string" ? lang : "en" } : undefined;
}
