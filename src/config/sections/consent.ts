import { statSync } from "node:fs";
import type { ConfigReader, ParseContext } from "../reader.ts";

/** Terms that users must accept (`consent`). */
export type ConsentConfig = ReturnType<typeof parseConsent>;

export function parseConsent(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("user_consent");
  const configured = !raw.isEmpty;
  const version = raw.text("version");
  const templateDir = raw.filePath("template_dir", ctx);
  const serverNoticeContent = raw.rawObject("server_notice_content");
  const config = {
    /** undefined: no terms. */
    version,
    templateDir,
    /** Content of the notice; %(consent_uri)s in its body stands for the link. */
    serverNoticeContent,
    serverNoticeToGuests: raw.boolean("send_server_notice_to_guests", false),
    /** The error for users who have not agreed; undefined: they may send. %(consent_uri)s stands for the link. */
    blockEventsError: raw.string("block_events_error"),
    requireAtRegistration: raw.boolean("require_at_registration", false),
    policyName: raw.string("policy_name", "Privacy Policy"),
  };
  if (!configured) return config;
  if (version === undefined) throw raw.wrong("version", "a version of the terms (the option is required)");
  if (templateDir === undefined || !statSync(templateDir, { throwIfNoEntry: false })?.isDirectory()) {
    throw raw.wrong("template_dir", "a directory with the templates of the terms (the option is required)");
  }
  return config;
}
