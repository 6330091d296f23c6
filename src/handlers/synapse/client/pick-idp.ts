import { pickProvider } from "../../../services/sso/redirects.ts";
import { endpoint } from "../../http/endpoint.ts";
import { browserPage } from "./browser-answer.ts";

/** Which identity provider? */
const pickIdp = endpoint({
  servlet: "PickIdpResource",
  method: "GET",
  path: "/_synapse/client/pick_idp",
  auth: "none",
  handle: (ctx, { query }) => browserPage(ctx, () => pickProvider(ctx, query.requiredString("redirectUrl"), query.string("idp"))),
});

export const pickIdpRoutes = [pickIdp];
