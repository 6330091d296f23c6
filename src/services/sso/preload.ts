import type { Context } from "../context.ts";

/** Asks the providers for what logins will need, in the background: trouble is logged, and asked again at the next login. */
export function preloadProviders(ctx: Pick<Context, "clock" | "http" | "log" | "sso">): void {
  void Promise.all([...[...ctx.sso.oidc.values()].map((provider) => provider.preload(ctx)), ctx.sso.saml?.preload(ctx)]);
}
