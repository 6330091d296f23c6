import type { MailServer } from "../../src/testing/mail-server.ts";

/** The `email` section of a server that sends its mails there. */
export const emailSection = (mails: MailServer) => ({
  smtp_host: "127.0.0.1",
  smtp_port: mails.port,
  enable_tls: false,
  notif_from: "The %(app)s server <noreply@compat.test>",
  app_name: "Compat",
});
