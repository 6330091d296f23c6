import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { pythonMatcher } from "../../lib/python-regexp.ts";
import { MatrixError, missingParam } from "../../protocol/errors.ts";
import { useRegistrationToken } from "../../storage/accounts/registration-tokens.ts";
import { completeUiAuthStage, getUiAuthClients } from "../../storage/accounts/ui-auth-sessions.ts";
import { upsertMonthlyActive } from "../../storage/accounts/monthly-active-users.ts";
import { getUserOfThreepid } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";
import { isReserved } from "./blocking.ts";
import { canonicalEmail } from "./identifiers.ts";
import { checkPasswordPolicy, hashPassword } from "./passwords.ts";
import { giveConsent, registerUser } from "./register.ts";
import { registrationFlows } from "./registration-flows.ts";
import { AuthenticationIncomplete, getSessionData, type InteractiveRequest, requireInteractiveAuth, SESSION_DATA, sessionOf, setSessionData } from "./uia.ts";
import { checkUsername } from "./usernames.ts";

const MAX_LENGTH = 512;

interface Threepid {
  readonly medium: string;
  readonly address: string;
}

/** An account made through the stages of a flow. `finish` is called when its first session is made (or is not asked for). */
export interface InteractiveRegistration {
  readonly userId: string;
  /** The body of the first request. */
  readonly params: JsonObject;
  finish(accessToken: string | undefined): Promise<void>;
}

/**
 * `POST /register` of a new user: the name is checked at once, the password is hashed at once and never written down, the account is
 * made when a flow is complete. The session remembers the account: a repeated request gives the same one.
 * @throws AuthenticationIncomplete 401; MatrixError 400, 403, 429
 */
export async function registerInteractively(ctx: Context, request: InteractiveRequest): Promise<InteractiveRegistration> {
  const { registration } = ctx.config;
  const body = { ...request.body };
  const password = readPassword(ctx, body);
  delete body["password"];
  if (password === undefined) delete body["initial_device_display_name"]; // of use only with the request that logs in
  const known = await sessionState(ctx, sessionOf(body));
  const wanted = readUsername(body);
  if (wanted !== undefined) {
    await checkUsername(ctx, wanted, {
      guestToken: guestToken(body),
      assignedUserId: known.registeredUserId,
      inhibitInUse: registration.inhibitUserInUseError,
    });
  }
  let passed;
  try {
    passed = await requireInteractiveAuth(
      ctx,
      undefined,
      { ...request, body },
      { description: "register a new account", flows: registrationFlows(ctx.config) },
    );
  } catch (error) {
    if (error instanceof AuthenticationIncomplete && password !== undefined && known.passwordHash === undefined) {
      await setSessionData(ctx, error.sessionId, SESSION_DATA.passwordHash, await hashPassword(ctx, password));
    }
    throw error;
  }
  const { params, results } = passed;
  const sessionId = passed.sessionId!;
  if (known.registeredUserId !== undefined) return { userId: known.registeredUserId, params, finish: () => Promise.resolve() };

  const threepids = ["m.login.email.identity", "m.login.msisdn"].map((stage) => results.get(stage)).filter((result) => isJsonObject(result)) as JsonObject[];
  for (const threepid of threepids) await checkThreepid(ctx, threepid);
  const email = threepids.find(({ medium }) => medium === "email") as (JsonObject & Threepid) | undefined;
  const passwordHash = password === undefined ? known.passwordHash : await hashPassword(ctx, password);
  if (passwordHash === undefined) throw missingParam("Missing params: password");
  const { passwordAuth } = ctx.modules;
  const proven = Object.fromEntries(results);
  const userId = await registerUser(ctx, {
    localpart: (await passwordAuth.usernameFor(proven, params))?.toLowerCase() ?? readUsername(params),
    displayName: await passwordAuth.displayNameFor(proven, params),
    passwordHash,
    guestToken: guestToken(params),
    threepid: email,
    ip: request.ip,
    clients: await getUiAuthClients(ctx.read, sessionId),
  });
  await setSessionData(ctx, sessionId, SESSION_DATA.registeredUserId, userId);
  return {
    userId,
    params,
    async finish(accessToken) {
      const token = await getSessionData(ctx, sessionId, SESSION_DATA.registrationToken);
      if (typeof token === "string" && token !== "") {
        await ctx.transaction("use_registration_token", async (txn) => {
          await useRegistrationToken(txn, token);
          // Not the token itself any more, or the end of the session would give it back.
          await completeUiAuthStage(txn, sessionId, "m.login.registration_token", true);
        });
      }
      if (email !== undefined && isReserved(ctx, email)) {
        await ctx.transaction("upsert_monthly_active_user", async (txn) => {
          txn.afterCommit(() => ctx.monthlyActive.forget(userId));
          await upsertMonthlyActive(txn, [userId], ctx.clock.now());
        });
      }
      for (const threepid of threepids) await ctx.accountHooks.addThreepid?.(ctx, userId, threepid, accessToken);
      const { version } = ctx.config.consent;
      if (results.has("m.login.terms") && version !== undefined) await giveConsent(ctx, userId, version);
    },
  };
}

