import { MatrixError } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import { setAccountExpiry } from "../../storage/accounts/deactivations.ts";
import { type ExternalId, insertExternalIds } from "../../storage/accounts/external-ids.ts";
import { insertUser, nextNumericLocalpart, setConsentVersion } from "../../storage/accounts/users.ts";
import type { Txn } from "../../storage/database.ts";
import type { Context } from "../context.ts";
import { checkBlocking } from "./blocking.ts";
import type { AppserviceIdentity } from "./hooks.ts";
import { checkNotReserved, checkUsername, userInUse } from "./usernames.ts";

export interface Registration {
  /** undefined: the next number, as guests get. */
  readonly localpart: string | undefined;
  readonly passwordHash: string | null;
  readonly isGuest?: boolean;
  /** Token of the guest account that becomes a full one. */
  readonly guestToken?: string | undefined;
  readonly admin?: boolean;
  readonly userType?: string | null;
  /** undefined: the localpart; "": none. */
  readonly displayName?: string | undefined;
  /** Address of the client, for the rate limit; undefined: not limited. */
  readonly ip?: string;
  /** An admin makes the account: no limit of active users. */
  readonly byAdmin?: boolean;
  readonly approved?: boolean;
  readonly threepid?: { readonly medium: string; readonly address: string } | undefined;
  /** Where the registration was seen, for modules that judge it. */
  readonly clients?: readonly { readonly userAgent: string; readonly ip: string }[];
  readonly authProviderId?: string;
  /** Who the user is at an identity provider: linked with the account, or neither is made. */
  readonly externalId?: ExternalId;
}

const GUEST_ATTEMPTS = 10;

/**
 * Makes an account with its profile. Returns the user id, after the rooms of `auto_join_rooms` are joined.
 * @throws MatrixError 400 M_INVALID_USERNAME, M_USER_IN_USE, M_EXCLUSIVE; 403 M_RESOURCE_LIMIT_EXCEEDED; 429
 */
export async function registerUser(ctx: Context, registration: Registration): Promise<string> {
  const { ip, localpart, guestToken, isGuest = false } = registration;
  if (ip !== undefined) await ctx.limits.check("registration", ip);
  const verdict = await judge(ctx, registration);
  if (verdict !== "allow")
    ctx.log.named("synapse.handlers.register").info(`Modules ${verdict === "deny" ? "deny" : "shadow-ban"} the registration of ${localpart}`);
  if (verdict === "deny") throw new MatrixError(429, "M_UNKNOWN", "Rate limited");
  if (registration.byAdmin !== true) await checkBlocking(ctx, registration.threepid === undefined ? {} : { threepid: registration.threepid });
  if (localpart !== undefined) await checkUsername(ctx, localpart, { guestToken });
  const userId = await makeAccount(ctx, registration, verdict === "shadow ban");
  ctx.log.named("synapse.handlers.register").info(`Registered ${userId}`);
  ctx.metrics.registered(registration.authProviderId ?? "", isGuest, verdict === "shadow ban");
  await ctx.modules.accountValidity.registered(userId);
  const { consent, registration: options } = ctx.config;
  if (!consent.requireAtRegistration && (!isGuest || options.autoJoinRoomsForGuests)) await welcome(ctx, userId, isGuest);
  return userId;
}

/**
 * Makes a user of an appservice's namespace.
 * @throws MatrixError 400 M_EXCLUSIVE, M_USER_IN_USE, M_INVALID_USERNAME
 */
export async function registerAppserviceUser(ctx: Context, appservice: AppserviceIdentity, localpart: string): Promise<string> {
  const userId = `@${localpart}:${ctx.config.server.serverName}`;
  if (localpart === "" || localpart.includes(":") || !isUserId(userId)) throw new MatrixError(400, "M_INVALID_USERNAME", "Not a valid user ID");
  if (!appservice.interestedInUser(userId)) throw new MatrixError(400, "M_EXCLUSIVE", "Invalid user localpart for this application service.");
  checkNotReserved(ctx, userId, appservice);
  const made = await ctx.transaction("register_user", (txn) =>
    insert(
      ctx,
      txn,
      userId,
      { localpart, passwordHash: "", displayName: localpart },
      { appserviceId: appservice.ownsUser(userId) ? appservice.id : null, shadowBanned: false, userType: null },
    ),
  );
  if (!made) throw userInUse();
  await ctx.modules.accountValidity.registered(userId);
  return userId;
}

