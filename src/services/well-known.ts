import type { Context } from "./context.ts";

/** The document at `/.well-known/matrix/client`, also part of a login's answer; undefined where the admin serves none (no `public_baseurl`). @throws MatrixError 503 */
export async function clientWellKnown(ctx: Pick<Context, "config" | "delegatedAuth">): Promise<Record<string, unknown> | undefined> {
  const { registration, server } = ctx.config;
  if (!server.serveClientWellknown) return undefined;
  const metadata = await ctx.delegatedAuth?.serverMetadata();
  const identityServer = registration.defaultIdentityServer;
  return {
    ...server.extraWellKnownClientContent,
    "m.homeserver": { base_url: server.publicBaseurl },
    ...(identityServer === undefined ? {} : { "m.identity_server": { base_url: identityServer } }),
    ...(metadata === undefined ? {} : { "org.matrix.msc2965.authentication": { issuer: metadata.issuer, account: metadata.account_management_uri } }),
  };
}
