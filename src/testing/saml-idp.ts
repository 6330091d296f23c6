import { randomBytes } from "node:crypto";
import { inflateRawSync } from "node:zlib";
import { SignedXml } from "xml-crypto";
import { testCertificates } from "./certificates.ts";

export interface SamlAnswer {
  readonly attributes: Readonly<Record<string, readonly string[]>>;
  /** What is signed; the response by default. */
  readonly sign?: "response" | "assertion" | "both" | "nothing";
  /** undefined: that of the request; null: none. */
  readonly inResponseTo?: string | null;
  /** That of the assertion's subject, where it differs. */
  readonly subjectInResponseTo?: string;
  readonly issuer?: string;
  readonly recipient?: string;
  readonly audience?: string;
  /** Milliseconds from now; 300 000 by default. */
  readonly validFor?: number;
  readonly status?: string;
  readonly nameFormat?: string;
  /** A key that is not the one of the metadata. */
  readonly key?: string;
}

export interface SamlAuthnRequest {
  readonly id: string;
  readonly xml: string;
  readonly relayState: string;
}

const SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const DIGEST = "http://www.w3.org/2001/04/xmlenc#sha256";
const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/** A SAML2 identity provider without a server: reads requests from redirects, and makes the responses that a browser would post. */
export class SamlIdp {
  readonly entityId = "https://idp.example/metadata";
  readonly loginUrl = "https://idp.example/login";

  metadata(): string {
    const certificate = testCertificates().certificate.replace(/-----[^-]+-----|\s+/g, "");
    return `<?xml version="1.0"?><md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="${this.entityId}"><md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>${certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="${this.loginUrl}"/></md:IDPSSODescriptor></md:EntityDescriptor>`;
  }

  /** The request in the address that a browser was sent to. */
  read(location: string): SamlAuthnRequest {
    const query = new URL(location).searchParams;
    const xml = inflateRawSync(Buffer.from(query.get("SAMLRequest")!, "base64")).toString("utf8");
    return { id: /\bID="([^"]+)"/.exec(xml)![1]!, xml, relayState: query.get("RelayState") ?? "" };
  }

  /** A response as XML. */
  respond(request: { readonly id: string }, answer: SamlAnswer): string {
    const { attributes, sign = "response" } = answer;
    const now = Date.now();
    const at = (offset: number): string => new Date(now + offset).toISOString();
    const end = at(answer.validFor ?? 300_000);
    const inResponseTo = answer.inResponseTo === undefined ? request.id : answer.inResponseTo;
    const subjectId = answer.subjectInResponseTo ?? inResponseTo;
    const answers = (id: string | null): string => (id === null ? "" : ` InResponseTo="${id}"`);
    const acs = "https://test/_synapse/client/saml2/authn_response";
    const recipient = answer.recipient ?? acs;
    const audience = answer.audience ?? "https://test/_synapse/client/saml2/metadata.xml";
    const issuer = `<saml:Issuer>${answer.issuer ?? this.entityId}</saml:Issuer>`;
    const format = answer.nameFormat ?? "urn:oasis:names:tc:SAML:2.0:attrname-format:uri";
    const statement = Object.entries(attributes)
      .map(
        ([name, values]) =>
          `<saml:Attribute Name="${name}" NameFormat="${format}">${values.map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`).join("")}</saml:Attribute>`,
      )
      .join("");
    const assertionId = `_a${randomBytes(8).toString("hex")}`;
    const responseId = `_r${randomBytes(8).toString("hex")}`;
    const assertion = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${assertionId}" Version="2.0" IssueInstant="${at(0)}">${issuer}<saml:Subject><saml:NameID>somebody</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="${end}" Recipient="${recipient}"${answers(subjectId)}/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="${at(-60_000)}" NotOnOrAfter="${end}"><saml:AudienceRestriction><saml:Audience>${audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="${at(0)}" SessionIndex="s1"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>${statement}</saml:AttributeStatement></saml:Assertion>`;
    const signedAssertion = sign === "assertion" || sign === "both" ? signed(assertion, assertionId, answer.key) : assertion;
    const status = answer.status ?? "urn:oasis:names:tc:SAML:2.0:status:Success";
    const response = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${responseId}" Version="2.0" IssueInstant="${at(0)}" Destination="${acs}"${answers(inResponseTo)}>${issuer}<samlp:Status><samlp:StatusCode Value="${status}"/></samlp:Status>${signedAssertion}</samlp:Response>`;
    return sign === "response" || sign === "both" ? signed(response, responseId, answer.key) : response;
  }
}

/** The element with that id, with an enveloped signature behind its issuer. */
function signed(xml: string, id: string, key = testCertificates().privateKey): string {
  const signature = new SignedXml({ privateKey: key, signatureAlgorithm: SHA256, canonicalizationAlgorithm: EXCLUSIVE });
  signature.addReference({ xpath: `//*[@ID="${id}"]`, transforms: [ENVELOPED, EXCLUSIVE], digestAlgorithm: DIGEST });
  signature.computeSignature(xml, { location: { reference: `//*[@ID="${id}"]/*[local-name()="Issuer"]`, action: "after" } });
  return signature.getSignedXml();
}
