import type { ConfigReader, ParseContext } from "../reader.ts";

/** Push notifications (`push`). */
export type PushConfig = ReturnType<typeof parsePush>;

export function parsePush(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("push");
  if (raw.raw("redact_content") !== undefined) ctx.notice("push.redact_content has never worked; use push.include_content");
  const email = root.object("email");
  const redact = email.has("redact_content") ? email.boolean("redact_content", false) : undefined;
  const includeContent = raw.boolean("include_content", true);
  if (redact !== undefined) ctx.notice("email.redact_content is deprecated; use push.include_content");
  return {
    enabled: raw.boolean("enabled", true),
    /** Notifications carry the message, not only the event id. */
    includeContent: redact === undefined ? includeContent : !redact,
    /** The badge counts rooms, not messages. */
    groupUnreadCountByRoom: raw.boolean("group_unread_count_by_room", true),
    /** Pushes are delayed by a random time up to this. */
    jitterDelayMs: raw.duration("jitter_delay", 0),
  };
}
