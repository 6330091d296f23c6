import { oidcCallback } from "../../../../services/sso/oidc/callback.ts";
import type { Context } from "../../../../services/context.ts";
import { endpoint } from "../../../http/endpoint.ts";
import { browserPage, formOf, MAX_PROVIDER_FORM } from "../browser-answer.ts";

const PATH = "/_synapse/client/oidc/callback";

interface CallbackRequest {
  readonly headers: { readonly cookie?: string | undefined };
  readonly userAgent: string;
  readonly ip: string;
}

const callback = (ctx: Context, { headers, userAgent, ip }: CallbackRequest, parameter: (name: string) => string | undefined) =>
  browserPage(ctx, () => oidcCallback(ctx, { parameter, cookies: headers.cookie, userAgent, ip }));

/** Back from an OpenID provider. */
const oidcCallbackByQuery = endpoint({
  servlet: "OIDCCallbackResource",
  method: "GET",
  path: PATH,
  auth: "none",
  when: (config) => config.oidc.enabled,
  handle: (ctx, request) => callback(ctx, request, (name) => request.query.string(name)),
});

/** As above, by a form (OAuth 2.0 Form Post Response Mode). */
const oidcCallbackByForm = endpoint({
  servlet: "OIDCCallbackResource",
  method: "POST",
  path: PATH,
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_PROVIDER_FORM,
  when: (config) => config.oidc.enabled,
  handle(ctx, request) {
    const form = formOf(request.body);
    return callback(ctx, request, (name) => request.query.string(name) ?? form.string(name));
  },
});

export const oidcCallbackRoutes = [oidcCallbackByQuery, oidcCallbackByForm];
