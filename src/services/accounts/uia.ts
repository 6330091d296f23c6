import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { badJson, forbidden, invalidParam, MatrixError } from "../../protocol/errors.ts";
import { getLastValidated, setLastValidated } from "../../storage/accounts/access-tokens.ts";
import {
  addUiAuthClient,
  completeUiAuthStage,
  deleteOldUiAuthSessions,
  getCompletedUiAuthStages,
  getUiAuthSession,
  insertUiAuthSession,
  purgePasswordsFromUiAuthSessions,
  setUiAuthClientdict,
  setUiAuthData,
  type UiAuthSession,
} from "../../storage/accounts/ui-auth-sessions.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { checkCredentials, findAccount } from "./credentials.ts";
import { LoginError } from "./login-error.ts";
import { stageParams, uiaStages } from "./uia-stages.ts";

/**
 * User-interactive authentication (client-server API, "User-Interactive Authentication API"): a request is repeated with `auth` until
 * every stage of one of its flows is passed. Sessions live in Synapse's tables, 48 hours.
 */

/** Keys of a session's server-side data, as Synapse names them. */
export const SESSION_DATA = {
  passwordHash: "password_hash",
  registeredUserId: "registered_user_id",
  requestUserId: "request_user_id",
  registrationToken: "m.login.registration_token",
} as const;

const SESSION_LIFETIME_MS = 48 * 3_600_000;
const SESSION_ID_LENGTH = 24;
/** Keys that are never written into a session, whatever the request (CVE-2023-41335). */
const SECRET_KEYS: ReadonlySet<string> = new Set(["auth", "password", "new_password"]);

/** What of an HTTP request the authentication looks at. */
export interface InteractiveRequest {
  readonly body: JsonObject;
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly ip: string;
  readonly userAgent: string;
}

export interface InteractiveOptions {
  /** What the user agrees to: "remove a device from your account". */
  readonly description: string;
  /** Flows of stages; undefined: the ways in which the requester can prove who they are. */
  readonly flows?: readonly (readonly string[])[] | undefined;
  /** A proof within `ui_auth.session_timeout` counts for this request too. */
  readonly recentProofCounts?: boolean;
}

export interface InteractiveResult {
  /** Results by stage. */
  readonly results: ReadonlyMap<string, Json>;
  /** The body, without secrets; that of the first request where a later one holds nothing but `auth`. */
  readonly params: JsonObject;
  /** undefined where an earlier proof counted. */
  readonly sessionId: string | undefined;
}

/** 401 with the flows that are open: not an error, but the next step. */
export class AuthenticationIncomplete extends MatrixError {
  override name = "AuthenticationIncomplete";
  constructor(
    readonly sessionId: string,
    readonly result: JsonObject,
  ) {
    super(401, "M_UNAUTHORIZED", "Interactive authentication is not complete");
  }
  override body(): Record<string, unknown> {
    return this.result;
  }
}

/**
 * Passes when the user has proved who they are, with this request's `auth`, as part of its session.
 * @throws AuthenticationIncomplete 401 with session, flows and params; MatrixError 400, 403, 429
 */
