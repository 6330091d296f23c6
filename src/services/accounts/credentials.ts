import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { findUsersIgnoringCase } from "../../storage/accounts/users.ts";
import { getUserOfThreepid } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";
import { readIdentifier } from "./identifiers.ts";
import { badCredentials, LoginError } from "./login-error.ts";
import { passwordMatches } from "./passwords.ts";

type CredentialContext = Pick<Context, "accountHooks" | "config" | "limits" | "log" | "read">;

/** Another source of passwords than the table: LDAP and other modules. */
export interface PasswordProvider {
  /** Login types that it checks, with the fields each needs beside the identifier. */
  readonly loginTypes: Readonly<Record<string, readonly string[]>>;
  /** The user id, with what to do when the login is complete; undefined when it does not know the user or refuses. */
  check(username: string, type: string, fields: JsonObject): Promise<CheckedLogin | undefined>;
  checkThreepid?(medium: string, address: string, password: string): Promise<CheckedLogin | undefined>;
}

export interface CheckedLogin {
  readonly userId: string;
  /** Called with the answer of the login, which it may extend. */
  readonly onLogin?: (answer: Record<string, unknown>) => Promise<void>;
}

/** Login types that take credentials, in the order in which the flows show them. */
export function credentialTypes(ctx: Pick<Context, "accountHooks" | "config">): string[] {
  const { passwordEnabledForLogin, passwordLocaldbEnabled } = ctx.config.auth;
  const types = new Set(ctx.accountHooks.passwordProviders.flatMap(({ loginTypes }) => Object.keys(loginTypes)));
  const password = passwordEnabledForLogin && (types.has("m.login.password") || passwordLocaldbEnabled);
  types.delete("m.login.password");
  return password ? ["m.login.password", ...types] : [...types];
}

/**
 * The user whose credentials these are. With `limited`, attempts that failed count against `rc_login.failed_attempts`.
 * @throws LoginError 403 M_FORBIDDEN; MatrixError 400 for what is no login at all, 429
 */
export async function checkCredentials(
  ctx: CredentialContext,
  submission: JsonObject,
  options: { limited?: boolean; reauth?: boolean } = {},
): Promise<CheckedLogin> {
  const { type, password } = submission;
  if (typeof type !== "string") throw invalidParam("Bad parameter: type");
  if (type === "m.login.password") {
    const { passwordEnabledForLogin, passwordEnabledForReauth } = ctx.config.auth;
    if (!(options.reauth ? passwordEnabledForReauth : passwordEnabledForLogin)) throw new MatrixError(400, "M_UNKNOWN", "Password login has been disabled.");
    if (typeof password !== "string") throw invalidParam("Bad parameter: password");
  }
  const identifier = readIdentifier(submission);
  let username: string;
  if (identifier.type === "user") {
    username = identifier.user;
  } else {
    const { medium, address } = identifier;
    const key = `${medium}\0${address}`;
    if (options.limited) await ctx.limits.check("loginFailedAttempts", key, { count: false });
    if (type === "m.login.password") {
      for (const provider of ctx.accountHooks.passwordProviders) {
        const checked = await provider.checkThreepid?.(medium, address, password as string);
        if (checked !== undefined) return checked;
      }
    }
    const owner = await getUserOfThreepid(ctx.read, medium, address);
    if (owner === undefined) {
      if (options.limited) await ctx.limits.allows("loginFailedAttempts", key);
      throw badCredentials();
    }
    username = owner;
  }
  const key = qualify(ctx, username).toLowerCase();
  if (options.limited) await ctx.limits.check("loginFailedAttempts", key, { count: false });
  try {
    return await checkUser(ctx, username, type, submission);
  } catch (error) {
    if (error instanceof LoginError && options.limited) await ctx.limits.allows("loginFailedAttempts", key);
    throw error;
  }
}

/**
 * The account that a user id names: the one of exactly that id, else the only one that differs but in case (ids of former days have
 * capitals).
 */
export async function findAccount(ctx: Pick<Context, "read">, userId: string): Promise<{ name: string; passwordHash: string | null } | undefined> {
  const candidates = await findUsersIgnoringCase(ctx.read, userId);
  return candidates.length === 1 ? candidates[0] : candidates.find(({ name }) => name === userId);
}

/** `name` or `@name:server` -> the full id. */
export function qualify(ctx: Pick<Context, "config">, username: string): string {
  return username.startsWith("@") ? username : `@${username}:${ctx.config.server.serverName}`;
}

async function checkUser(ctx: CredentialContext, username: string, type: string, submission: JsonObject): Promise<CheckedLogin> {
  let known = false;
  for (const provider of ctx.accountHooks.passwordProviders) {
    const { loginTypes } = provider;
    const fields = Object.hasOwn(loginTypes, type) ? loginTypes[type] : undefined;
    if (fields === undefined) continue;
    known = true;
    const missing = fields.filter((field) => submission[field] === undefined);
    if (missing.length > 0)
      throw new MatrixError(400, "M_UNKNOWN", `Missing parameters for login type ${type}: [${missing.map((field) => `'${field}'`).join(", ")}]`);
    const checked = await provider.check(username, type, Object.fromEntries(fields.map((field) => [field, submission[field]])));
    if (checked !== undefined) return checked;
  }
  if (type === "m.login.password" && ctx.config.auth.passwordLocaldbEnabled) {
    known = true;
    const account = await findAccount(ctx, qualify(ctx, username));
    if (account !== undefined && (await passwordMatches(ctx, submission["password"] as string, account.passwordHash))) return { userId: account.name };
  }
  if (!known) throw new MatrixError(400, "M_UNKNOWN", `Unknown login type ${type}`);
  throw badCredentials();
}
