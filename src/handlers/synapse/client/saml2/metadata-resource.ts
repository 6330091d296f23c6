import { endpoint } from "../../../http/endpoint.ts";
import { RawReply } from "../../../http/reply.ts";

/** What SAML2 identity providers need to know of us. */
const samlMetadata = endpoint({
  servlet: "SAML2MetadataResource",
  method: "GET",
  path: ["/_synapse/client/saml2/metadata.xml", "/_matrix/saml2/metadata.xml"],
  auth: "none",
  when: (config) => config.saml2.enabled,
  handle: (ctx) => new RawReply(200, "text/xml; charset=utf-8", ctx.sso.saml!.metadata()),
});

export const samlMetadataRoutes = [samlMetadata];
