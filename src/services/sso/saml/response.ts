import type * as NodeSaml from "@node-saml/node-saml";
import { lazyModule } from "../../../lib/lazy-module.ts";
import { SsoError } from "../answers.ts";
import { childrenOf, parseXml } from "../xml.ts";
import { localNameOf } from "./attribute-names.ts";
import type { SamlIdp } from "./idp-metadata.ts";
import type { SamlAttributes } from "./mapping.ts";
import type { SamlServiceProvider } from "./metadata.ts";

const nodeSaml = lazyModule<typeof NodeSaml>("@node-saml/node-saml");

/** What a response says of itself, of which nothing is proven: where to look for what it answers. */
export interface ResponseClaims {
  readonly inResponseTo: string | undefined;
  readonly issuer: string | undefined;
  readonly successful: boolean;
}

const MAX_RESPONSE = 1024 * 1024;
const UNSPECIFIED = "urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified";
/** The library's own check of a request's age is not needed: `SamlRequests` knows it by our clock. */
const FOREVER_MS = Number.MAX_SAFE_INTEGER;

export const invalidResponse = (reason: string, cause?: unknown): SsoError =>
  new SsoError("invalid_response", `Unable to parse SAML2 response: ${reason}.`, 400, cause);
export const unsolicitedResponse = (): SsoError => new SsoError("unsolicited_response", "Unexpected SAML2 login.");

/** Reads a response's envelope. @throws SsoError for what is none; document types are refused */
export function readEnvelope(samlResponse: string): ResponseClaims {
  if (samlResponse.length > MAX_RESPONSE) throw invalidResponse("it is too long");
  const xml = Buffer.from(samlResponse, "base64").toString("utf8");
  if (/<!DOCTYPE|<!ENTITY/i.test(xml)) throw invalidResponse("it has a document type");
  const root = parseXml(xml);
  if (root?.name !== "Response") throw invalidResponse("it is no response");
  const code = childrenOf(root, "Status").flatMap((status) => childrenOf(status, "StatusCode"))[0]?.attributes["Value"];
  return {
    inResponseTo: root.attributes["InResponseTo"],
    issuer: childrenOf(root, "Issuer")[0]?.text.trim(),
    successful: code === "urn:oasis:names:tc:SAML:2.0:status:Success",
  };
}

/** Keys that assertions may be encrypted to: several while one takes the place of another. */
export function decryptionKeys(sp: SamlServiceProvider): readonly (string | undefined)[] {
  const keys = new Set([...sp.encryption.map(({ key }) => key), sp.key].filter((key) => key !== undefined));
  return keys.size === 0 ? [undefined] : [...keys];
}

/** node-saml for one identity provider; `knows` tells which requests wait for an answer, `newId` makes a request's id. */
export function samlFor(
  idp: SamlIdp,
  sp: SamlServiceProvider,
  requests: { knows(id: string): boolean; newId(): string },
  decryptionKey: string | undefined,
): NodeSaml.SAML {
  const cacheProvider: NodeSaml.CacheProvider = {
    saveAsync: () => Promise.resolve(null),
    getAsync: (id) => Promise.resolve(requests.knows(id) ? new Date(0).toISOString() : null),
    removeAsync: () => Promise.resolve(null),
  };
  const { SAML, ValidateInResponseTo } = nodeSaml();
  return new SAML({
    entryPoint: idp.loginUrl,
    issuer: sp.entityId,
    audience: sp.entityId,
    callbackUrl: sp.acsUrls[0]!,
    idpCert: [...idp.certificates],
    wantAuthnResponseSigned: sp.wantResponseSigned,
    wantAssertionsSigned: sp.wantAssertionsSigned,
    acceptedClockSkewMs: sp.acceptedClockSkewMs,
    identifierFormat: sp.nameIdPolicyFormat ?? sp.nameIdFormats[0] ?? null,
    disableRequestedAuthnContext: true,
    forceAuthn: sp.forceAuthn,
    signatureAlgorithm: "sha256",
    digestAlgorithm: "sha256",
    ...(sp.authnRequestsSigned && sp.key !== undefined ? { privateKey: sp.key } : {}),
    ...(decryptionKey === undefined ? {} : { decryptionPvk: decryptionKey }),
    validateInResponseTo: sp.allowUnsolicited ? ValidateInResponseTo.ifPresent : ValidateInResponseTo.always,
    requestIdExpirationPeriodMs: FOREVER_MS,
    cacheProvider,
    generateUniqueId: () => requests.newId(),
  });
}

