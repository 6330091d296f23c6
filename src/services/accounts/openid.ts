import { insertOpenIdToken } from "../../storage/accounts/open-id-tokens.ts";
import type { Context } from "../context.ts";

const LIFETIME_MS = 3_600_000;
const TOKEN_LENGTH = 24;

/** A token for the federation's `/openid/userinfo`, good for an hour. */
export async function createOpenIdToken(
  ctx: Pick<Context, "clock" | "random" | "transaction">,
  userId: string,
): Promise<{ token: string; expiresInMs: number }> {
  const token = ctx.random.letters(TOKEN_LENGTH);
  await ctx.transaction("insert_open_id_token", (txn) => insertOpenIdToken(txn, token, ctx.clock.now() + LIFETIME_MS, userId));
  return { token, expiresInMs: LIFETIME_MS };
}
