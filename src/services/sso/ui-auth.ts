import { MatrixError } from "../../protocol/errors.ts";
import { getExternalIds, getUserByExternalId } from "../../storage/accounts/external-ids.ts";
import type { AuthPage } from "../accounts/hooks.ts";
import { getSessionData, markStagePassed, openSession, SESSION_DATA } from "../accounts/uia.ts";
import type { Context } from "../context.ts";
import { type BrowserAnswer, page } from "./answers.ts";
import { type IdentityProvider, providerValues } from "./provider.ts";

const STAGE = "m.login.sso";

/** The providers of the configuration at which the user has logged in before. */
export async function providersOf(ctx: Pick<Context, "read" | "sso">, userId: string): Promise<IdentityProvider[]> {
  if (ctx.sso.providers.size === 0) return [];
  const ids = await getExternalIds(ctx.read, userId);
  const known = new Set(ids.map(({ auth_provider }) => auth_provider));
  return [...ctx.sso.providers.values()].filter(({ id }) => known.has(id));
}

/**
 * The page that sends a user to their provider, to prove who they are for an operation: it says what for.
 * @throws MatrixError 400 for unknown sessions and providers; SsoError
 */
export async function startUiAuth(ctx: Context, request: { readonly session: string; readonly idpId: string | undefined }): Promise<AuthPage> {
  const session = await openSession(ctx, request.session);
  const userId = session.serverdict[SESSION_DATA.requestUserId];
  const providers = typeof userId === "string" ? await providersOf(ctx, userId) : [];
  if (providers.length === 0) throw new MatrixError(400, "M_UNKNOWN", "User has no SSO identities");
  const provider = request.idpId === undefined ? providers[0] : providers.find(({ id }) => id === request.idpId);
  if (provider === undefined) throw new MatrixError(400, "M_INVALID_PARAM", `Unknown preferred Identity Provider: '${request.idpId}'`);
  const { location, cookies } = await provider.begin(ctx, { uiAuthSessionId: request.session }, () => undefined);
  const { html, headers } = page(ctx, "sso_auth_confirm.html", { description: session.description, redirect_url: location, idp: providerValues(provider) });
  return { html, headers, cookies };
}

/**
 * Back from the provider: the stage is passed when it vouches for the user who began it, and failed for everybody else.
 * @throws MatrixError 400 when there is no such session
 */
export async function completeUiAuth(ctx: Context, login: { providerId: string; remoteUserId: string; uiAuthSessionId: string }): Promise<BrowserAnswer> {
  const { providerId, remoteUserId, uiAuthSessionId } = login;
  const wanted = await getSessionData(ctx, uiAuthSessionId, SESSION_DATA.requestUserId);
  const userId = remoteUserId.includes("\0") ? undefined : await getUserByExternalId(ctx.read, providerId, remoteUserId);
  if (userId !== undefined && userId === wanted) {
    await markStagePassed(ctx, uiAuthSessionId, STAGE, userId);
    return page(ctx, "sso_auth_success.html", {}, { script: true });
  }
  ctx.log.named("synapse.handlers.sso").warn(`An identity at ${providerId} is not that of ${String(wanted)}: the operation is not confirmed`);
  await markStagePassed(ctx, uiAuthSessionId, STAGE, "");
  return page(ctx, "sso_auth_bad_user.html", { server_name: ctx.config.server.serverName, user_id_to_verify: wanted ?? "" });
}
