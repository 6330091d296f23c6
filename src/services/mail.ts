import type { EmailSubject } from "../config/sections/emailconfig.ts";
import { percentFormat } from "../lib/percent-format.ts";
import type { Context } from "./context.ts";

export type MailContext = Pick<Context, "config" | "mail" | "metrics" | "templates">;

/** A mail made from an HTML and a text template. */
export interface TemplateMail {
  readonly to: string;
  readonly subject: string;
  readonly html: string;
  readonly text: string;
  /** Values for the templates beside `app_name` and `server_name`. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** What the mail calls the service; undefined: `email.app_name`. */
  readonly appName?: string;
  /** Where the recipient turns such mails off (RFC 2369, RFC 8058). */
  readonly unsubscribeLink?: string;
}

/** Renders and sends a mail; `type` is its kind in the metrics. @throws Error when it cannot be sent */
export async function sendTemplateMail(ctx: MailContext, type: string, mail: TemplateMail): Promise<void> {
  const { email, server } = ctx.config;
  if (ctx.mail === undefined) throw new Error("This server sends no mails");
  const appName = mail.appName ?? email.appName;
  const values = { app_name: appName, server_name: server.serverName, ...mail.values };
  const headers: Record<string, string> =
    mail.unsubscribeLink === undefined ? {} : { "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "List-Unsubscribe": `<${mail.unsubscribeLink}>` };
  ctx.metrics.mailSent(type);
  await ctx.mail.send({
    to: mail.to,
    appName,
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
