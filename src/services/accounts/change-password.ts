import type { JsonObject } from "../../lib/json.ts";
import { isJsonObject } from "../../lib/json.ts";
import { badJson, forbidden, MatrixError, missingParam, notFound } from "../../protocol/errors.ts";
import { setPasswordHash } from "../../storage/accounts/users.ts";
import { getUserOfThreepid } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { validEmail } from "./identifiers.ts";
import { checkPasswordPolicy, hashPassword } from "./passwords.ts";
import { endAllSessions } from "./sessions.ts";
import {
  AuthenticationIncomplete,
  getSessionData,
  type InteractiveRequest,
  type InteractiveResult,
  requireInteractiveAuth,
  SESSION_DATA,
  sessionOf,
  setSessionData,
} from "./uia.ts";

const DESCRIPTION = "modify your account password";
const MAX_PASSWORD = 512;

/** Whether users can have passwords in this server's table and log in by them. */
export function canChangePassword(ctx: Pick<Context, "config">): boolean {
  return ctx.config.auth.passwordEnabledForLogin && ctx.config.auth.passwordLocaldbEnabled;
}

/**
 * `POST /account/password`: of the requester, or of whoever proves to own the e-mail address of an account. The new password is hashed
 * with the request that brings it, and never written down (CVE-2023-41335).
 * @throws AuthenticationIncomplete 401; MatrixError 400, 403, 404
 */
export async function changePassword(ctx: Context, requester: Requester | undefined, request: InteractiveRequest): Promise<void> {
  const password = readPassword(ctx, request.body);
  const logoutDevices = request.body["logout_devices"];
  if (logoutDevices !== undefined && typeof logoutDevices !== "boolean") throw badJson("logout_devices must be true or false");
  const sessionId = sessionOf(request.body);
  let passed: InteractiveResult;
  try {
    const flows = requester === undefined ? { flows: resetFlows(ctx) } : {};
    passed = await requireInteractiveAuth(ctx, requester, request, { description: DESCRIPTION, ...flows });
  } catch (error) {
    if (error instanceof AuthenticationIncomplete && password !== undefined && (await storedHash(ctx, error.sessionId)) === undefined) {
      await setSessionData(ctx, error.sessionId, SESSION_DATA.passwordHash, await hashPassword(ctx, password));
    }
    throw error;
  }
  const userId = requester?.userId ?? (await ownerOfThreepid(ctx, passed));
  const hash = password === undefined ? (sessionId === undefined ? undefined : await storedHash(ctx, sessionId)) : await hashPassword(ctx, password);
  if (hash === undefined) throw missingParam("Missing params: password");
  await setPassword(ctx, userId, hash, { logoutDevices: passed.params["logout_devices"] !== false, except: requester });
}

/**
 * Stores a new hash; with `logoutDevices` all sessions end but the one of `except`.
 * @throws MatrixError 403 M_FORBIDDEN where passwords cannot be changed, 404 M_NOT_FOUND for an unknown user
 */
export async function setPassword(
  ctx: Context,
  userId: string,
  hash: string,
  options: { logoutDevices: boolean; except?: Requester | undefined },
): Promise<void> {
  if (!canChangePassword(ctx)) throw forbidden("Password change disabled");
  await ctx.transaction("set_password", async (txn) => {
    if (!(await setPasswordHash(txn, ctx.accounts, userId, hash))) throw notFound("Unknown user");
    if (options.logoutDevices) await endAllSessions(ctx, txn, userId, options.except);
  });
}

function readPassword(ctx: Context, body: JsonObject): string | undefined {
  const password = body["new_password"] ?? undefined;
  if (password === undefined || password === "") return undefined;
  if (typeof password !== "string" || [...password].length > MAX_PASSWORD) throw badJson("new_password must be a string of at most 512 characters");
  checkPasswordPolicy(ctx, password);
  return password;
}

async function storedHash(ctx: Context, sessionId: string): Promise<string | undefined> {
  const hash = await getSessionData(ctx, sessionId, SESSION_DATA.passwordHash);
  return typeof hash === "string" ? hash : undefined;
}

/** Without a token: by an e-mail address or, where this server sends codes itself, a phone number of the account. */
function resetFlows(ctx: Pick<Context, "config">): string[][] {
  return [["m.login.email.identity"], ...(ctx.config.myelin.sms === undefined ? [] : [["m.login.msisdn"]])];
}

async function ownerOfThreepid(ctx: Context, { results }: InteractiveResult): Promise<string> {
  const threepid = results.get("m.login.email.identity") ?? results.get("m.login.msisdn");
  if (!isJsonObject(threepid) || typeof threepid["medium"] !== "string" || typeof threepid["address"] !== "string")
    throw new MatrixError(500, "M_UNKNOWN", "Malformed threepid");
  const { medium, address } = threepid;
  const owner = await getUserOfThreepid(ctx.read, medium as string, medium === "email" ? validEmail(address as string) : (address as string));
  if (owner === undefined) throw notFound("Email address not found");
  return owner;
}
