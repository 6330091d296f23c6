import type { JsonObject } from "../../lib/json.ts";
import { invalidParam } from "../../protocol/errors.ts";
import { getDomain, parseUserId } from "../../protocol/ids.ts";
import { getAccountExpiries } from "../../storage/accounts/deactivations.ts";
import { getUsers } from "../../storage/accounts/users.ts";
import type { Context } from "../context.ts";

/**
 * Whether accounts exist and are open (MSC3720), of this server and others.
 * @throws MatrixError 400 M_INVALID_PARAM
 */
export async function accountStatuses(
  ctx: Context,
  userIds: readonly string[],
  options: { allowRemote: boolean },
): Promise<{ statuses: JsonObject; failures: string[] }> {
  const local: string[] = [];
  const remote = new Map<string, string[]>();
  for (const userId of new Set(userIds)) {
    if (parseUserId(userId) === undefined || userId.includes("\0")) throw invalidParam(`Not a valid Matrix user ID: ${userId}`);
    const domain = getDomain(userId);
    if (domain === ctx.config.server.serverName) local.push(userId);
    else if (!options.allowRemote) throw invalidParam(`Not a local user: ${userId}`);
    else remote.set(domain, [...(remote.get(domain) ?? []), userId]);
  }
  const statuses: JsonObject = {};
  const failures: string[] = [];
  const withExpiry = ctx.config.server.useAccountValidityInAccountStatus;
  const [users, expiries] = await Promise.all([getUsers(ctx.read, local), withExpiry ? getAccountExpiries(ctx.read, local) : new Map<string, number>()]);
  for (const userId of local) {
    const user = users.get(userId);
    if (user === undefined) statuses[userId] = { exists: false };
    else
      statuses[userId] = {
        exists: true,
        deactivated: user.deactivated,
        ...(withExpiry
          ? { "org.matrix.expired": (await ctx.modules.accountValidity.isExpired(userId)) ?? ctx.clock.now() >= (expiries.get(userId) ?? Infinity) }
          : {}),
      };
  }
  const ask = ctx.accountHooks.remoteAccountStatuses;
  const answers = await Promise.all([...remote].map(async ([server, ids]) => (await ask?.(ctx, server, ids)) ?? { statuses: {}, failures: ids }));
  for (const answer of answers) {
    Object.assign(statuses, answer.statuses);
    failures.push(...answer.failures);
  }
  return { statuses, failures };
}
