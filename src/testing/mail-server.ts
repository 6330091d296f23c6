import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { testCertificates } from "./certificates.ts";

/** A mail as it arrived. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** By lower-case name, unfolded, decoded. */
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
  readonly html: string;
  /** Where the connection was encrypted and who logged in. */
  readonly secure: boolean;
  readonly user: string | undefined;
  /** As it came over the wire. */
  readonly source: string;
}

export interface MailServerOptions {
  /** TLS from the first byte. */
  readonly secure?: boolean;
  /** Offer STARTTLS. */
  readonly startTls?: boolean;
  /** Who may log in; undefined: the server knows no users. */
  readonly login?: { readonly user: string; readonly pass: string };
}

/** A real SMTP server on the loopback address that keeps what it gets. */
export class MailServer {
  readonly mails: ReceivedMail[] = [];
  /** Makes the server refuse mails. */
  refuse = false;
  private constructor(
    private readonly server: SMTPServer,
    readonly port: number,
  ) {}

  static async start(options: MailServerOptions = {}): Promise<MailServer> {
    const { certificate, privateKey } = testCertificates();
    const { login } = options;
    let mailServer: MailServer | undefined;
    const disabled = [...(options.startTls ? [] : ["STARTTLS"]), ...(login === undefined ? ["AUTH"] : [])];
    const server = new SMTPServer({
      secure: options.secure ?? false,
      cert: certificate,
      key: privateKey,
      disabledCommands: disabled,
      authOptional: login === undefined,
      allowInsecureAuth: true,
      onAuth(auth, _session, done) {
        if (login !== undefined && auth.username === login.user && auth.password === login.pass) done(null, { user: auth.username! });
        else done(new Error("Wrong user or password"));
      },
      onData(stream, session, done) {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          if (mailServer!.refuse) return done(new Error("No mails today"));
          const { mailFrom, rcptTo } = session.envelope;
          const envelope = {
            from: mailFrom === false ? "" : mailFrom.address,
            to: rcptTo.map(({ address }) => address),
            secure: session.secure,
            user: typeof session.user === "string" ? session.user : undefined,
          };
          mailServer!.mails.push({ ...envelope, ...parseMail(Buffer.concat(chunks).toString("latin1")) });
          done();
        });
      },
    });
    server.on("error", () => {}); // clients that hang up
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (mailServer = new MailServer(server, (server.server.address() as AddressInfo).port));
  }

  /** The mail that came last. */
  get last(): ReceivedMail {
    const mail = this.mails.at(-1);
    if (mail === undefined) throw new Error("No mail has come");
    return mail;
  }

  /** Path and query of the link in the mail that came last. */
  lastLink(): string {
    const link = /^https:\/\/test(\/\S+)$/m.exec(this.last.text)?.[1];
    if (link === undefined) throw new Error(`No link in ${this.last.text}`);
    return link;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

function parseMail(source: string): Pick<ReceivedMail, "headers" | "html" | "source" | "text"> {
  const { headers, body } = splitPart(source);
  const boundary = /boundary="?([^";]+)"?/.exec(headers.get("content-type") ?? "")?.[1];
  const parts =
    boundary === undefined
      ? [{ headers, body }]
      : body
          .split(`--${boundary}`)
          .slice(1, -1)
          .map((part) => splitPart(part.replace(/^\r\n/, "")));
  const content = (type: string): string => {
    const part = parts.find((candidate) => candidate.headers.get("content-type")?.startsWith(type));
    return part === undefined ? "" : decodeBody(part.body, part.headers.get("content-transfer-encoding"));
  };
  return { headers, source, text: content("text/plain"), html: content("text/html") };
}

function splitPart(source: string): { headers: Map<string, string>; body: string } {
  const end = source.indexOf("\r\n\r\n");
  const lines = source
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n");
  const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), decodeHeader(line.slice(line.indexOf(":") + 1).trim())]));
  return { headers, body: source.slice(end + 4) };
}

function decodeHeader(value: string): string {
  return value.replace(/\?=\s+=\?/g, "?==?").replace(/=\?utf-8\?([BQ])\?([^?]*)\?=/gi, (_match, kind: string, text: string) => {
    if (kind.toUpperCase() === "B") return Buffer.from(text, "base64").toString("utf8");
    return decodeQuotedPrintable(text.replaceAll("_", " "));
  });
}

function decodeBody(body: string, encoding: string | undefined): string {
  const text =
    encoding === "base64"
      ? Buffer.from(body, "base64").toString("utf8")
      : encoding === "quoted-printable"
        ? decodeQuotedPrintable(body.replace(/=\r\n/g, ""))
        : Buffer.from(body, "latin1").toString("utf8");
  return text.replaceAll("\r\n", "\n");
}

function decodeQuotedPrintable(text: string): string {
  return Buffer.from(
    text.replace(/=([0-9A-F]{2})/gi, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  ).toString("utf8");
}
