import { MatrixError } from "../../protocol/errors.ts";
import { localpartOf } from "../../protocol/ids.ts";
import { consentUri } from "../accounts/consent-links.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";

/**
 * Where the config has a `block_events_error`, users who have not agreed to the terms may not send. Exempt are appservices and their users,
 * support and bot accounts, and the user of server notices.
 * @throws MatrixError 403 M_CONSENT_NOT_GIVEN with `consent_uri`
 */
export async function requireConsent(ctx: Pick<Context, "accounts" | "config">, requester: Requester): Promise<void> {
  const { consent, serverNotices } = ctx.config;
  const userId = requester.authenticatedEntity;
  if (consent.blockEventsError === undefined || requester.appserviceId !== undefined || !userId.startsWith("@") || userId === serverNotices.userId) return;
  const user = await ctx.accounts.user(userId);
  if (user === undefined || user.userType === "support" || user.userType === "bot" || user.appserviceId !== null || user.consentVersion === consent.version)
    return;
  const uri = consentUri(ctx, localpartOf(userId));
  throw new MatrixError(403, "M_CONSENT_NOT_GIVEN", consent.blockEventsError.replaceAll("%(consent_uri)s", uri), { consent_uri: uri });
}
