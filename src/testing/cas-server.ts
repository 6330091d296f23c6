import { randomBytes } from "node:crypto";
import http from "node:http";
import type { AddressInfo } from "node:net";

/** A CAS server on the loopback address: whoever comes is `user`; tickets are good once, for the service that they were given for. */
export class CasServer {
  user = "alice";
  attributes: Readonly<Record<string, readonly string[]>> = {};
  /** What stands in the answer instead, where a test wants something else. */
  answer: ((ticket: string) => { status: number; body: string }) | undefined;
  /** Paths that were asked for. */
  readonly paths: string[] = [];
  private readonly tickets = new Map<string, { service: string; user: string }>();

  private constructor(
    private readonly server: http.Server,
    /** With a path, as many have it. */
    readonly url: string,
  ) {}

  static async open(): Promise<CasServer> {
    let opened: CasServer | undefined;
    const server = http.createServer((req, res) => opened?.handle(req, res));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (opened = new CasServer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}/cas`));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private handle(req: http.IncomingMessage, res: http.ServerResponse): void {
    const url = new URL(req.url!, this.url);
    this.paths.push(url.pathname);
    const service = url.searchParams.get("service") ?? "";
    if (url.pathname === "/cas/login") {
      const ticket = `ST-${randomBytes(8).toString("hex")}`;
      this.tickets.set(ticket, { service, user: this.user });
      const back = new URL(service);
      back.searchParams.append("ticket", ticket);
      res.writeHead(302, { location: back.toString() }).end();
      return;
    }
    const ticket = url.searchParams.get("ticket") ?? "";
    const given = this.tickets.get(ticket);
    this.tickets.delete(ticket);
    const answer = this.answer?.(ticket);
    if (answer !== undefined) res.writeHead(answer.status, { "content-type": "text/xml" }).end(answer.body);
    else if (given?.service === service) res.writeHead(200, { "content-type": "text/xml" }).end(this.success(given.user));
    else res.writeHead(200, { "content-type": "text/xml" }).end(wrapped('<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure>'));
  }

  private success(user: string): string {
    const attributes = Object.entries(this.attributes).flatMap(([name, values]) => values.map((value) => `<cas:${name}>${value}</cas:${name}>`));
    return wrapped(
      `<cas:authenticationSuccess><cas:user>${user}</cas:user><cas:attributes>${attributes.join("")}</cas:attributes></cas:authenticationSuccess>`,
    );
  }
}

const wrapped = (inner: string): string => `<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">${inner}</cas:serviceResponse>`;
