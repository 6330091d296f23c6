import type { EmailSubject } from "../../config/sections/emailconfig.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import { type MailContext as Mails, sendTemplateMail, subjectOf } from "../mail.ts";

type MailContext = Mails & Pick<Context, "log">;

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
