import { findUsersIgnoringCase } from "../../../storage/accounts/users.ts";
import type { Context } from "../../context.ts";
import { type BrowserAnswer, cookieOf, mappingError, orErrorPage, SsoError } from "../answers.ts";
import { completeLogin } from "../complete-login.ts";
import { checkRequirements } from "../requirements.ts";
import { completeUiAuth } from "../ui-auth.ts";
import type { Claims } from "./mapping.ts";
import { type OidcProvider, SESSION_COOKIES } from "./provider.ts";

/** What a browser brings back from a provider. */
export interface OidcCallback {
  parameter(name: string): string | undefined;
  readonly cookies: string | undefined;
  readonly userAgent: string;
  readonly ip: string;
}

/** Completes what began at `OidcProvider.begin`. Whatever goes wrong is a page. */
export async function oidcCallback(ctx: Context, request: OidcCallback): Promise<BrowserAnswer> {
  let ended: string[] = [];
  const answer = await orErrorPage(ctx, async () => {
    const error = request.parameter("error");
    if (error !== undefined) throw new SsoError(error, request.parameter("error_description") ?? "");
    const cookie = SESSION_COOKIES.map(([name]) => cookieOf(request.cookies, name)).find((value) => value !== undefined);
    if (cookie === undefined) throw new SsoError("missing_session", "No session cookie found");
    // A code works once: a second try with it would only trouble the provider.
    ended = ctx.sso.oidc.values().next().value?.endCookies() ?? [];
    const state = request.parameter("state");
    if (state === undefined) throw new SsoError("invalid_request", "State parameter is missing");
    const session = ctx.macaroons.oidcSessionOf(cookie, state);
    if (session === undefined) throw new SsoError("mismatching_session", "The login was begun elsewhere, or too long ago. Please try again.");
    const provider = ctx.sso.oidc.get(session.idpId);
    if (provider === undefined) throw new SsoError("unknown_idp", "Unknown IdP");
    await checkIssuer(ctx, provider, request.parameter("iss"));
    const code = request.parameter("code");
    if (code === undefined) throw new SsoError("invalid_request", "Code parameter is missing");
    const { claims, sid } = await provider.identify(ctx, code, session);
    const remoteUserId = provider.mapping.remoteUserId(claims);
    if (session.uiAuthSessionId !== "") return await completeUiAuth(ctx, { providerId: provider.id, remoteUserId, uiAuthSessionId: session.uiAuthSessionId });
    checkRequirements(attributesOf(claims), provider.config.attributeRequirements);
    return await completeLogin(ctx, {
      providerId: provider.id,
      remoteUserId,
      providerSessionId: sid,
      clientRedirectUrl: session.clientRedirectUrl,
      extraAttributes: provider.mapping.extraAttributes(claims),
      registrationEnabled: provider.config.enableRegistration,
      attributes: (failures) => provider.mapping.attributes(claims, failures),
      existingUser: () => existingUser(ctx, provider, claims),
      userAgent: request.userAgent,
      ip: request.ip,
    });
  });
  return { ...answer, cookies: [...ended, ...answer.cookies] };
}

/** A provider that names itself in its answer must be the one that was asked (RFC 9207): a code for one is not given to another. */
async function checkIssuer(ctx: Context, provider: OidcProvider, issuer: string | undefined): Promise<void> {
  if (issuer === undefined) return;
  let known: string;
  try {
    known = (await provider.load(ctx)).issuer;
  } catch (error) {
    throw new SsoError("provider_unavailable", "This login provider is currently unavailable on this homeserver.", 503, error);
  }
  if (issuer !== known) throw new SsoError("invalid_request", "The answer comes from another provider");
}

/** Claims as lists of values. */
function attributesOf(claims: Claims): Map<string, readonly unknown[]> {
  return new Map(Object.entries(claims).map(([name, value]) => [name, Array.isArray(value) ? value : [value]]));
}

/** `allow_existing_users`: the user whose id the claims lead to. */
async function existingUser(ctx: Context, provider: OidcProvider, claims: Claims): Promise<string | undefined> {
  if (!provider.config.allowExistingUsers) return undefined;
  const { localpart } = provider.mapping.attributes(claims, 0);
  if (localpart === undefined || localpart === "") return undefined;
  const userId = `@${localpart}:${ctx.config.server.serverName}`;
  const users = (await findUsersIgnoringCase(ctx.read, userId)).map(({ name }) => name);
  if (users.length <= 1) return users[0];
  if (users.includes(userId)) return userId;
  throw mappingError(`Attempted to login as '${userId}' but it matches more than one user inexactly`);
}
