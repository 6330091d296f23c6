import { rootCertificates } from "node:tls";
import type { Transporter } from "nodemailer";
import type * as Nodemailer from "nodemailer";
import { lazyModule } from "../lib/lazy-module.ts";
import { percentFormat } from "../lib/percent-format.ts";

const nodemailer = lazyModule<typeof Nodemailer>("nodemailer");

/** How mails leave the server. */
export interface MailOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** TLS from the first byte. */
  readonly forceTls: boolean;
  /** STARTTLS must succeed. */
  readonly requireTls: boolean;
  /** STARTTLS is used where it is offered; its certificate must be good then. */
  readonly enableTls: boolean;
  /** The name that the certificate must have; undefined: the host. */
  readonly tlsName: string | undefined;
  /** The sender, which may hold %(app)s. */
  readonly from: string;
  readonly appName: string;
  /** PEM texts of authorities that are trusted beside the usual ones. */
  readonly trusted?: readonly string[] | undefined;
}

export interface OutgoingMail {
  /** One address, without a name. */
  readonly to: string;
  readonly subject: string;
  readonly html: string;
  readonly text: string;
  /** Stands for %(app)s in the sender; undefined: the configured one. */
  readonly appName?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const TIMEOUT_MS = 30_000;

/** Nobody answers these mails automatically (RFC 3834; the second one is Exchange's). */
const QUIET_HEADERS = { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" } as const;

/** Whether a text can be the recipient of a mail and nothing beside: one address, no list, no header. */
export function isMailAddress(address: string): boolean {
  return /^[^\s\p{Cc}@<>,;]+@[^\s\p{Cc}@<>,;]+$/u.test(address);
}

/** Sends mails through the configured SMTP server, a connection each. */
export class Mailer {
  private transport: Transporter | undefined;

  constructor(private readonly options: MailOptions) {}

  /** Hands a mail to the SMTP server. Line breaks in headers become spaces. @throws Error when the server does not take it */
  async send(mail: OutgoingMail): Promise<void> {
    if (!isMailAddress(mail.to)) throw new Error("The recipient is no mail address");
    const headers = Object.fromEntries(Object.entries({ ...QUIET_HEADERS, ...mail.headers }).map(([name, value]) => [name, oneLine(value)]));
    this.transport ??= this.open();
    await this.transport.sendMail({
      from: oneLine(percentFormat(this.options.from, { app: mail.appName ?? this.options.appName })),
      to: { name: "", address: mail.to },
      subject: oneLine(mail.subject),
      text: mail.text,
      html: mail.html,
      headers,
    });
  }

  close(): void {
    this.transport?.close();
  }

  private open(): Transporter {
    const { options } = this;
    const tls = {
      ...(options.tlsName === undefined ? {} : { servername: options.tlsName }),
      ...(options.trusted === undefined ? {} : { ca: [...rootCertificates, ...options.trusted] }),
    };
    return nodemailer().createTransport({
      host: options.host,
      port: options.port,
      secure: options.forceTls,
      requireTLS: options.requireTls,
      ignoreTLS: !options.enableTls,
      // A user is configured: a server that does not ask for one is the wrong one.
      ...(options.user === undefined ? {} : { auth: { user: options.user, pass: options.password ?? "" }, forceAuth: true }),
      tls,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
  }
}

const oneLine = (text: string): string => text.replace(/[\r\n\0]+/g, " ");
