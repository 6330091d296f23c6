import http from "node:http";
import type { AddressInfo } from "node:net";

/** What stands in front of a homeserver: its address is known before the homeserver has one. */
export class ReverseProxy {
  /** "http://127.0.0.1:12345" */
  target: string | undefined;

  private constructor(
    private readonly server: http.Server,
    /** "http://localhost:12345/" */
    readonly url: string,
  ) {}

  static async open(): Promise<ReverseProxy> {
    let opened: ReverseProxy | undefined;
    const server = http.createServer((req, res) => opened?.pass(req, res));
    await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
    return (opened = new ReverseProxy(server, `http://localhost:${(server.address() as AddressInfo).port}/`));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private pass(req: http.IncomingMessage, res: http.ServerResponse): void {
    const { hostname, port } = new URL(this.target!);
    const headers = { ...req.headers, "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http" };
    const onward = http.request({ hostname, port, method: req.method, path: req.url, headers, agent: false }, (answer) => {
      res.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(res);
    });
    onward.on("error", () => res.destroy());
    req.pipe(onward);
  }
}
