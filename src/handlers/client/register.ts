import type { JsonObject } from "../../lib/json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { unknownToken } from "../../services/accounts/authenticate.ts";
import { notApproved, readDeviceId } from "../../services/accounts/login.ts";
import { registerInteractively } from "../../services/accounts/register-interactively.ts";
import { registerAppserviceUser, registerUser, requiresApproval } from "../../services/accounts/register.ts";
import { type Session, type SessionRequest, startSession } from "../../services/accounts/sessions.ts";
import { checkUsername } from "../../services/accounts/usernames.ts";
import type { Context } from "../../services/context.ts";
import { isRegistrationTokenValid } from "../../storage/accounts/registration-tokens.ts";
import { accessToken } from "../http/authenticate.ts";
import { endpoint, type EndpointRequest } from "../http/endpoint.ts";

type RegisterRequest = EndpointRequest<Record<never, string>, JsonObject, "none">;

const APPSERVICE_TYPE = "m.login.application_service";
const MAX_USERNAME = 512;

/** Makes an account: of a user, a guest, or an appservice's user. */
export const register = endpoint({
  servlet: "RegisterRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/register",
  auth: "none",
  emptyBody: false,
  limit: "registration",
  async handle(ctx, request) {
    const { body, headers, ip, query } = request;
    await ctx.limits.check("registration", ip, { count: false });
    if (ctx.config.mas.enabled) return await registerForAppserviceOnly(ctx, request);
    const kind = query.string("kind", "user");
    if (kind === "guest") return await registerGuest(ctx, request);
    if (kind !== "user") throw unknownKind(kind);
    const refresh = body["refresh_token"] ?? false;
    if (typeof refresh !== "boolean") throw new MatrixError(400, "M_UNKNOWN", "`refresh_token` should be true or false.");
    const { username } = body;
    if (username !== undefined && (typeof username !== "string" || username.length > MAX_USERNAME)) throw new MatrixError(400, "M_UNKNOWN", "Invalid username");
    const token = accessToken(headers, query);
    if (body["type"] === APPSERVICE_TYPE) {
      if (token === undefined) throw new MatrixError(400, "M_UNKNOWN", "Appservice token must be provided when using a type of m.login.application_service");
      if (username === undefined) throw new MatrixError(400, "M_UNKNOWN", "Desired Username is missing or not a string");
      return await registerForAppservice(ctx, token, username, body, refresh);
    }
    if (token !== undefined) {
      throw new MatrixError(
        400,
        "M_UNKNOWN",
        "An access token should not be provided on requests to /register (except if type is m.login.application_service)",
      );
    }
    if (!ctx.config.registration.enableRegistration) throw forbidden("Registration has been disabled");
    const made = await registerInteractively(ctx, request);
    let first: Session | undefined;
    const answer = await sessionAnswer(ctx, made.userId, made.params, async (session) => (first = await startSession(ctx, { ...session, refresh })));
    await made.finish(first?.accessToken);
    if (requiresApproval(ctx)) throw notApproved("This account needs to be approved by an administrator before it can be used.");
    return answer;
  },
});

/** Whether a name is free. */
export const usernameAvailable = endpoint({
  servlet: "UsernameAvailabilityRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/register/available",
  auth: "none",
  limit: "usernameAvailable",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { ip, query }) {
    const { enableRegistration, inhibitUserInUseError } = ctx.config.registration;
    if (!enableRegistration) throw forbidden("Registration has been disabled");
    if (inhibitUserInUseError) return { available: true };
    const username = query.requiredString("username");
    await ctx.limits.check("usernameAvailable", ip);
    await checkUsername(ctx, username);
    return { available: true };
  },
});

/** Whether a registration token may be used. */
export const registrationTokenValidity = endpoint({
  servlet: "RegistrationTokenValidityRestServlet",
  method: "GET",
  path: "/_matrix/client/(v1|unstable)/register/m.login.registration_token/validity",
  auth: "none",
  limit: "registrationTokenValidity",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { ip, query }) {
    await ctx.limits.check("registrationTokenValidity", ip);
    if (!ctx.config.registration.enableRegistration) throw forbidden("Registration has been disabled");
    const token = query.requiredString("token");
    return { valid: !token.includes("\0") && (await isRegistrationTokenValid(ctx.read, token, ctx.clock.now())) };
  },
});

