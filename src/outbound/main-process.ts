import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import { pipeline } from "node:stream/promises";
import { RELAY_SECRET_HEADER } from "../lib/relay-header.ts";

/** Headers of one connection (RFC 9110 section 7.6.1). */
const HOP_BY_HOP = new Set(["connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", RELAY_SECRET_HEADER]);

/** Where it listens: a port, or a Unix socket. */
export type ProcessLocation =
  | { readonly host: string; readonly port: number; readonly tls: boolean; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined; readonly tls?: undefined };

/** The main process, as the processes that pass requests on to it see it. */
export class MainProcess {
  private readonly agent: http.Agent;

  constructor(
    private readonly location: ProcessLocation,
    private readonly secret: string | undefined,
  ) {
    const options = { keepAlive: true, maxFreeSockets: 64 };
    this.agent = location.tls ? new https.Agent(options) : new http.Agent(options);
  }

  /**
   * Passes a request on, and the answer back, as they come.
   * @throws Error when the main process does not answer; false in `res.headersSent` tells that nothing was answered yet
   */
  async forward(req: IncomingMessage, res: ServerResponse, client: { readonly address: string; readonly tls: boolean }): Promise<void> {
    const { location } = this;
    const headers: http.OutgoingHttpHeaders = { "x-forwarded-proto": client.tls ? "https" : "http" };
    for (const [name, value] of Object.entries(req.headers)) if (!HOP_BY_HOP.has(name)) headers[name] = value;
    headers["x-forwarded-for"] = client.address;
    if (this.secret !== undefined) headers[RELAY_SECRET_HEADER] = this.secret;
    const place = location.path === undefined ? { host: location.host, port: location.port } : { socketPath: location.path };
    const onward = (location.tls ? https : http).request({ ...place, agent: this.agent, method: req.method, path: req.url, headers });
    const gone = (): void => void onward.destroy();
    res.on("close", gone);
    try {
      const answered = new Promise<IncomingMessage>((resolve, reject) => onward.once("response", resolve).once("error", reject));
      // An answer may come before the whole request was read: a refusal of its body.
      const sent = pipeline(req, onward).catch(() => {});
      const answer = await answered;
      res.writeHead(answer.statusCode ?? 502, Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name))));
      await pipeline(answer, res);
      await sent;
    } finally {
      res.off("close", gone);
    }
  }

  close(): void {
    this.agent.destroy();
  }
}
