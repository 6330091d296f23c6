import { SsoError } from "../../../../services/sso/answers.ts";
import { endpoint } from "../../../http/endpoint.ts";
import { browserPage, formOf, MAX_PROVIDER_FORM } from "../browser-answer.ts";

const PATHS = ["/_synapse/client/saml2/authn_response", "/_matrix/saml2/authn_response"] as const;

/** Some identity providers end up here by a redirect when something went wrong. */
const samlResponseByQuery = endpoint({
  servlet: "SAML2ResponseResource",
  method: "GET",
  path: PATHS,
  auth: "none",
  when: (config) => config.saml2.enabled,
  handle: (ctx) =>
    browserPage(ctx, () => {
      throw new SsoError("unexpected_get", "Unexpected GET request on /saml2/authn_response");
    }),
});

/** Back from a SAML2 identity provider. */
const samlResponse = endpoint({
  servlet: "SAML2ResponseResource",
  method: "POST",
  path: PATHS,
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_PROVIDER_FORM,
  when: (config) => config.saml2.enabled,
  handle: (ctx, { body, headers, userAgent, ip }) =>
    browserPage(ctx, () => {
      const form = formOf(body);
      const [response, relayState] = [form.requiredString("SAMLResponse"), form.requiredString("RelayState")];
      return ctx.sso.saml!.handleResponse(ctx, { response, relayState, cookies: headers.cookie, userAgent, ip });
    }),
});

export const samlResponseRoutes = [samlResponseByQuery, samlResponse];
