import type { Context } from "../context.ts";
import { returnToClient } from "../sso/complete-login.ts";
import type { ModuleResponse } from "./web-resources.ts";

/** What a module that signs users in by ways of its own answers their browser with: the way back to the client, with a login token. */
export async function ssoLoginResponse(
  ctx: Context,
  login: { readonly userId: string; readonly clientRedirectUrl: string; readonly isNew: boolean; readonly providerId: string },
): Promise<ModuleResponse> {
  const answer = await returnToClient(ctx, { ...login, providerSessionId: undefined });
  if ("location" in answer) return { status: 302, headers: { Location: answer.location } };
  return { status: answer.status, headers: { ...answer.headers, "Content-Type": "text/html; charset=utf-8" }, body: answer.html };
}
