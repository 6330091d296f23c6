import { insertExternalIds, getUserByExternalId } from "../../storage/accounts/external-ids.ts";
import { getProfile } from "../../storage/accounts/profiles.ts";
import { findTakenUserIds } from "../../storage/accounts/users.ts";
import { createLoginToken } from "../accounts/login.ts";
import { changeProfile } from "../accounts/profile.ts";
import { isValidLocalpart } from "../../protocol/ids.ts";
import { registerUser } from "../accounts/register.ts";
import type { Context } from "../context.ts";
import { requesterFor } from "../requester.ts";
import { type BrowserAnswer, mappingCookie, mappingError, page } from "./answers.ts";
import { setPictureAsAvatar } from "./avatar.ts";
import type { UserAttributes } from "./provider.ts";
import { isTrustedClient, shownClient, withLoginToken } from "./redirect-url.ts";

/** Somebody whom a provider has vouched for. */
export interface RemoteUser {
  readonly providerId: string;
  /** Their id at the provider, which never changes. */
  readonly remoteUserId: string;
  /** The login's session at the provider, where it tells one. */
  readonly providerSessionId: string | undefined;
  readonly clientRedirectUrl: string;
  readonly extraAttributes?: Readonly<Record<string, string>> | undefined;
  /** Whether somebody new may become a user. */
  readonly registrationEnabled: boolean;
  /** What to make of them; `failures` counts the localparts that were taken. @throws SsoError */
  attributes(failures: number): UserAttributes;
  /** The user that they were before there was a link to the provider. @throws SsoError */
  existingUser(): Promise<string | undefined>;
  readonly userAgent: string;
  readonly ip: string;
}

export const NEW_USER_STEPS = {
  accountDetails: "/_synapse/client/pick_username/account_details",
  consent: "/_synapse/client/new_user_consent",
  register: "/_synapse/client/sso_register",
} as const;

const MAX_FAILURES = 1000;
const CANDIDATES_AT_ONCE = 100;

/**
 * Completes a login: finds the user, or makes it, or sends the browser on to where the user chooses a name; then back to the client with a
 * login token.
 * @throws SsoError, and MatrixErrors of registration
 */
export async function completeLogin(ctx: Context, remote: RemoteUser): Promise<BrowserAnswer> {
  const { providerId, remoteUserId } = remote;
  const found = await ctx.sso.inTurn(providerId, async (): Promise<{ userId: string; isNew: boolean } | BrowserAnswer> => {
    const known = (await getUserByExternalId(ctx.read, providerId, remoteUserId)) ?? (await linkExistingUser(ctx, remote));
    if (known !== undefined) {
      if (ctx.config.sso.updateProfileInformation) await updateProfile(ctx, known, remote.attributes(0));
      return { userId: known, isNew: false };
    }
    if (!remote.registrationEnabled) throw mappingError("User does not exist and registrations are disabled");
    const attributes = await freeAttributes(ctx, remote);
    const step = firstStep(ctx, attributes);
    if (step !== undefined) return beginMappingSession(ctx, remote, attributes, step);
    return { userId: await registerMappedUser(ctx, { ...remote, attributes }), isNew: true };
  });
  return "userId" in found ? await returnToClient(ctx, { ...remote, ...found }) : found;
}

/** What the login of a known or new user ends with: back to the client, after a word of confirmation unless the admin trusts it. */
export async function returnToClient(
  ctx: Context,
  login: Pick<RemoteUser, "providerId" | "providerSessionId" | "clientRedirectUrl" | "extraAttributes"> & { readonly userId: string; readonly isNew: boolean },
  cookies: readonly string[] = [],
): Promise<BrowserAnswer> {
  const { userId, clientRedirectUrl, extraAttributes } = login;
  if ((await ctx.accounts.user(userId))?.deactivated !== false) return page(ctx, "sso_account_deactivated.html", {}, { status: 403, cookies });
  if (extraAttributes !== undefined && Object.keys(extraAttributes).length > 0) ctx.sso.extraAttributes.set(userId, extraAttributes);
  const token = await createLoginToken(ctx, userId, { authProviderId: login.providerId, authProviderSessionId: login.providerSessionId });
  const location = withLoginToken(clientRedirectUrl, token);
  await ctx.modules.accountValidity.loggedIn(userId, "m.login.sso", login.providerId);
  if (isTrustedClient(clientRedirectUrl, ctx.config.sso.clientWhitelist)) return { location, cookies };
  const profile = await getProfile(ctx.read, userId);
  const values = {
    display_url: shownClient(clientRedirectUrl),
    redirect_url: location,
    new_user: login.isNew,
    user_id: userId,
    user_profile: { display_name: profile?.displayname ?? null, avatar_url: profile?.avatarUrl ?? null },
  };
  return page(ctx, "sso_redirect_confirm.html", { ...values, server_name: ctx.config.server.serverName }, { cookies });
}

