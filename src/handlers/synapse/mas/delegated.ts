import type { Config } from "../../../config/config.ts";
import { notFound } from "../../../protocol/errors.ts";
import type { Context } from "../../../services/context.ts";
import type { User } from "../../../storage/accounts/users.ts";

/** These routes exist where accounts are delegated. */
export const when = (config: Config): boolean => config.mas.enabled;

/** The account of a localpart. @throws MatrixError 404 M_NOT_FOUND */
export async function userOf(ctx: Pick<Context, "accounts" | "config">, localpart: string): Promise<User> {
  const user = localpart.includes("\0") ? undefined : await ctx.accounts.user(`@${localpart}:${ctx.config.server.serverName}`);
  if (user === undefined) throw notFound("User not found");
  return user;
}
