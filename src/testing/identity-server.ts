import { createHash } from "node:crypto";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { signingKeyFromSeed, signJson } from "../protocol/event/sign.ts";
import { testCertificates } from "./certificates.ts";

export interface IdentityRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly body: JsonObject;
}

/**
 * An identity server that speaks v2 (and of v1 what verifies phone numbers), over TLS on the loopback address. It knows the bindings and
 * codes that the test puts in.
 */
export class TestIdentityServer {
  static readonly TOKEN = "identity-token";
  readonly requests: IdentityRequest[] = [];
  /** `medium address` -> user id. */
  readonly bindings = new Map<string, string>();
  /** sid -> what it has verified. */
  readonly sessions = new Map<string, { medium: string; address: string; clientSecret: string; code: string; validatedAt: number | undefined }>();
  algorithms: string[] = ["sha256", "none"];
  keyValid = true;
  /** Invites that it keeps until somebody owns the address, as `/store-invite` told them, with their tokens. */
  readonly invites: (JsonObject & { token: string })[] = [];
  /** Answers with this status instead. */
  failWith: { status: number; body: object | string } | undefined;
  private readonly key = signingKeyFromSeed("identity", new Uint8Array(32).fill(99));
  private readonly pepper = "matrixrocks";

  private constructor(
    private readonly https: Server,
    /** `localhost:<port>` */
    readonly name: string,
  ) {}

  get publicKey(): string {
    return this.key.base64;
  }

