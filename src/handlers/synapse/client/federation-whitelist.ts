import { endpoint } from "../../http/endpoint.ts";

/** With which servers this one talks: for clients that tell their users before they try. */
export const federationWhitelist = endpoint({
  servlet: "FederationWhitelistResource",
  method: "GET",
  path: "/_synapse/client/v1/config/federation_whitelist",
  auth: "user",
  when: (config) => config.federation.whitelistEndpointEnabled,
  handle(ctx) {
    const whitelist = ctx.config.federation.domainWhitelist;
    return { whitelist_enabled: whitelist !== undefined, whitelist: whitelist ?? [] };
  },
});