/** What a new account is answered: with a first session, unless `inhibit_login` or the account waits for approval. */
export async function sessionAnswer(
  ctx: Context,
  userId: string,
  params: JsonObject,
  start: (request: SessionRequest) => Promise<Session>,
): Promise<Record<string, unknown>> {
  const answer: Record<string, unknown> = { user_id: userId, home_server: ctx.config.server.serverName };
  if (params["inhibit_login"] || (requiresApproval(ctx) && !(await ctx.accounts.user(userId))?.approved)) return answer;
  const displayName = params["initial_device_display_name"];
  const session = await start({
    userId,
    deviceId: readDeviceId(params),
    initialDisplayName: typeof displayName === "string" ? displayName.replaceAll("\0", "") : undefined,
  });
  return { ...answer, access_token: session.accessToken, device_id: session.deviceId, expires_in_ms: session.expiresInMs, refresh_token: session.refreshToken };
}

async function registerGuest(ctx: Context, { body, ip }: RegisterRequest): Promise<Record<string, unknown>> {
  if (!ctx.config.registration.allowGuestAccess) throw new MatrixError(403, "M_UNKNOWN", "Guest access is disabled");
  const userId = await registerUser(ctx, { localpart: undefined, passwordHash: null, isGuest: true, ip });
  return await sessionAnswer(ctx, userId, { initial_device_display_name: body["initial_device_display_name"] }, (session) =>
    startSession(ctx, { ...session, isGuest: true }),
  );
}

async function registerForAppservice(ctx: Context, token: string, username: string, body: JsonObject, refresh: boolean): Promise<Record<string, unknown>> {
  const appservice = ctx.appservices.byToken(token);
  if (appservice === undefined) throw unknownToken();
  if (appservice.deviceManagement && !body["inhibit_login"]) {
    throw new MatrixError(
      400,
      "IO.ELEMENT.MSC4190.M_APPSERVICE_LOGIN_UNSUPPORTED",
      "This appservice has MSC4190 enabled, so the inhibit_login parameter must be set to true.",
    );
  }
  const userId = await registerAppserviceUser(ctx, appservice, username);
  return await sessionAnswer(ctx, userId, body, (session) => startSession(ctx, { ...session, refresh, isAppserviceUser: true }));
}

/** With delegated authentication, accounts are made elsewhere; appservices still make their users here. */
async function registerForAppserviceOnly(ctx: Context, { body, headers, query }: RegisterRequest): Promise<Record<string, unknown>> {
  if (body["type"] !== APPSERVICE_TYPE) throw forbidden("Registration has been disabled. Only m.login.application_service registrations are allowed.");
  if (!body["inhibit_login"]) {
    throw new MatrixError(
      400,
      "IO.ELEMENT.MSC4190.M_APPSERVICE_LOGIN_UNSUPPORTED",
      "This server uses OAuth2, so the inhibit_login parameter must be set to true for appservice registrations.",
    );
  }
  const kind = query.string("kind", "user");
  if (kind === "guest") throw new MatrixError(403, "M_UNKNOWN", "Guest access is disabled");
  if (kind !== "user") throw unknownKind(kind);
  const { username } = body;
  if (typeof username !== "string" || username.length > MAX_USERNAME) throw new MatrixError(400, "M_UNKNOWN", "Invalid username");
  const token = accessToken(headers, query);
  if (token === undefined) throw new MatrixError(400, "M_UNKNOWN", "Appservice token must be provided when using a type of m.login.application_service");
  const appservice = ctx.appservices.byToken(token);
  if (appservice === undefined) throw unknownToken();
  return { user_id: await registerAppserviceUser(ctx, appservice, username) };
}

const unknownKind = (kind: string): MatrixError => new MatrixError(400, "M_UNRECOGNIZED", `Do not understand membership kind: ${kind}`);
