import { MatrixError } from "../../protocol/errors.ts";
import { isValidLocalpart } from "../../protocol/ids.ts";
import { findTakenUserIds } from "../../storage/accounts/users.ts";
import { giveConsent } from "../accounts/register.ts";
import { checkUsername } from "../accounts/usernames.ts";
import type { Context } from "../context.ts";
import { type BrowserAnswer, mappingCookie, page, SsoError } from "./answers.ts";
import { NEW_USER_STEPS, registerMappedUser, returnToClient } from "./complete-login.ts";
import type { MappingSession } from "./mapping-sessions.ts";
import { providerValues } from "./provider.ts";

/** The steps between a first login through a provider and the new account. The browser's cookie names the session. */

/** @throws MatrixError 400 for names that are none, and for requests without a session: strangers learn nothing about accounts */
export async function isUsernameFree(ctx: Context, sessionId: string | undefined, localpart: string): Promise<boolean> {
  if (sessionId === undefined) throw new MatrixError(400, "M_UNKNOWN", "missing session_id");
  if (ctx.sso.sessions.get(sessionId) === undefined) throw new MatrixError(400, "M_UNKNOWN", "unknown session");
  if (!isValidLocalpart(localpart)) throw new MatrixError(400, "M_UNKNOWN", `localpart is invalid: ${localpart}`);
  return (await findTakenUserIds(ctx.read, [`@${localpart}:${ctx.config.server.serverName}`])).size === 0;
}

/** The page on which the new user chooses a name. @throws SsoError without a session */
export function accountDetailsPage(
  ctx: Context,
  sessionId: string | undefined,
  refused?: { readonly username: string; readonly error: string },
): BrowserAnswer {
  const session = sessionOf(ctx, sessionId);
  const provider = ctx.sso.providers.get(session.providerId);
  const values = {
    idp: provider === undefined ? {} : providerValues(provider),
    user_attributes: {
      display_name: session.displayName ?? null,
      // To Jinja an empty list is false, to nunjucks it is not.
      emails: session.emails.length > 0 ? [...session.emails] : null,
      localpart: refused?.username ?? session.choices.localpart ?? "",
      avatar_url: session.avatarUrl ?? null,
    },
    ...(refused === undefined ? {} : { error: refused.error }),
  };
  return page(ctx, "sso_auth_account_details.html", values, { status: refused === undefined ? 200 : 400, script: true });
}

export interface AccountDetails {
  readonly username: string;
  readonly useDisplayName: boolean;
  readonly useAvatar: boolean;
  readonly emails: readonly string[];
}

/** The choice of that page: on to the next step, or the page again with what is wrong. @throws SsoError */
export async function submitAccountDetails(ctx: Context, sessionId: string | undefined, details: AccountDetails): Promise<BrowserAnswer> {
  const session = sessionOf(ctx, sessionId);
  try {
    await checkUsername(ctx, details.username);
  } catch (error) {
    if (error instanceof MatrixError) return accountDetailsPage(ctx, sessionId, { username: details.username, error: error.message });
    throw error;
  }
  const chosen = ctx.sso.sessions.choose(sessionId!, {
    localpart: details.username,
    useDisplayName: details.useDisplayName,
    useAvatar: details.useAvatar,
    // Addresses that the provider does not vouch for are nobody's.
    emails: details.emails.filter((address) => session.emails.includes(address)),
  });
  return { location: nextStep(ctx, chosen ?? session), cookies: [] };
}

/** The page on which the new user agrees to the terms. @throws SsoError */
export function newUserConsentPage(ctx: Context, sessionId: string | undefined): BrowserAnswer {
  const session = sessionOf(ctx, sessionId);
  const { localpart } = session.choices;
  if (!localpart) throw new SsoError("no_user", "No user name has been selected.");
  const version = ctx.config.consent.version;
  return page(ctx, "sso_new_user_consent.html", {
    user_id: `@${localpart}:${ctx.config.server.serverName}`,
    user_profile: { display_name: session.displayName ?? null },
    consent_version: version ?? null,
    terms_url: `/_matrix/consent?v=${encodeURIComponent(version ?? "")}`,
  });
}

/** The user agreed to a version of the terms. @throws SsoError */
export function acceptTerms(ctx: Context, sessionId: string | undefined, version: string): BrowserAnswer {
  sessionOf(ctx, sessionId);
  const session = ctx.sso.sessions.choose(sessionId!, { termsVersion: version });
  return { location: nextStep(ctx, session!), cookies: [] };
}

/** All is asked: makes the account and goes back to the client. @throws SsoError; MatrixError when the name was taken meanwhile */
export async function registerNewUser(ctx: Context, sessionId: string | undefined, client: { userAgent: string; ip: string }): Promise<BrowserAnswer> {
  const session = sessionOf(ctx, sessionId);
  // Whoever calls this address too early goes back to the step that is missing.
  const step = nextStep(ctx, session);
  if (step !== NEW_USER_STEPS.register) return { location: step, cookies: [] };
  const { choices, displayName, avatarUrl, providerId, remoteUserId } = session;
  const userId = await ctx.sso.inTurn(providerId, async () => {
    if (ctx.sso.sessions.get(sessionId!) === undefined) throw unknownSession();
    const registered = await registerMappedUser(ctx, {
      providerId,
      remoteUserId,
      ...client,
      attributes: {
        localpart: choices.localpart,
        displayName: choices.useDisplayName ? displayName : undefined,
        picture: choices.useAvatar ? avatarUrl : undefined,
        emails: choices.emails,
      },
    });
    ctx.sso.sessions.take(sessionId!);
    return registered;
  });
  const { version } = ctx.config.consent;
  if (choices.termsVersion !== undefined && version !== undefined) await giveConsent(ctx, userId, version);
  return await returnToClient(ctx, { ...session, userId, isNew: true }, [mappingCookie(ctx, undefined)]);
}

function nextStep(ctx: Pick<Context, "config">, { choices }: MappingSession): string {
  if (choices.localpart === undefined) return NEW_USER_STEPS.accountDetails;
  if (ctx.config.consent.requireAtRegistration && !choices.termsVersion) return NEW_USER_STEPS.consent;
  return NEW_USER_STEPS.register;
}

function sessionOf(ctx: Context, sessionId: string | undefined): MappingSession {
  if (sessionId === undefined) throw new SsoError("bad_session", "missing session_id");
  const session = ctx.sso.sessions.get(sessionId);
  if (session === undefined) throw unknownSession();
  return session;
}

const unknownSession = (): SsoError => new SsoError("bad_session", "unknown session");
