import { endpoint } from "../http/endpoint.ts";
import { Reply } from "../http/reply.ts";

/** Browsers keep it ten minutes, proxies an hour. */
const HEADERS = { "Cache-Control": "public, max-age=600, s-maxage=3600, stale-while-revalidate=600" };

/** The OAuth 2.0 server metadata of the authentication service (client-server API, "Server metadata discovery"). */
export const authMetadata = endpoint({
  servlet: "AuthMetadataServlet",
  method: "GET",
  path: ["/_matrix/client/(v1|unstable)/auth_metadata", "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata"],
  auth: "none",
  when: (config) => config.mas.enabled,
  handle: async (ctx) => new Reply(200, await ctx.delegatedAuth!.serverMetadata(), HEADERS),
});

/** Only who issues tokens: an earlier form of MSC2965 that some clients still ask for. */
export const authIssuer = endpoint({
  servlet: "AuthIssuerServlet",
  method: "GET",
  path: "/_matrix/client/unstable/org.matrix.msc2965/auth_issuer",
  auth: "none",
  when: (config) => config.mas.enabled,
  handle: async (ctx) => new Reply(200, { issuer: (await ctx.delegatedAuth!.serverMetadata()).issuer }, HEADERS),
});

export const authMetadataRoutes = [authMetadata, authIssuer];