export async function requireInteractiveAuth(
  ctx: Context,
  requester: Requester | undefined,
  request: InteractiveRequest,
  options: InteractiveOptions,
): Promise<InteractiveResult> {
  if (options.flows !== undefined || requester === undefined) return await passFlows(ctx, request, options.flows ?? [], options.description, {});
  const type = ((request.body["auth"] ?? {}) as JsonObject)["type"] ?? undefined;
  if (type !== undefined && typeof type !== "string") throw badJson("auth.type must be a string");
  if (requester.accessTokenId === undefined) throw forbidden("This account has no way to authenticate");
  const { accessTokenId, userId } = requester;
  const timeout = ctx.config.auth.uiAuthSessionTimeoutMs;
  if (options.recentProofCounts === true && timeout > 0 && ctx.clock.now() - (await getLastValidated(ctx.read, accessTokenId)) < timeout) {
    return { results: new Map(), params: withoutSecrets(request.body), sessionId: undefined };
  }
  // Counted apart from failed logins, as in Synapse: a stranger who guesses at the door does not lock the user in.
  const limited = { requester };
  await ctx.limits.check("loginFailedAttempts", `uia:${userId}`, { ...limited, count: false });
  const types = await proofTypes(ctx, userId);
  let passed: InteractiveResult;
  try {
    passed = await passFlows(
      ctx,
      request,
      types.map((type) => [type]),
      options.description,
      { [SESSION_DATA.requestUserId]: userId },
    );
  } catch (error) {
    if (error instanceof AuthenticationIncomplete && error.result["errcode"] !== undefined)
      await ctx.limits.allows("loginFailedAttempts", `uia:${userId}`, limited);
    throw error;
  }
  const proven = types.map((type) => passed.results.get(type)).find((result) => result !== undefined);
  if (proven !== userId) throw forbidden("Invalid auth");
  await ctx.transaction("update_access_token_last_validated", (txn) => setLastValidated(txn, accessTokenId, ctx.clock.now()));
  return passed;
}

/** Notes that a stage was passed outside of the request: on a fallback page, at an identity provider. @throws LoginError, MatrixError 400 */
export async function completeStage(ctx: Context, stage: string, auth: JsonObject, ip: string): Promise<void> {
  const check = uiaStages(ctx).get(stage);
  if (check === undefined) throw new LoginError(400, "M_INVALID_PARAM", `Unknown UIA stage type: ${stage}`);
  const sessionId = sessionOf({ auth });
  if (sessionId === undefined) throw new LoginError(400, "M_MISSING_PARAM", "Missing session ID");
  const session = await openSession(ctx, sessionId);
  const result = await check(ctx, { auth, session, ip });
  await markStagePassed(ctx, sessionId, stage, result);
}

/** Writes a stage's result to the session. @throws MatrixError 400 when there is no such session */
export async function markStagePassed(ctx: Pick<Context, "transaction">, sessionId: string, stage: string, result: Json): Promise<void> {
  const known = await ctx.transaction("mark_ui_auth_stage_complete", (txn) => completeUiAuthStage(txn, sessionId, stage, result));
  if (!known) throw unknownSession(sessionId);
}

/** A value of the session's server-side data. @throws MatrixError 400 when there is no such session */
export async function getSessionData(ctx: Pick<Context, "read">, sessionId: string, key: string): Promise<Json | undefined> {
  return (await openSession(ctx, sessionId)).serverdict[key];
}

/** @throws MatrixError 400 when there is no such session */
export async function setSessionData(ctx: Pick<Context, "transaction">, sessionId: string, key: string, value: Json): Promise<void> {
  if (!(await ctx.transaction("set_ui_auth_session_data", (txn) => setUiAuthData(txn, sessionId, key, value)))) throw unknownSession(sessionId);
}

/** The session named in a request's `auth`. @throws MatrixError 400 for one that is no string */
export function sessionOf(body: JsonObject): string | undefined {
  const auth = body["auth"] ?? {};
  if (!isJsonObject(auth)) throw badJson("auth must be an object");
  const session = auth["session"] ?? undefined;
  if (session !== undefined && typeof session !== "string") throw badJson("auth.session must be a string");
  return session === "" ? undefined : session;
}

/** The session of that id. @throws MatrixError 400 when there is none */
export async function openSession(ctx: Pick<Context, "read">, sessionId: string): Promise<UiAuthSession> {
  const session = sessionId.includes("\0") ? undefined : await getUiAuthSession(ctx.read, sessionId);
  if (session === undefined) throw unknownSession(sessionId);
  return session;
}

/** Deletes sessions older than 48 hours, and passwords that an old Synapse left in younger ones; called every five minutes. */
export async function expireSessions(ctx: Pick<Context, "clock" | "transaction">): Promise<void> {
  await ctx.transaction("delete_old_ui_auth_sessions", async (txn) => {
    await deleteOldUiAuthSessions(txn, ctx.clock.now() - SESSION_LIFETIME_MS);
    await purgePasswordsFromUiAuthSessions(txn);
  });
}