/** Makes the account, with its link to the provider in the same transaction, its picture and addresses. @throws SsoError, MatrixError 400, 403 */
export async function registerMappedUser(
  ctx: Context,
  user: Pick<RemoteUser, "providerId" | "remoteUserId" | "userAgent" | "ip"> & { readonly attributes: UserAttributes },
): Promise<string> {
  const { attributes, providerId, remoteUserId } = user;
  const { localpart, displayName, picture, emails } = attributes;
  if (localpart === undefined || localpart === "" || !isValidLocalpart(localpart)) throw mappingError(`localpart is invalid: ${localpart ?? ""}`);
  const userId = await registerUser(ctx, {
    localpart,
    passwordHash: null,
    displayName,
    authProviderId: providerId,
    externalId: { auth_provider: providerId, external_id: remoteUserId },
    clients: [{ userAgent: user.userAgent, ip: user.ip }],
  });
  const log = ctx.log.named("synapse.handlers.sso");
  const now = ctx.clock.now();
  for (const address of emails) {
    try {
      await ctx.accountHooks.addThreepid?.(ctx, userId, { medium: "email", address, validated_at: now }, undefined);
    } catch (error) {
      log.warn(`An address from ${providerId} was not added to ${userId}`, { error });
    }
  }
  if (picture) await setPictureAsAvatar(ctx, userId, picture);
  return userId;
}

/** Where a user who is new goes next; undefined when nothing is left to ask. */
export function firstStep(ctx: Pick<Context, "config">, { localpart, confirmLocalpart }: UserAttributes): string | undefined {
  if (localpart === undefined || confirmLocalpart === true) return NEW_USER_STEPS.accountDetails;
  return ctx.config.consent.requireAtRegistration ? NEW_USER_STEPS.consent : undefined;
}

async function linkExistingUser(ctx: Context, remote: RemoteUser): Promise<string | undefined> {
  const userId = await remote.existingUser();
  if (userId === undefined) return undefined;
  await ctx.transaction("record_user_external_id", (txn) =>
    insertExternalIds(txn, userId, [{ auth_provider: remote.providerId, external_id: remote.remoteUserId }]),
  );
  return userId;
}

/** Attributes with a localpart that nobody has; that many are asked about in one statement. */
async function freeAttributes(ctx: Context, remote: RemoteUser): Promise<UserAttributes> {
  const first = remote.attributes(0);
  if (!first.localpart) return first;
  const userIdOf = ({ localpart }: UserAttributes): string => `@${localpart}:${ctx.config.server.serverName}`;
  if ((await findTakenUserIds(ctx.read, [userIdOf(first)])).size === 0) return first;
  for (let from = 0; from < MAX_FAILURES; from += CANDIDATES_AT_ONCE) {
    const candidates = Array.from({ length: CANDIDATES_AT_ONCE }, (_, index) => remote.attributes(from + index));
    const taken = await findTakenUserIds(ctx.read, candidates.map(userIdOf));
    const free = candidates.find((candidate) => !taken.has(userIdOf(candidate).toLowerCase()));
    if (free !== undefined) return free;
  }
  throw mappingError("Unable to generate a Matrix ID from the SSO response");
}

function beginMappingSession(ctx: Context, remote: RemoteUser, attributes: UserAttributes, step: string): BrowserAnswer {
  const { displayName, emails, localpart, picture } = attributes;
  const id = ctx.sso.sessions.add({
    providerId: remote.providerId,
    providerSessionId: remote.providerSessionId,
    remoteUserId: remote.remoteUserId,
    displayName,
    emails,
    avatarUrl: picture || undefined,
    extraAttributes: remote.extraAttributes,
    clientRedirectUrl: remote.clientRedirectUrl,
    choices: { localpart, useDisplayName: true, useAvatar: true, emails, termsVersion: undefined },
  });
  return { location: step, cookies: [mappingCookie(ctx, id)] };
}

/** `sso.update_profile_information`: name and picture follow the provider at each login. */
async function updateProfile(ctx: Context, userId: string, { displayName, picture }: UserAttributes): Promise<void> {
  const user = await ctx.accounts.user(userId);
  if (user === undefined || user.deactivated) return;
  if (displayName !== undefined && displayName !== "" && (await getProfile(ctx.read, userId))?.displayname !== displayName) {
    try {
      await changeProfile(ctx, requesterFor(userId, { shadowBanned: user.shadowBanned }), {
        userId,
        field: "displayname",
        value: displayName,
        byAdmin: true,
        propagate: true,
      });
    } catch (error) {
      ctx.log.named("synapse.handlers.sso").warn(`The display name of ${userId} does not follow its provider`, { error });
    }
  }
  if (picture) await setPictureAsAvatar(ctx, userId, picture);
}
