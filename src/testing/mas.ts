import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { JsonObject } from "../lib/json.ts";

/**
 * A Matrix Authentication Service on the loopback address, as far as a homeserver talks to it: introspection of the tokens that the test
 * puts in, with the secret for a token of its own, and the discovery document.
 */
export class TestMas {
  static readonly SECRET = "shared-mas-secret";
  /** What is said of a token; others are inactive. */
  readonly tokens = new Map<string, JsonObject>();
  readonly requests: { readonly path: string; readonly token: string | null; readonly headers: IncomingMessage["headers"] }[] = [];
  /** Answers with this status and text instead. */
  failWith: { status: number; body: string } | undefined;

  private constructor(
    private readonly http: Server,
    readonly url: string,
  ) {}

  static async start(): Promise<TestMas> {
    let mas: TestMas | undefined;
    const http = createServer((req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => chunks.push(chunk));
      req.on("end", () => {
        const token = new URLSearchParams(Buffer.concat(chunks).toString("utf8")).get("token");
        const path = `${req.method} ${req.url}`;
        mas!.requests.push({ path, token, headers: req.headers });
        const { status, body } = mas!.failWith ?? mas!.answer(path, token, req.headers);
        res.writeHead(status, { "Content-Type": "application/json" });
        res.end(body);
      });
    });
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    return (mas = new TestMas(http, `http://127.0.0.1:${(http.address() as AddressInfo).port}`));
  }

  /** The options of a server that delegates to it. */
  get config(): Record<string, unknown> {
    return {
      matrix_authentication_service: { enabled: true, endpoint: this.url, secret: TestMas.SECRET },
      enable_registration: false,
      password_config: { enabled: false },
    };
  }

  /** A session of a user: a token with the usual scope, and more. */
  grant(token: string, username: string, deviceId?: string, more: JsonObject = {}): void {
    const device = deviceId === undefined ? "" : ` urn:matrix:client:device:${deviceId}`;
    this.tokens.set(token, {
      active: true,
      scope: `openid urn:matrix:client:api:*${device}`,
      username,
      sub: `01${username}`,
      token_type: "access_token",
      ...more,
    });
  }

  async close(): Promise<void> {
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  private answer(path: string, token: string | null, headers: IncomingMessage["headers"]): { status: number; body: string } {
    const json = (status: number, body: object) => ({ status, body: JSON.stringify(body) });
    if (path === "POST /oauth2/introspect") {
      if (headers.authorization !== `Bearer ${TestMas.SECRET}`) return json(401, { error: "invalid_client" });
      return json(200, this.tokens.get(token ?? "") ?? { active: false });
    }
    if (path === "GET /.well-known/openid-configuration") {
      return json(200, {
        issuer: `${this.url}/`,
        authorization_endpoint: `${this.url}/authorize`,
        token_endpoint: `${this.url}/oauth2/token`,
        account_management_uri: `${this.url}/account/`,
        account_management_actions_supported: ["org.matrix.profile", "org.matrix.cross_signing_reset"],
      });
    }
    return json(404, {});
  }
}
