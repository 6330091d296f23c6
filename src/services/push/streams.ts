import type { JsonObject } from "../../lib/json.ts";
import { pushRulesChangedBetween } from "../../storage/push/rules.ts";
import type { Context } from "../context.ts";

/** What /sync shows of push rules: all of them when they changed in (`since`, `upTo`], or with `since` undefined; else undefined. */
export async function pushRulesSince(
  ctx: Pick<Context, "read" | "changes" | "pushRules">,
  userId: string,
  since: number | undefined,
  upTo: number,
): Promise<JsonObject | undefined> {
  if (since !== undefined) {
    if (since >= upTo || !ctx.changes.pushRules.hasChanged(userId, since)) return undefined;
    if (!(await pushRulesChangedBetween(ctx.read, userId, since, upTo))) return undefined;
  }
  return await ctx.pushRules.forClient(userId);
}
