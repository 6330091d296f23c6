import { backchannelLogout } from "../../../../services/sso/oidc/backchannel-logout.ts";
import { endpoint } from "../../../http/endpoint.ts";
import { Reply } from "../../../http/reply.ts";
import { formOf, MAX_FORM } from "../browser-answer.ts";

/** An OpenID provider says that a session has ended. */
const oidcBackchannelLogout = endpoint({
  servlet: "OIDCBackchannelLogoutResource",
  method: "POST",
  path: "/_synapse/client/oidc/backchannel_logout",
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_FORM,
  when: (config) => config.oidc.enabled,
  async handle(ctx, { query, body }) {
    await backchannelLogout(ctx, query.string("logout_token") ?? formOf(body).string("logout_token"));
    return new Reply(200, undefined, { "Cache-Control": "no-cache, no-store", Pragma: "no-cache" });
  },
});

export const backchannelLogoutRoutes = [oidcBackchannelLogout];