/** The user agreed to the terms: noted, and rooms that waited for it are joined. */
export async function giveConsent(ctx: Context, userId: string, version: string): Promise<void> {
  await ctx.transaction("user_set_consent_version", (txn) => setConsentVersion(txn, ctx.accounts, userId, version, ctx.clock.now()));
  for (const hook of ctx.accountHooks.consented) await hook(ctx, userId);
  if (ctx.config.consent.requireAtRegistration) await welcome(ctx, userId, false);
}

async function makeAccount(ctx: Context, registration: Registration, shadowBanned: boolean): Promise<string> {
  const { localpart, guestToken } = registration;
  const userType = registration.userType ?? ctx.config.userTypes.defaultUserType ?? null;
  const extra = { appserviceId: null, shadowBanned, userType: localpart === undefined ? null : userType };
  if (localpart !== undefined) {
    const userId = `@${localpart}:${ctx.config.server.serverName}`;
    const displayName = guestToken === undefined ? (registration.displayName ?? localpart) : "";
    if (!(await ctx.transaction("register_user", (txn) => insert(ctx, txn, userId, { ...registration, displayName }, extra)))) throw userInUse();
    return userId;
  }
  for (let attempt = 0; attempt <= GUEST_ATTEMPTS; attempt++) {
    const userId = await ctx.transaction("register_user", async (txn) => {
      const number = await nextNumericLocalpart(txn);
      const candidate = `@${number}:${ctx.config.server.serverName}`;
      checkNotReserved(ctx, candidate);
      return (await insert(ctx, txn, candidate, { ...registration, displayName: registration.displayName ?? number }, extra)) ? candidate : undefined;
    });
    if (userId !== undefined) return userId;
  }
  throw new MatrixError(500, "M_UNKNOWN", "Unable to find a suitable guest user ID");
}

async function insert(
  ctx: Context,
  txn: Txn,
  userId: string,
  registration: Registration,
  extra: { appserviceId: string | null; shadowBanned: boolean; userType: string | null },
): Promise<boolean> {
  const now = ctx.clock.now();
  const made = await insertUser(txn, ctx.accounts, {
    userId,
    passwordHash: registration.passwordHash,
    wasGuest: registration.guestToken !== undefined,
    isGuest: registration.isGuest ?? false,
    admin: registration.admin ?? false,
    approved: registration.approved === true || !requiresApproval(ctx),
    displayname: registration.displayName,
    nowSeconds: Math.floor(now / 1000),
    ...extra,
  });
  const { enabled, periodMs } = ctx.config.accountValidity;
  if (made && enabled && periodMs !== undefined) await setAccountExpiry(txn, userId, now + periodMs);
  if (made && registration.externalId !== undefined && !(await insertExternalIds(txn, userId, [registration.externalId]))) {
    throw new MatrixError(400, "M_UNKNOWN", "This account of the identity provider belongs to a user already");
  }
  if (made) for (const hook of ctx.accountHooks.userInserted) await hook(ctx, txn, userId);
  // Nameless guests are not in the user directory.
  if (made && registration.localpart !== undefined) for (const hook of ctx.accountHooks.profileChanged) await hook(ctx, txn, userId);
  return made;
}

/** New accounts wait for an admin (MSC3866). */
export function requiresApproval(ctx: Pick<Context, "config">): boolean {
  const { enabled, requireApprovalForNewAccounts } = ctx.config.experimental.msc3866;
  return enabled && requireApprovalForNewAccounts;
}

/** What modules say of a registration: the first that does not allow it decides. */
async function judge(ctx: Context, registration: Registration): Promise<"allow" | "deny" | "shadow ban"> {
  const { localpart, threepid, clients = [], authProviderId } = registration;
  const requestInfo = clients.map(({ userAgent, ip }) => [userAgent, ip] as const);
  const behaviour = await ctx.modules.spamChecker.judgeRegistration(threepid, localpart, requestInfo, authProviderId);
  if (behaviour !== "allow") return behaviour === "deny" ? "deny" : "shadow ban";
  for (const hook of ctx.accountHooks.judgeRegistration) {
    const verdict = await hook(ctx, registration);
    if (verdict !== "allow") return verdict;
  }
  return "allow";
}

async function welcome(ctx: Context, userId: string, isGuest: boolean): Promise<void> {
  for (const hook of ctx.accountHooks.registered) await hook(ctx, { userId, isGuest });
}
