import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { consumeLoginToken, deleteLoginTokensExpiredBefore, insertLoginToken } from "../../storage/accounts/login-tokens.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { unknownToken, userLocked } from "./authenticate.ts";
import { checkCredentials, credentialTypes, findAccount, qualify } from "./credentials.ts";
import { validateJwt } from "./jwt.ts";
import { LoginError } from "./login-error.ts";
import { registerUser, requiresApproval } from "./register.ts";
import { startSession } from "./sessions.ts";
import { newLoginToken } from "./tokens.ts";

const MAX_DEVICE_ID = 512;
const LOGIN_TOKEN_LIFETIME_MS = 120_000;

/** What `GET /login` offers, in Synapse's order. */
export function loginFlows(ctx: Context): JsonObject[] {
  const { auth, cas, jwt } = ctx.config;
  const flows: JsonObject[] = [];
  if (jwt.enabled) flows.push({ type: "org.matrix.login.jwt" });
  if (cas.enabled) flows.push({ type: "m.login.cas" });
  const providers = ctx.accountHooks.identityProviders?.(ctx) ?? [];
  if (providers.length > 0) flows.push({ type: "m.login.sso", identity_providers: [...providers] });
  if (auth.loginViaExistingEnabled) flows.push({ type: "m.login.token", get_login_token: true });
  else if (providers.length > 0) flows.push({ type: "m.login.token" });
  for (const type of credentialTypes(ctx)) flows.push({ type });
  flows.push({ type: "m.login.application_service" });
  return flows;
}

export interface LoginRequest {
  readonly body: JsonObject;
  readonly ip: string;
  readonly userAgent: string;
  /** The owner of the request's token, where it has one: appservices log their users in. */
  readonly requester: () => Promise<Requester>;
}

interface Login {
  readonly userId: string;
  readonly onLogin?: ((answer: Record<string, unknown>) => Promise<void>) | undefined;
  /** Make the account when there is none (JWT). */
  readonly create?: { readonly displayName: string | undefined };
  readonly limited?: boolean;
  readonly checkClosed?: boolean;
  readonly authProvider?: { readonly id: string; readonly sessionId: string | null } | undefined;
  readonly isAppserviceUser?: boolean;
}

/**
 * Logs a user in: the answer of `POST /login` (without `well_known`).
 * @throws MatrixError 400, 401 M_USER_LOCKED, 403 M_FORBIDDEN, M_USER_DEACTIVATED, 429
 */
export async function login(ctx: Context, request: LoginRequest): Promise<Record<string, unknown>> {
  const { body } = request;
  const refresh = body["refresh_token"] ?? false;
  if (typeof refresh !== "boolean") throw new MatrixError(400, "M_UNKNOWN", "`refresh_token` should be true or false.");
  if (body["type"] === undefined) throw new MatrixError(400, "M_UNKNOWN", "Missing JSON keys.");
  const who = await identify(ctx, request);
  const answer = await complete(ctx, who, request, refresh);
  if (requiresApproval(ctx) && !(await ctx.accounts.user(answer["user_id"] as string))?.approved) {
    throw notApproved("This account is pending approval by a server administrator.");
  }
  return answer;
}