async function sessionState(ctx: Context, sessionId: string | undefined): Promise<{ registeredUserId: string | undefined; passwordHash: string | undefined }> {
  if (sessionId === undefined) return { registeredUserId: undefined, passwordHash: undefined };
  const text = async (key: string): Promise<string | undefined> => {
    const value = await getSessionData(ctx, sessionId, key);
    return typeof value === "string" ? value : undefined;
  };
  return { registeredUserId: await text(SESSION_DATA.registeredUserId), passwordHash: await text(SESSION_DATA.passwordHash) };
}

/** The localpart that the client asks for, in lower case. @throws MatrixError 400 */
export function readUsername(body: JsonObject): string | undefined {
  const { username } = body;
  if (username === undefined) return undefined;
  if (typeof username !== "string" || username.length > MAX_LENGTH) throw new MatrixError(400, "M_UNKNOWN", "Invalid username");
  return username.toLowerCase();
}

function readPassword(ctx: Context, body: JsonObject): string | undefined {
  const password = body["password"] ?? undefined;
  if (password === undefined) return undefined;
  if (typeof password !== "string" || password.length > MAX_LENGTH) throw new MatrixError(400, "M_UNKNOWN", "Invalid password");
  checkPasswordPolicy(ctx, password);
  return password;
}

function guestToken(body: JsonObject): string | undefined {
  const token = body["guest_access_token"] ?? undefined;
  if (token !== undefined && typeof token !== "string") throw new MatrixError(400, "M_INVALID_PARAM", "Invalid guest_access_token");
  return token;
}

/** @throws MatrixError 403 M_THREEPID_DENIED, 400 M_THREEPID_IN_USE */
async function checkThreepid(ctx: Context, threepid: JsonObject): Promise<void> {
  const medium = String(threepid["medium"]);
  const address = String(threepid["address"]);
  if (!(await threepidAllowed(ctx, medium, address, true)))
    throw new MatrixError(403, "M_THREEPID_DENIED", "Third party identifiers (email/phone numbers) are not authorized on this server");
  const owner = await getUserOfThreepid(ctx.read, medium, medium === "email" ? canonicalEmail(address) : address);
  if (owner !== undefined) throw new MatrixError(400, "M_THREEPID_IN_USE", `${medium} is already in use`);
}

/** Whether `allowed_local_3pids` and modules let users of this server have the 3PID; `registering`: for a new account. */
export async function threepidAllowed(ctx: Context, medium: string, address: string, registering: boolean): Promise<boolean> {
  const rules = ctx.config.registration.allowedLocal3pids;
  if (rules.length > 0 && !rules.some((rule) => rule.medium === medium && pythonMatcher(rule.pattern).test(address))) return false;
  if (!(await ctx.modules.passwordAuth.isThreepidAllowed(medium, address, registering))) return false;
  for (const hook of ctx.accountHooks.judgeThreepid) if (!(await hook(ctx, { medium, address, registration: registering }))) return false;
  return true;
}
