import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { markAccessTokenUsed } from "../../storage/accounts/access-tokens.ts";
import { getDevice } from "../../storage/devices/devices.ts";
import type { AuthenticationRequest, Context } from "../context.ts";
import { type Requester, requesterFor } from "../requester.ts";
import { noteActive } from "./blocking.ts";
import type { AppserviceIdentity } from "./hooks.ts";
import { isExpired } from "./validity.ts";

type AuthContext = Pick<
  Context,
  | "accounts"
  | "appservices"
  | "clientIps"
  | "clock"
  | "config"
  | "delegatedAuth"
  | "macaroons"
  | "modules"
  | "monthlyActive"
  | "read"
  | "serverNotices"
  | "transaction"
>;

/** The scope of server admins where accounts are delegated. */
const ADMIN_SCOPE = "urn:synapse:admin:*";

/** The device of every guest. */
export const GUEST_DEVICE_ID = "guest_device";

export const unknownToken = (message = "Unrecognised access token", extra: Record<string, unknown> = {}): MatrixError =>
  new MatrixError(401, "M_UNKNOWN_TOKEN", message, { soft_logout: false, ...extra });

export const userLocked = (): MatrixError => new MatrixError(401, "M_USER_LOCKED", "User account has been locked", { soft_logout: true });

/**
 * Who makes a request, by its access token: an appservice (as itself or as one of its users), a user, or a guest. Notes where the token
 * was used.
 * @throws MatrixError 401 M_UNKNOWN_TOKEN, M_USER_LOCKED; 403 M_GUEST_ACCESS_FORBIDDEN, ORG_MATRIX_EXPIRED_ACCOUNT, M_FORBIDDEN
 */
export async function authenticate(ctx: AuthContext, request: AuthenticationRequest): Promise<Requester> {
  const appservice = ctx.appservices.byToken(request.token);
  const requester = appservice?.acceptsAddress(request.ip) ? await appserviceRequester(ctx, appservice, request) : await userRequester(ctx, request);
  await noteUse(ctx, request, requester);
  if (requester.isGuest && !request.allowGuest) throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed");
  return requester;
}

/**
 * Whether the requester is an admin of this server. An admin's token that acts as another user has that user's rights. Where accounts are
 * delegated, the token's scope decides.
 */
export async function isServerAdmin(ctx: Pick<Context, "accounts" | "config">, requester: Requester): Promise<boolean> {
  if (ctx.config.mas.enabled) return requester.scope.includes(ADMIN_SCOPE);
  return (await ctx.accounts.user(requester.userId))?.admin ?? false;
}

async function userRequester(ctx: AuthContext, request: AuthenticationRequest): Promise<Requester> {
  if (ctx.delegatedAuth !== undefined) return await ctx.delegatedAuth.requester(request.token);
  const requester = (await byOpaqueToken(ctx, request)) ?? (await byGuestToken(ctx, request.token));
  const user = await ctx.accounts.user(requester.userId);
  if (user?.locked === true && !request.allowLocked) throw userLocked();
  if (!request.allowExpired && (await isExpired(ctx, requester.userId))) throw new MatrixError(403, "ORG_MATRIX_EXPIRED_ACCOUNT", "User account has expired");
  return requester;
}

/** The requester of a token in `access_tokens`; undefined when there is none. */
async function byOpaqueToken(ctx: AuthContext, request: AuthenticationRequest): Promise<Requester | undefined> {
  if (request.token.includes("\0")) return undefined;
  const token = await ctx.accounts.token(request.token);
  if (token === undefined) return undefined;
  if (!request.allowExpired && token.validUntilMs !== null && token.validUntilMs < ctx.clock.now())
    throw unknownToken("Access token has expired", { soft_logout: true });
  if (!token.used)
    await ctx.transaction("mark_access_token_as_used", (txn) => markAccessTokenUsed(txn, ctx.accounts, token.id, request.token), {
      isolation: "read committed",
    });
  const user = await ctx.accounts.user(token.userId);
  if (user === undefined) throw unknownToken();
  return {
    userId: token.userId,
    deviceId: token.deviceId ?? undefined,
    accessTokenId: token.id,
    isGuest: user.isGuest,
    appserviceId: undefined,
    authenticatedEntity: token.owner,
    shadowBanned: user.shadowBanned,
    scope: [],
  };
}

/** Guests' tokens are macaroons that no table knows; they work as long as the account is a guest's. */
async function byGuestToken(ctx: AuthContext, token: string): Promise<Requester> {
  const userId = ctx.macaroons.guestOf(token);
  if (userId === undefined) throw unknownToken("Invalid access token passed.");
  const user = await ctx.accounts.user(userId);
  if (user === undefined) throw unknownToken(`Unknown user_id ${userId}`);
  if (!user.isGuest) throw unknownToken("Guest access token used for regular user");
  return requesterFor(userId, { deviceId: GUEST_DEVICE_ID, isGuest: true, shadowBanned: user.shadowBanned });
}

async function appserviceRequester(ctx: AuthContext, appservice: AppserviceIdentity, request: AuthenticationRequest): Promise<Requester> {
  const userId = request.asUser ?? appservice.sender;
  if (userId !== appservice.sender) {
    if (!appservice.interestedInUser(userId)) throw forbidden(`Application service cannot masquerade as this user (${userId}).`);
    if ((await ctx.accounts.user(userId)) === undefined) throw forbidden(`Application service has not registered this user (${userId})`);
  }
  if (request.asDevice !== undefined && (await getDevice(ctx.read, userId, request.asDevice)) === undefined) {
    throw new MatrixError(
      400,
      "ORG.MATRIX.MSC4326.M_UNKNOWN_DEVICE",
      `Application service trying to use a device that doesn't exist ('${request.asDevice}' for ${userId})`,
    );
  }
  return requesterFor(userId, { deviceId: request.asDevice, appserviceId: appservice.id });
}

async function noteUse(ctx: AuthContext, request: AuthenticationRequest, requester: Requester): Promise<void> {
  const { userId, authenticatedEntity, appserviceId } = requester;
  if (appserviceId !== undefined && !ctx.config.appservice.trackAppserviceUserIps) return;
  const deviceId = requester.deviceId ?? (appserviceId === undefined ? null : "dummy-device");
  const users = userId !== authenticatedEntity && ctx.config.api.trackPuppetedUserIps ? [authenticatedEntity, userId] : [authenticatedEntity];
  for (const user of users) {
    const fresh = ctx.clientIps.note({ userId: user, accessToken: request.token, ip: request.ip, userAgent: request.userAgent, deviceId });
    if (!fresh) continue;
    await noteActive(ctx, user);
    void ctx.serverNotices.userActive(user); // meanwhile the request goes on
  }
}
