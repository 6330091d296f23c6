import type { EmailSubject } from "../../config/sections/emailconfig.ts";
import { percentFormat } from "../../lib/percent-format.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";

type MailContext = Pick<Context, "config" | "log" | "mail" | "metrics" | "templates">;

/** A mail made from an HTML and a text template. */
export interface TemplateMail {
  readonly to: string;
  readonly subject: string;
  readonly html: string;
  readonly text: string;
  /** Values for the templates beside `app_name` and `server_name`. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Where the recipient turns such mails off (RFC 2369, RFC 8058). */
  readonly unsubscribeLink?: string;
}

/** Renders and sends a mail; `type` is its kind in the metrics. @throws Error when it cannot be sent */
export async function sendTemplateMail(ctx: MailContext, type: string, mail: TemplateMail): Promise<void> {
  const { email, server } = ctx.config;
  if (ctx.mail === undefined) throw new Error("This server sends no mails");
  const values = { app_name: email.appName, server_name: server.serverName, ...mail.values };
  const headers: Record<string, string> =
    mail.unsubscribeLink === undefined ? {} : { "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "List-Unsubscribe": `<${mail.unsubscribeLink}>` };
  ctx.metrics.mailSent(type);
  await ctx.mail.send({
    to: mail.to,
    subject: mail.subject,
    html: ctx.templates.render(mail.html, values, email.templateDir),
    text: ctx.templates.render(mail.text, values, email.templateDir),
    headers,
  });
}

/** A subject of the config, filled in. */
export function subjectOf(ctx: Pick<Context, "config">, key: EmailSubject, values: Readonly<Record<string, string>> = {}): string {
  const { email, server } = ctx.config;
  return percentFormat(email.subjects[key], { app: email.appName, server_name: server.serverName, ...values });
}

/** What an address is verified for. */
export type EmailPurpose = "register" | "add_threepid" | "password_reset";

const LINKS: Readonly<
  Record<
    EmailPurpose,
    {
      type: string;
      path: string;
      subject: EmailSubject;
      html: "registrationHtml" | "addThreepidHtml" | "passwordResetHtml";
      text: "registrationText" | "addThreepidText" | "passwordResetText";
    }
  >
> = {
  register: {
    type: "registration",
    path: "_matrix/client/unstable/registration/email/submit_token",
    subject: "email_validation",
    html: "registrationHtml",
    text: "registrationText",
  },
  add_threepid: {
    type: "add_threepid",
    path: "_matrix/client/unstable/add_threepid/email/submit_token",
    subject: "email_validation",
    html: "addThreepidHtml",
    text: "addThreepidText",
  },
  password_reset: {
    type: "password_reset",
    path: "_synapse/client/password_reset/email/submit_token",
    subject: "password_reset",
    html: "passwordResetHtml",
    text: "passwordResetText",
  },
};

/** Sends the link by which an address is verified. @throws MatrixError 500 when the mail cannot be sent */
export async function sendValidationMail(
  ctx: MailContext,
  purpose: EmailPurpose,
  to: string,
  session: { token: string; clientSecret: string; sid: string },
): Promise<void> {
  const { type, path, subject, html, text } = LINKS[purpose];
  const { templates } = ctx.config.email;
  const query = new URLSearchParams({ token: session.token, client_secret: session.clientSecret, sid: session.sid });
  const link = `${ctx.config.server.publicBaseurl}${path}?${query.toString()}`;
  await orFail(ctx, sendTemplateMail(ctx, type, { to, subject: subjectOf(ctx, subject), html: templates[html], text: templates[text], values: { link } }));
}

/** Tells the owner of an address that somebody tried to register with it. @throws MatrixError 500 when the mail cannot be sent */
export async function sendAlreadyInUseMail(ctx: MailContext, to: string): Promise<void> {
  const { alreadyInUseHtml: html, alreadyInUseText: text } = ctx.config.email.templates;
  await orFail(ctx, sendTemplateMail(ctx, "already_in_use", { to, subject: subjectOf(ctx, "email_already_in_use"), html, text }));
}

async function orFail(ctx: Pick<Context, "log">, sending: Promise<void>): Promise<void> {
  try {
    await sending;
  } catch (error) {
    ctx.log.named("synapse.handlers.identity").error("Error sending threepid validation email", { error });
    throw new MatrixError(500, "M_UNKNOWN", "An error was encountered when sending the email");
  }
}