export const notApproved = (message: string): MatrixError =>
  new MatrixError(403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL", message, { approval_notice_medium: "org.matrix.msc3866.none" });

/** A token with which the bearer logs in once as this user (`m.login.token`). */
export async function createLoginToken(
  ctx: Pick<Context, "clock" | "random" | "transaction">,
  userId: string,
  options: { lifetimeMs?: number; authProviderId?: string | undefined; authProviderSessionId?: string | undefined } = {},
): Promise<string> {
  const token = newLoginToken(ctx.random);
  const { authProviderId = null, authProviderSessionId = null } = options;
  await ctx.transaction("add_login_token", (txn) =>
    insertLoginToken(txn, token, ctx.clock.now() + (options.lifetimeMs ?? LOGIN_TOKEN_LIFETIME_MS), { userId, authProviderId, authProviderSessionId }),
  );
  return token;
}

/** Deletes login tokens that expired five minutes ago; called now and then. */
export async function expireLoginTokens(ctx: Pick<Context, "clock" | "transaction">): Promise<void> {
  await ctx.transaction("delete_expired_login_tokens", (txn) => deleteLoginTokensExpiredBefore(txn, ctx.clock.now() - 300_000));
}

async function identify(ctx: Context, request: LoginRequest): Promise<Login> {
  const { body, ip } = request;
  const type = body["type"];
  if (type === "m.login.application_service") return await identifyAppserviceUser(ctx, request);
  await ctx.limits.check("loginAddress", ip);
  if (type === "org.matrix.login.jwt" && ctx.config.jwt.enabled) {
    const { localpart, displayName } = await validateJwt(ctx, body["token"]);
    return { userId: `@${localpart}:${ctx.config.server.serverName}`, create: { displayName } };
  }
  if (type === "m.login.token") return await takeLoginToken(ctx, body["token"]);
  return await checkCredentials(ctx, body, { limited: true });
}

async function identifyAppserviceUser(ctx: Context, request: LoginRequest): Promise<Login> {
  const requester = await request.requester();
  const appservice = requester.appserviceId === undefined ? undefined : ctx.appservices.byId(requester.appserviceId);
  if (appservice === undefined) throw unknownToken("This login method is only valid for application services");
  if (appservice.deviceManagement) {
    throw new MatrixError(400, "IO.ELEMENT.MSC4190.M_APPSERVICE_LOGIN_UNSUPPORTED", "This appservice has MSC4190 enabled, so appservice login cannot be used.");
  }
  if (appservice.rateLimited) await ctx.limits.check("loginAddress", request.ip);
  const identifier = request.body["identifier"];
  if (typeof identifier !== "object" || identifier === null || Array.isArray(identifier)) throw invalidParam("Invalid identifier in login submission");
  const { type, user } = identifier as JsonObject;
  if (type !== "m.id.user") throw invalidParam("Unknown login identifier type");
  if (typeof user !== "string" || user.includes("\0")) throw invalidParam("Invalid user in identifier");
  const userId = qualify(ctx, user);
  if (!appservice.interestedInUser(userId)) throw new LoginError(403, "M_FORBIDDEN", "Invalid access_token");
  return { userId, limited: appservice.rateLimited, checkClosed: userId !== appservice.sender, isAppserviceUser: true };
}

async function takeLoginToken(ctx: Context, token: unknown): Promise<Login> {
  if (token === undefined) throw new MatrixError(400, "M_UNKNOWN", "Missing JSON keys.");
  const taken =
    typeof token !== "string" || token.includes("\0")
      ? "not found"
      : await ctx.transaction("consume_login_token", (txn) => consumeLoginToken(txn, token, ctx.clock.now()));
  if (typeof taken === "string") throw new MatrixError(403, "M_FORBIDDEN", "Invalid login token");
  const { userId, authProviderId, authProviderSessionId } = taken;
  return {
    userId,
    authProvider: authProviderId === null ? undefined : { id: authProviderId, sessionId: authProviderSessionId },
    onLogin: async (answer) => {
      for (const hook of ctx.accountHooks.tokenLogin) await hook(ctx, answer);
    },
  };
}

async function complete(ctx: Context, who: Login, request: LoginRequest, refresh: boolean): Promise<Record<string, unknown>> {
  const { body } = request;
  if (who.limited !== false) await ctx.limits.check("loginAccount", who.userId.toLowerCase());
  const deviceId = readDeviceId(body);
  const initialDisplayName = body["initial_device_display_name"] ?? undefined;
  if (initialDisplayName !== undefined && typeof initialDisplayName !== "string") throw invalidParam("Bad parameter: initial_device_display_name");
  const userId = who.create === undefined ? who.userId : await findOrCreate(ctx, who.userId, who.create.displayName);
  if (who.checkClosed !== false) await checkOpen(ctx, userId);
  const homeServer = ctx.config.server.serverName;
  if (requiresApproval(ctx) && !(await ctx.accounts.user(userId))?.approved) return { user_id: userId, home_server: homeServer };
  await ctx.modules.spamChecker.requireMayLogin(userId, deviceId, initialDisplayName, [[request.userAgent, request.ip]], who.authProvider?.id);
  for (const hook of ctx.accountHooks.judgeLogin) {
    await hook(ctx, { userId, deviceId, initialDisplayName, ip: request.ip, userAgent: request.userAgent, authProviderId: who.authProvider?.id });
  }
  const { authProvider } = who;
  const session = await startSession(ctx, {
    userId,
    deviceId,
    initialDisplayName: initialDisplayName?.replaceAll("\0", ""),
    refresh,
    isAppserviceUser: who.isAppserviceUser === true && !ctx.config.appservice.trackAppserviceUserIps,
    authProvider: authProvider?.sessionId == null ? undefined : { id: authProvider.id, sessionId: authProvider.sessionId },
  });
  const answer: Record<string, unknown> = { user_id: userId, access_token: session.accessToken, home_server: homeServer, device_id: session.deviceId };
  const { type } = body;
  await ctx.modules.accountValidity.loggedIn(userId, typeof type === "string" ? type : undefined, authProvider?.id);
  if (session.expiresInMs !== undefined) answer["expires_in_ms"] = session.expiresInMs;
  if (session.refreshToken !== undefined) answer["refresh_token"] = session.refreshToken;
  await who.onLogin?.(answer);
  return answer;
}

/** @throws MatrixError for accounts that nobody can log in to (CVE-2023-32682) */
async function checkOpen(ctx: Context, userId: string): Promise<void> {
  const user = await ctx.accounts.user(userId);
  if (user === undefined) throw new MatrixError(404, "M_UNKNOWN", "No such user");
  if (user.deactivated) throw new MatrixError(403, "M_USER_DEACTIVATED", "This account has been deactivated");
  if (user.locked) throw userLocked();
}

async function findOrCreate(ctx: Context, userId: string, displayName: string | undefined): Promise<string> {
  const account = await findAccount(ctx, userId);
  if (account !== undefined) return account.name;
  return await registerUser(ctx, { localpart: userId.slice(1, userId.indexOf(":")), passwordHash: null, displayName });
}

/** The device id that a client asks for. @throws LoginError 400 */
export function readDeviceId(body: JsonObject): string | undefined {
  const deviceId = body["device_id"] ?? undefined;
  if (deviceId === undefined || deviceId === "") return undefined;
  if (typeof deviceId !== "string" || deviceId.includes("\0")) throw new LoginError(400, "M_INVALID_PARAM", "device_id must be a string");
  if (deviceId.length > MAX_DEVICE_ID) throw new LoginError(400, "M_INVALID_PARAM", `device_id cannot be longer than ${MAX_DEVICE_ID} characters.`);
  return deviceId;
}
