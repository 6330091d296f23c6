import { MatrixError } from "../../protocol/errors.ts";
import { deleteAccessToken, deleteTokensOfUser, insertAccessToken } from "../../storage/accounts/access-tokens.ts";
import { findRefreshToken, insertRefreshToken, replaceRefreshToken } from "../../storage/accounts/refresh-tokens.ts";
import type { Txn } from "../../storage/database.ts";
import type { Context } from "../context.ts";
import { deleteAllDevices, deleteDevicesIn, registerDevice, tokensDeleted } from "../devices/devices.ts";
import type { Requester } from "../requester.ts";
import { GUEST_DEVICE_ID, unknownToken } from "./authenticate.ts";
import { checkBlocking } from "./blocking.ts";
import { isRefreshToken, newAccessToken, newRefreshToken } from "./tokens.ts";

/** What a client gets when it logs in. */
export interface Session {
  readonly deviceId: string;
  readonly accessToken: string;
  /** Milliseconds from now; undefined: the token does not expire. */
  readonly expiresInMs: number | undefined;
  readonly refreshToken: string | undefined;
}

export interface SessionRequest {
  readonly userId: string;
  readonly deviceId: string | undefined;
  readonly initialDisplayName: string | undefined;
  /** The client can refresh: it gets a refresh token where the config has `refreshable_access_token_lifetime`. */
  readonly refresh?: boolean;
  readonly isGuest?: boolean;
  /** A user of an appservice: does not count against the limit of active users. */
  readonly isAppserviceUser?: boolean;
  readonly authProvider?: { readonly id: string; readonly sessionId: string } | undefined;
}

/**
 * Makes the device and its tokens, in one transaction. Lifetimes by `session_lifetime`, `nonrefreshable_access_token_lifetime`,
 * `refreshable_access_token_lifetime` and `refresh_token_lifetime`.
 * @throws MatrixError 403 M_RESOURCE_LIMIT_EXCEEDED, and those of `registerDevice`
 */
export async function startSession(ctx: Context, request: SessionRequest): Promise<Session> {
  const { userId, isGuest = false } = request;
  if (!isGuest && (request.isAppserviceUser !== true || ctx.config.appservice.trackAppserviceUserIps)) await checkBlocking(ctx, { userId });
  const now = ctx.clock.now();
  const lifetimes = ctx.config.registration;
  const sessionEnd = until(now, lifetimes.sessionLifetimeMs);
  return await ctx.transaction("start_session", async (txn) => {
    txn.afterCommit(() => ctx.metrics.loggedIn(request.authProvider?.id ?? "", isGuest));
    const deviceId = await registerDevice(ctx, txn, {
      userId,
      deviceId: isGuest ? GUEST_DEVICE_ID : request.deviceId,
      displayName: request.initialDisplayName,
      authProvider: request.authProvider,
    });
    if (isGuest) return { deviceId, accessToken: ctx.macaroons.guestToken(userId), expiresInMs: undefined, refreshToken: undefined };
    const refreshable = request.refresh === true && lifetimes.refreshableAccessTokenLifetimeMs !== undefined;
    const validUntilMs = earliest(
      sessionEnd,
      until(now, refreshable ? lifetimes.refreshableAccessTokenLifetimeMs : lifetimes.nonrefreshableAccessTokenLifetimeMs),
    );
    const refresh = refreshable
      ? await addRefreshToken(ctx, txn, {
          userId,
          deviceId,
          expiryTs: earliest(sessionEnd, until(now, lifetimes.refreshTokenLifetimeMs)),
          ultimateSessionExpiryTs: sessionEnd,
        })
      : undefined;
    const accessToken = await addAccessToken(ctx, txn, { userId, deviceId, validUntilMs, refreshTokenId: refresh?.id ?? null });
    return { deviceId, accessToken, expiresInMs: validUntilMs === null ? undefined : validUntilMs - now, refreshToken: refresh?.token };
  });
}

/**
 * An access token without a device, with which `adminId` acts as `userId` (admin API).
 * @throws MatrixError 403 M_RESOURCE_LIMIT_EXCEEDED
 */
export async function createPuppetToken(ctx: Context, adminId: string, userId: string, validUntilMs: number | null): Promise<string> {
  await checkBlocking(ctx, { userId: adminId });
  return await ctx.transaction("create_puppet_token", (txn) =>
    addAccessToken(ctx, txn, { userId: adminId, puppetsUserId: userId, deviceId: null, validUntilMs, refreshTokenId: null }),
  );
}

/** The answer of `POST /refresh`. */
export interface RefreshedSession {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresInMs: number | undefined;
}

/**
 * Exchanges a refresh token for a new pair. It may be repeated until the new access token is used or the new refresh token refreshed, so
 * a client that lost the answer can ask again.
 * @throws MatrixError 401 M_UNKNOWN_TOKEN, 403 M_FORBIDDEN
 */