async function passFlows(
  ctx: Context,
  request: InteractiveRequest,
  flows: readonly (readonly string[])[],
  description: string,
  data: JsonObject,
): Promise<InteractiveResult> {
  const sessionId = sessionOf(request.body);
  const auth = (request.body["auth"] ?? {}) as JsonObject;
  let params = withoutSecrets(request.body);
  let session: UiAuthSession;
  if (sessionId === undefined) {
    session = { sessionId: ctx.random.letters(SESSION_ID_LENGTH), clientdict: params, serverdict: data, uri: request.url, method: request.method, description };
  } else {
    session = await openSession(ctx, sessionId);
    if (Object.keys(params).length === 0) params = session.clientdict;
    if (session.uri !== request.url || session.method !== request.method)
      throw forbidden("Requested operation has changed during the UI authentication session.");
    const owner = session.serverdict[SESSION_DATA.requestUserId];
    // A session that one user began never serves another.
    if (owner !== data[SESSION_DATA.requestUserId]) throw forbidden("Requested operation has changed during the UI authentication session.");
  }
  await ctx.transaction("ui_auth_session", async (txn) => {
    if (sessionId === undefined) await insertUiAuthSession(txn, session, ctx.clock.now());
    else await setUiAuthClientdict(txn, session.sessionId, params);
    await addUiAuthClient(txn, session.sessionId, request.userAgent.replaceAll("\0", ""), request.ip);
  });
  if (Object.keys(auth).length === 0) throw new AuthenticationIncomplete(session.sessionId, openFlows(ctx, flows, session.sessionId));
  let failure: JsonObject = {};
  if (auth["type"] !== undefined && auth["type"] !== null) {
    try {
      await tryStage(ctx, session, auth, request.ip);
    } catch (error) {
      if (!(error instanceof LoginError)) throw error;
      failure = error.body() as JsonObject;
    }
  }
  const results = await getCompletedUiAuthStages(ctx.read, session.sessionId);
  if (flows.some((flow) => flow.every((stage) => results.has(stage)))) return { results, params, sessionId: session.sessionId };
  throw new AuthenticationIncomplete(session.sessionId, { ...openFlows(ctx, flows, session.sessionId), completed: [...results.keys()], ...failure });
}

async function tryStage(ctx: Context, session: UiAuthSession, auth: JsonObject, ip: string): Promise<void> {
  const { type } = auth;
  if (typeof type !== "string") throw invalidParam("Bad parameter: type");
  const check = uiaStages(ctx).get(type);
  const result = check === undefined ? (await checkCredentials(ctx, auth, { reauth: true })).userId : await check(ctx, { auth, session, ip });
  await markStagePassed(ctx, session.sessionId, type, result);
}

/** How a user can prove who they are: by password where there is one, through modules, through their identity provider. */
async function proofTypes(ctx: Context, userId: string): Promise<string[]> {
  const { passwordLocaldbEnabled, passwordEnabledForReauth } = ctx.config.auth;
  const types = new Set<string>();
  if (passwordLocaldbEnabled && passwordEnabledForReauth && (await findAccount(ctx, userId))?.passwordHash) types.add("m.login.password");
  for (const type of ctx.accountHooks.passwordProviders.flatMap(({ loginTypes }) => Object.keys(loginTypes))) {
    if (type !== "m.login.password" || passwordEnabledForReauth) types.add(type);
  }
  if ((await ctx.accountHooks.identityProvidersOf?.(ctx, userId))?.length) types.add("m.login.sso");
  return [...types];
}

function openFlows(ctx: Context, flows: readonly (readonly string[])[], sessionId: string): JsonObject {
  return { session: sessionId, flows: flows.map((stages) => ({ stages: [...stages] })), params: stageParams(ctx, flows) };
}

function withoutSecrets(body: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(body).filter(([key]) => !SECRET_KEYS.has(key)));
}

const unknownSession = (sessionId: string): MatrixError => new MatrixError(400, "M_UNKNOWN", `Unknown session ID: ${sessionId}`);
