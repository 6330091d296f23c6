import { MatrixError, notFound } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import { type BrowserAnswer, type BrowserRedirect, page, SsoError } from "./answers.ts";
import { providerValues } from "./provider.ts";
import { checkClientRedirect } from "./redirect-url.ts";

/**
 * Where `/login/sso/redirect` leads: to the provider that the client names, to the only one, or to the page that lets the user choose.
 * @throws MatrixError 400, 404 for an unknown provider; SsoError
 */
export async function beginLogin(
  ctx: Context,
  request: { readonly clientRedirectUrl: string; readonly providerId: string | undefined; parameter(name: string): string | undefined },
): Promise<BrowserRedirect> {
  const { clientRedirectUrl, providerId } = request;
  const { providers } = ctx.sso;
  if (providers.size === 0) throw new MatrixError(400, "M_UNRECOGNIZED", "Homeserver not configured for SSO.");
  checkClientRedirect(clientRedirectUrl);
  const [first] = providers.values();
  const provider = providerId === undefined ? (providers.size === 1 ? first : undefined) : providers.get(providerId);
  if (provider !== undefined) return await provider.begin(ctx, { clientRedirectUrl }, request.parameter);
  if (providerId !== undefined) throw notFound("Unknown identity provider");
  return { location: `/_synapse/client/pick_idp?${new URLSearchParams({ redirectUrl: clientRedirectUrl }).toString()}`, cookies: [] };
}

/** The page that lets a user choose a provider, or the way to the chosen one. @throws SsoError, MatrixError 400 */
export function pickProvider(ctx: Context, clientRedirectUrl: string, providerId: string | undefined): BrowserAnswer {
  checkClientRedirect(clientRedirectUrl);
  const { serverName, publicBaseurl } = ctx.config.server;
  if (providerId) {
    if (!ctx.sso.providers.has(providerId)) throw new SsoError("unknown_idp", "Unknown identity provider ID");
    const query = new URLSearchParams({ redirectUrl: clientRedirectUrl }).toString();
    return { location: `${publicBaseurl}_matrix/client/v3/login/sso/redirect/${encodeURIComponent(providerId)}?${query}`, cookies: [] };
  }
  const providers = [...ctx.sso.providers.values()].map(providerValues);
  return page(ctx, "sso_login_idp_picker.html", { redirect_url: clientRedirectUrl, server_name: serverName, providers });
}
