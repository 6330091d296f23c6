import type { ConfigReader, ParseContext } from "../reader.ts";

/** Sending mail (`email`). */
export type EmailConfig = ReturnType<typeof parseEmail>;

const SUBJECTS = {
  message_from_person_in_room: "[%(app)s] You have a message on %(app)s from %(person)s in the %(room)s room...",
  message_from_person: "[%(app)s] You have a message on %(app)s from %(person)s...",
  messages_from_person: "[%(app)s] You have messages on %(app)s from %(person)s...",
  messages_in_room: "[%(app)s] You have messages on %(app)s in the %(room)s room...",
  messages_in_room_and_others: "[%(app)s] You have messages on %(app)s in the %(room)s room and others...",
  messages_from_person_and_others: "[%(app)s] You have messages on %(app)s from %(person)s and others...",
  invite_from_person: "[%(app)s] %(person)s has invited you to chat on %(app)s...",
  invite_from_person_to_room: "[%(app)s] %(person)s has invited you to join the %(room)s room on %(app)s...",
  invite_from_person_to_space: "[%(app)s] %(person)s has invited you to join the %(space)s space on %(app)s...",
  password_reset: "[%(server_name)s] Password reset",
  email_validation: "[%(server_name)s] Validate your email",
  email_already_in_use: "[%(server_name)s] Email already in use",
} as const;
export type EmailSubject = keyof typeof SUBJECTS;

export function parseEmail(root: ConfigReader, ctx: ParseContext) {
  const raw = root.object("email");
  if (root.boolean("trust_identity_server_for_password_resets", false)) {
    throw root.error("trust_identity_server_for_password_resets", "no longer exists; remove it");
  }
  const forceTls = raw.boolean("force_tls", false);
  const enableTls = raw.boolean("enable_tls", true);
  const requireTransportSecurity = raw.boolean("require_transport_security", false);
  if (forceTls && !enableTls) throw raw.error("force_tls", "needs email.enable_tls");
  if (requireTransportSecurity && !enableTls) throw raw.error("require_transport_security", "needs email.enable_tls");
  const enableNotifs = raw.boolean("enable_notifs", false);
  const notifFrom = raw.string("notif_from");
  if (notifFrom !== undefined && notifFrom.trim() === "") throw raw.wrong("notif_from", 'a sender such as "%(app)s <noreply@example.org>"');
  const canVerifyEmail = !raw.isEmpty;
  if (canVerifyEmail && !notifFrom) throw raw.wrong("notif_from", "the sender of mails, since there is an email section");
  return {
    /** Mails can be sent at all. */
    canVerifyEmail,
    smtpHost: raw.string("smtp_host", "localhost"),
    smtpPort: raw.port("smtp_port", forceTls ? 465 : 25),
    smtpUser: raw.string("smtp_user"),
    smtpPass: raw.string("smtp_pass"),
    /** TLS from the first byte. */
    forceTls,
    /** STARTTLS must succeed. */
    requireTransportSecurity,
    /** STARTTLS is used where offered. */
    enableTls,
    /** The name that the certificate must have; undefined: smtpHost. */
    tlsName: raw.string("tlsname"),
    appName: raw.string("app_name", "Matrix"),
    /** May hold %(app)s. */
    notifFrom,
    enableNotifs,
    notifForNewUsers: raw.boolean("notif_for_new_users", true),
    clientBaseUrl: raw.string("client_base_url") ?? raw.string("riot_base_url"),
    notifDelayBeforeMailMs: raw.duration("notif_delay_before_mail", "10m"),
    validationTokenLifetimeMs: raw.duration("validation_token_lifetime", "1h"),
    inviteClientLocation: parseInviteLocation(raw),
    /** %-formatted with app, person, room, space, server_name. */
    subjects: parseSubjects(raw.object("subjects")),
    templateDir: raw.filePath("template_dir", ctx),
    templates: parseTemplates(raw),
  };
}

function parseInviteLocation(raw: ConfigReader): string | undefined {
  const location = raw.string("invite_client_location");
  if (location && !/^https?:\/\//.test(location)) throw raw.wrong("invite_client_location", "an http or https URL");
  return location || undefined;
}

function parseSubjects(raw: ConfigReader): Record<EmailSubject, string> {
  return Object.fromEntries(Object.entries(SUBJECTS).map(([key, text]) => [key, raw.string(key, text)])) as Record<EmailSubject, string>;
}

/** File names of the templates. */
function parseTemplates(raw: ConfigReader) {
  return {
    notifHtml: raw.string("notif_template_html", "notif_mail.html"),
    notifText: raw.string("notif_template_text", "notif_mail.txt"),
    passwordResetHtml: raw.string("password_reset_template_html", "password_reset.html"),
    passwordResetText: raw.string("password_reset_template_text", "password_reset.txt"),
    passwordResetFailureHtml: raw.string("password_reset_template_failure_html", "password_reset_failure.html"),
    passwordResetSuccessHtml: raw.string("password_reset_template_success_html", "password_reset_success.html"),
    passwordResetConfirmationHtml: "password_reset_confirmation.html",
    registrationHtml: raw.string("registration_template_html", "registration.html"),
    registrationText: raw.string("registration_template_text", "registration.txt"),
    registrationFailureHtml: raw.string("registration_template_failure_html", "registration_failure.html"),
    registrationSuccessHtml: raw.string("registration_template_success_html", "registration_success.html"),
    alreadyInUseHtml: raw.string("already_in_use_template_html", "already_in_use.html"),
    // The same option as for the HTML form, as Synapse.
    alreadyInUseText: raw.string("already_in_use_template_html", "already_in_use.txt"),
    addThreepidHtml: raw.string("add_threepid_template_html", "add_threepid.html"),
    addThreepidText: raw.string("add_threepid_template_text", "add_threepid.txt"),
    addThreepidFailureHtml: raw.string("add_threepid_template_failure_html", "add_threepid_failure.html"),
    addThreepidSuccessHtml: raw.string("add_threepid_template_success_html", "add_threepid_success.html"),
    expiryHtml: raw.string("expiry_template_html", "notice_expiry.html"),
    expiryText: raw.string("expiry_template_text", "notice_expiry.txt"),
  };
}