/**
 * The attributes of a response whose signature is that provider's, and which answers our request. The signed assertion itself must name
 * the request and us: what stands around it may be anybody's. `samls`: one for each key that it may be encrypted to.
 * @throws SsoError
 */
export async function verifyResponse(
  samls: readonly NodeSaml.SAML[],
  samlResponse: string,
  idp: SamlIdp,
  sp: SamlServiceProvider,
  requestId: string | undefined,
): Promise<SamlAttributes> {
  const profile = await verifiedProfile(samls, samlResponse);
  const assertion = (profile?.getAssertion?.() as { Assertion?: XmlJs } | undefined)?.Assertion;
  if (profile === null || assertion === undefined) throw invalidResponse("it has no assertion");
  if (profile.issuer !== idp.entityId) throw invalidResponse("it is from another provider");
  checkSubject(assertion, sp, requestId);
  return attributesOf(assertion, sp.allowUnknownAttributes);
}

async function verifiedProfile(samls: readonly NodeSaml.SAML[], samlResponse: string): Promise<NodeSaml.Profile | null> {
  let first: Error | undefined;
  for (const saml of samls) {
    try {
      return (await saml.validatePostResponseAsync({ SAMLResponse: samlResponse })).profile;
    } catch (error) {
      first ??= error as Error;
    }
  }
  const message = first?.message ?? "";
  if (/InResponseTo/i.test(message)) throw unsolicitedResponse();
  throw invalidResponse(message.replace(/\s+/g, " ").slice(0, 200), first);
}

/** XML as xml2js has it: elements by name, attributes in `$`, text in `_`. */
interface XmlJs {
  readonly $?: Readonly<Record<string, string>>;
  readonly _?: string;
  readonly [name: string]: readonly XmlJs[] | unknown;
}

const elements = (parent: XmlJs, name: string): readonly XmlJs[] => {
  const found = parent[name];
  return Array.isArray(found) ? (found as XmlJs[]) : [];
};

/** Bearer confirmation (Profiles for SAML 2.0, section 4.1.4.3): for us, in answer to this request. */
function checkSubject(assertion: XmlJs, sp: SamlServiceProvider, requestId: string | undefined): void {
  const data = elements(assertion, "Subject")
    .flatMap((subject) => elements(subject, "SubjectConfirmation"))
    .filter((confirmation) => confirmation.$?.["Method"] === "urn:oasis:names:tc:SAML:2.0:cm:bearer")
    .flatMap((confirmation) => elements(confirmation, "SubjectConfirmationData"))
    .map(({ $ }) => $ ?? {});
  const forUs = data.filter(({ Recipient }) => Recipient !== undefined && sp.acsUrls.includes(Recipient));
  if (forUs.length === 0) throw invalidResponse("it is for another recipient");
  const answers = forUs.some(({ InResponseTo }) => InResponseTo === requestId);
  if (!answers) throw unsolicitedResponse();
}

/** Attributes by their local names; those with unknown names where the config lets them in, or where they have no special format. */
function attributesOf(assertion: XmlJs, allowUnknown: boolean): SamlAttributes {
  const found = new Map<string, string[]>();
  for (const attribute of elements(assertion, "AttributeStatement").flatMap((statement) => elements(statement, "Attribute"))) {
    const { Name: name, NameFormat: format } = attribute.$ ?? {};
    if (name === undefined) continue;
    const local = localNameOf(name) ?? (allowUnknown || format === UNSPECIFIED ? name.trim() : undefined);
    if (local === undefined) continue;
    const values = elements(attribute, "AttributeValue").map((value) => (typeof value === "string" ? value : (value._ ?? "")).trim());
    found.set(local, [...(found.get(local) ?? []), ...values]);
  }
  return found;
}
