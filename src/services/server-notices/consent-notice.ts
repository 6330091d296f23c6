import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { localpartOf } from "../../protocol/ids.ts";
import { setConsentNoticeSent } from "../../storage/accounts/users.ts";
import { consentUri } from "../accounts/consent-links.ts";
import type { Context } from "../context.ts";

/** Tells a user once about each version of the terms that they have not agreed to (`user_consent.server_notice_content`). */
export async function noticeOfTerms(ctx: Context, userId: string): Promise<void> {
  const { serverNoticeContent, serverNoticeToGuests, version } = ctx.config.consent;
  if (serverNoticeContent === undefined || version === undefined) return;
  const user = await ctx.accounts.user(userId);
  if (user === undefined || (user.isGuest && !serverNoticeToGuests)) return;
  if (user.consentVersion === version || user.consentServerNoticeSent === version) return;
  const content = withUri(serverNoticeContent as JsonObject, consentUri(ctx, localpartOf(userId)));
  await ctx.serverNotices.send(userId, { content });
  await ctx.transaction("user_set_consent_server_notice_sent", (txn) => setConsentNoticeSent(txn, ctx.accounts, userId, version));
}

/** `%(consent_uri)s` in all texts stands for the link. */
function withUri(content: JsonObject, uri: string): JsonObject {
  const filled = (value: Json): Json => {
    if (typeof value === "string") return value.replaceAll("%(consent_uri)s", uri);
    if (Array.isArray(value)) return value.map(filled);
    return isJsonObject(value) ? withUri(value, uri) : value;
  };
  return Object.fromEntries(Object.entries(content).map(([key, value]) => [key, filled(value ?? null)]));
}
