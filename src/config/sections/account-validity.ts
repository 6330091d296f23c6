import type { ConfigReader, ParseContext } from "../reader.ts";

/** Expiring accounts (`account_validity`). Durations in milliseconds. */
export type AccountValidityConfig = ReturnType<typeof parseAccountValidity>;

export function parseAccountValidity(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("account_validity");
  const enabled = raw.boolean("enabled", false);
  const periodMs = raw.duration("period");
  if (enabled && periodMs === undefined) throw raw.wrong("period", "a duration, since account_validity.enabled is true");
  return {
    enabled,
    periodMs,
    /** How long before the end a renewal mail is sent; undefined: no mails. */
    renewAtMs: raw.duration("renew_at"),
    renewByEmailEnabled: raw.has("renew_at"),
    renewEmailSubject: raw.string("renew_email_subject", "Renew your %(app)s account"),
    templateDir: raw.filePath("template_dir", ctx),
    accountRenewedHtml: raw.string("account_renewed_html_path", "account_renewed.html"),
    invalidTokenHtml: raw.string("invalid_token_html_path", "invalid_token.html"),
  };
}