export async function refreshSession(ctx: Context, refreshToken: string): Promise<RefreshedSession> {
  if (!isRefreshToken(refreshToken)) throw new MatrixError(401, "M_UNKNOWN_TOKEN", "invalid refresh token");
  const now = ctx.clock.now();
  const { refreshableAccessTokenLifetimeMs, refreshTokenLifetimeMs } = ctx.config.registration;
  return await ctx.transaction("refresh_token", async (txn) => {
    const current = await findRefreshToken(txn, refreshToken);
    if (current === undefined) throw new MatrixError(401, "M_UNKNOWN_TOKEN", "refresh token does not exist");
    if (current.nextUsed || current.nextRefreshed) throw new MatrixError(403, "M_FORBIDDEN", "refresh token isn't valid anymore");
    if (current.expiryTs !== null && current.expiryTs < now) throw new MatrixError(403, "M_FORBIDDEN", "The supplied refresh token has expired");
    const { userId, deviceId, ultimateSessionExpiryTs: sessionEnd } = current;
    if (sessionEnd !== null && sessionEnd < now) throw new MatrixError(403, "M_FORBIDDEN", "The session has expired and can no longer be refreshed");
    await checkRefreshable(ctx, userId);
    const validUntilMs = earliest(sessionEnd, until(now, refreshableAccessTokenLifetimeMs));
    const next = await addRefreshToken(ctx, txn, {
      userId,
      deviceId,
      expiryTs: earliest(sessionEnd, until(now, refreshTokenLifetimeMs)),
      ultimateSessionExpiryTs: sessionEnd,
    });
    const accessToken = await addAccessToken(ctx, txn, { userId, deviceId, validUntilMs, refreshTokenId: next.id });
    await replaceRefreshToken(txn, ctx.accounts, current, next.id);
    return { accessToken, refreshToken: next.token, expiresInMs: validUntilMs === null ? undefined : validUntilMs - now };
  });
}

/** Ends the session of a request: its device with all that belongs to it, or the bare token. */
export async function logout(ctx: Context, requester: Requester, token: string): Promise<void> {
  await ctx.transaction("logout", async (txn) => {
    if (requester.deviceId === undefined) await deleteBareToken(ctx, txn, requester, token);
    else await deleteDevicesIn(ctx, txn, requester.userId, [requester.deviceId]);
  });
}

/** Ends all sessions of the user. */
export async function logoutAll(ctx: Context, userId: string): Promise<void> {
  await ctx.transaction("logout_all", (txn) => endAllSessions(ctx, txn, userId));
}

/** Deletes all devices and tokens of a user, but for the given ones. */
export async function endAllSessions(
  ctx: Context,
  txn: Txn,
  userId: string,
  except?: { deviceId: string | undefined; accessTokenId: number | undefined },
): Promise<void> {
  await deleteAllDevices(ctx, txn, userId, except?.deviceId);
  const tokens = await deleteTokensOfUser(txn, ctx.accounts, userId, except?.accessTokenId);
  await tokensDeleted(ctx, txn, userId, tokens);
}

async function deleteBareToken(ctx: Context, txn: Txn, requester: Requester, token: string): Promise<void> {
  const deleted = await deleteAccessToken(txn, ctx.accounts, token);
  if (deleted === undefined) throw unknownToken();
  await tokensDeleted(ctx, txn, requester.authenticatedEntity, [deleted]);
}

/** A closed or locked account cannot go on by refreshing. */
async function checkRefreshable(ctx: Context, userId: string): Promise<void> {
  await checkBlocking(ctx, { userId });
  if ((await ctx.accounts.user(userId))?.deactivated === true) throw new MatrixError(403, "M_USER_DEACTIVATED", "This account has been deactivated");
}

async function addAccessToken(
  ctx: Context,
  txn: Txn,
  token: { userId: string; deviceId: string | null; validUntilMs: number | null; refreshTokenId: number | null; puppetsUserId?: string },
): Promise<string> {
  const text = newAccessToken(ctx.random, token.puppetsUserId ?? token.userId);
  await insertAccessToken(txn, { puppetsUserId: null, ...token, id: ctx.localIds.accessTokens.next(), token: text, now: ctx.clock.now() });
  return text;
}

async function addRefreshToken(
  ctx: Context,
  txn: Txn,
  token: { userId: string; deviceId: string; expiryTs: number | null; ultimateSessionExpiryTs: number | null },
): Promise<{ id: number; token: string }> {
  const id = ctx.localIds.refreshTokens.next();
  const text = newRefreshToken(ctx.random, token.userId);
  await insertRefreshToken(txn, { ...token, id, token: text });
  return { id, token: text };
}

function until(now: number, lifetimeMs: number | undefined): number | null {
  return lifetimeMs === undefined ? null : now + lifetimeMs;
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
