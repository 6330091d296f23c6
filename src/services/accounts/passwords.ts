import type * as Bcrypt from "@node-rs/bcrypt";
import { lazyModule } from "../../lib/lazy-module.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";

const bcrypt = lazyModule<typeof Bcrypt>("@node-rs/bcrypt");

type PasswordContext = Pick<Context, "config">;

const BCRYPT_BYTES = 72;
/** No password that anybody was allowed to set is as long; normalising megabytes would only cost time. */
const MAX_TRIED = 65_536;

/** The hash to store for a password: bcrypt over the NFKC form and the server's pepper, cut to 72 bytes (as Synapse). */
export async function hashPassword(ctx: PasswordContext, password: string): Promise<string> {
  return await bcrypt().hash(input(ctx, password), { cost: ctx.config.registration.bcryptRounds });
}

/** Whether the password is the one of the stored hash; an account without a hash has no right password. */
export async function passwordMatches(ctx: PasswordContext, password: string, stored: string | null): Promise<boolean> {
  if (stored === null || stored === "" || password.length > MAX_TRIED) return false;
  try {
    return await bcrypt().verify(input(ctx, password), stored);
  } catch {
    return false; // a hash that is no bcrypt hash matches nothing
  }
}

function input(ctx: PasswordContext, password: string): Buffer {
  return bcryptInput(password, ctx.config.auth.passwordPepper);
}

/** What bcrypt is given: the NFKC form and the pepper, cut to 72 bytes. */
export function bcryptInput(password: string, pepper: string): Buffer {
  return Buffer.from(password.normalize("NFKC") + pepper, "utf8").subarray(0, BCRYPT_BYTES);
}

/** All in terms of ASCII: a letter of another script counts as a symbol (as in Synapse). */
const POLICY_CHECKS = [
  { option: "requireDigit", key: "m.require_digit", pattern: /[0-9]/, errcode: "M_PASSWORD_NO_DIGIT", error: "The password must include at least one digit" },
  {
    option: "requireSymbol",
    key: "m.require_symbol",
    pattern: /[^a-zA-Z0-9]/,
    errcode: "M_PASSWORD_NO_SYMBOL",
    error: "The password must include at least one symbol",
  },
  {
    option: "requireUppercase",
    key: "m.require_uppercase",
    pattern: /[A-Z]/,
    errcode: "M_PASSWORD_NO_UPPERCASE",
    error: "The password must include at least one uppercase letter",
  },
  {
    option: "requireLowercase",
    key: "m.require_lowercase",
    pattern: /[a-z]/,
    errcode: "M_PASSWORD_NO_LOWERCASE",
    error: "The password must include at least one lowercase letter",
  },
] as const;

/** @throws MatrixError 400 with the errcode of the rule that the password breaks */
export function checkPasswordPolicy(ctx: PasswordContext, password: string): void {
  const policy = ctx.config.auth.passwordPolicy;
  if (!policy.enabled) return;
  if ([...password].length < policy.minimumLength) {
    throw new MatrixError(400, "M_PASSWORD_TOO_SHORT", `The password must be at least ${policy.minimumLength} characters long`);
  }
  for (const { option, pattern, errcode, error } of POLICY_CHECKS) {
    if (policy[option] && !pattern.test(password)) throw new MatrixError(400, errcode, error);
  }
}

/** The answer of `/password_policy`: the rules that hold, empty when the policy is off. */
export function passwordPolicy(ctx: PasswordContext): Record<string, unknown> {
  const policy = ctx.config.auth.passwordPolicy;
  if (!policy.enabled) return {};
  const rules: Record<string, unknown> = {};
  if (policy.minimumLength > 0) rules["m.minimum_length"] = policy.minimumLength;
  for (const { option, key } of POLICY_CHECKS) if (policy[option]) rules[key] = true;
  return rules;
}