  static async start(): Promise<TestIdentityServer> {
    const { certificate, privateKey } = testCertificates();
    let identity: TestIdentityServer | undefined;
    const https = createServer({ cert: certificate, key: privateKey }, (req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => chunks.push(chunk));
      req.on("end", () => {
        const url = new URL(req.url ?? "/", "https://localhost");
        const text = Buffer.concat(chunks).toString("utf8");
        const json: unknown = text === "" ? {} : JSON.parse(text);
        const request = {
          method: req.method ?? "GET",
          path: url.pathname,
          query: url.searchParams,
          authorization: req.headers.authorization,
          body: isJsonObject(json) ? json : {},
        };
        identity!.requests.push(request);
        const { status, body } = identity!.failWith ?? identity!.answer(request);
        res.writeHead(status, { "Content-Type": "application/json" });
        res.end(typeof body === "string" ? body : JSON.stringify(body));
      });
    });
    // As real ones: no connection is closed under a request that is on its way.
    https.keepAliveTimeout = 600_000;
    await new Promise<void>((resolve) => https.listen(0, "127.0.0.1", resolve));
    return (identity = new TestIdentityServer(https, `localhost:${(https.address() as AddressInfo).port}`));
  }

  /** What it signs when a stored invite is redeemed. */
  signInvite(token: string, userId: string, sender: string): JsonObject {
    return signJson({ mxid: userId, token, sender }, this.name, this.key);
  }

  /** The body with which it tells the homeserver of a user about the invites for the address that the user has bound (`/3pid/onbind`). */
  noticeOf(medium: string, address: string): JsonObject {
    const mxid = this.bindings.get(`${medium} ${address}`);
    if (mxid === undefined) throw new Error(`Nobody has bound ${address}`);
    const invites = this.invites
      .filter((invite) => invite.medium === medium && invite.address === address)
      .map(({ token, sender, room_id }) => ({ medium, address, mxid, room_id, sender, signed: this.signInvite(token, mxid, String(sender)) }));
    return { medium, address, mxid, invites } as JsonObject;
  }

  async close(): Promise<void> {
    this.https.closeAllConnections();
    await new Promise((resolve) => this.https.close(resolve));
  }

  private answer({ method, path, query, authorization, body }: IdentityRequest): { status: number; body: object } {
    const error = (status: number, errcode: string) => ({ status, body: { errcode, error: `It is ${errcode}` } });
    const text = (name: string): string => String(body[name]);
    // Synapse says it in the address where it asks for the details of hashes.
    const withToken = authorization === `Bearer ${TestIdentityServer.TOKEN}` || query.get("access_token") === TestIdentityServer.TOKEN;
    switch (`${method} ${path}`) {
      case "GET /_matrix/identity/v2/hash_details":
        return withToken ? { status: 200, body: { algorithms: this.algorithms, lookup_pepper: this.pepper } } : error(401, "M_UNAUTHORIZED");
      case "POST /_matrix/identity/v2/lookup": {
        if (!withToken) return error(401, "M_UNAUTHORIZED");
        const [asked] = body.addresses as string[];
        const found = [...this.bindings].filter(([key]) => this.lookupValue(key, text("algorithm")) === asked);
        return { status: 200, body: { mappings: Object.fromEntries(found.map(([, userId]) => [asked, userId])) } };
      }
      case "POST /_matrix/identity/v2/3pid/bind": {
        if (!withToken) return error(401, "M_UNAUTHORIZED");
        const session = this.sessions.get(text("sid"));
        if (session === undefined || session.clientSecret !== body.client_secret) return error(404, "M_NO_VALID_SESSION");
        this.bindings.set(`${session.medium} ${session.address}`, text("mxid"));
        return { status: 200, body: { medium: session.medium, address: session.address, mxid: body.mxid, not_before: 1, not_after: 2, ts: 1, signatures: {} } };
      }
      case "POST /_matrix/identity/v2/3pid/unbind": {
        if (!authorization?.startsWith("X-Matrix ")) return error(403, "M_FORBIDDEN");
        const { medium, address } = body.threepid as { medium: string; address: string };
        this.bindings.delete(`${medium} ${address}`);
        return { status: 200, body: {} };
      }
      case "POST /_matrix/identity/v2/store-invite": {
        if (!withToken) return error(401, "M_UNAUTHORIZED");
        const token = this.invites.length === 0 ? "invite-token" : `invite-token-${this.invites.length + 1}`;
        this.invites.push({ ...body, token });
        return {
          status: 200,
          body: {
            token,
            display_name: "f...@e...",
            public_keys: [{ public_key: this.publicKey, key_validity_url: `https://${this.name}/_matrix/identity/v2/pubkey/isvalid` }],
          },
        };
      }
      case "GET /_matrix/identity/v2/pubkey/isvalid":
        return { status: 200, body: { valid: this.keyValid && query.get("public_key") === this.publicKey } };
      case "POST /_matrix/identity/api/v1/validate/msisdn/requestToken": {
        const sid = `sid${this.sessions.size + 1}`;
        const address = text("phone_number").replace(/\D/g, "").replace(/^0/, "44");
        this.sessions.set(sid, { medium: "msisdn", address, clientSecret: text("client_secret"), code: "123456", validatedAt: undefined });
        return { status: 200, body: { success: true, sid, msisdn: address, intl_fmt: `+${address}` } };
      }
      case "POST /_matrix/identity/api/v1/validate/msisdn/submitToken": {
        const session = this.sessions.get(text("sid"));
        if (session === undefined || session.code !== body.token || session.clientSecret !== body.client_secret) return error(400, "M_INVALID_PARAM");
        session.validatedAt = 1_700_000_000_000;
        return { status: 200, body: { success: true } };
      }
      case "GET /_matrix/identity/api/v1/3pid/getValidated3pid": {
        const session = this.sessions.get(query.get("sid") ?? "");
        if (session?.validatedAt === undefined || session.clientSecret !== query.get("client_secret")) return error(400, "M_SESSION_NOT_VALIDATED");
        return { status: 200, body: { medium: session.medium, address: session.address, validated_at: session.validatedAt } };
      }
      default:
        return error(404, "M_UNRECOGNIZED");
    }
  }

  private lookupValue(key: string, algorithm: string): string {
    const [medium, address] = key.split(" ") as [string, string];
    return algorithm === "none" ? `${address} ${medium}` : createHash("sha256").update(`${address} ${medium} ${this.pepper}`).digest("base64url");
  }
}
