import { createHmac } from "node:crypto";
import { Agent, request } from "undici";

/** Any JSON; these scripts know what the server answers. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Json;
  raw: Buffer;
}

export interface RequestOptions {
  query?: Record<string, string | number | boolean | readonly string[] | undefined>;
  /** JSON to send; a Buffer or string is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
  timeoutMs?: number;
  /** Keep numbers that JavaScript would change: see `parseExactly`. */
  exact?: boolean;
}

/** A request that the server answered with an error. */
export class MatrixFailure extends Error {
  readonly status: number;
  readonly errcode: string | undefined;
  constructor(
    readonly method: string,
    readonly path: string,
    answer: Answer,
  ) {
    super(`${method} ${path}: ${answer.status} ${answer.raw.toString("utf8").slice(0, 500)}`);
    this.status = answer.status;
    this.errcode = answer.body?.errcode;
  }
}

export interface Exchange {
  method: string;
  path: string;
  request: unknown;
  status: number;
  response: Json;
}

const agent = new Agent({ connections: 512, pipelining: 1, keepAliveTimeout: 2000, keepAliveMaxTimeout: 2000, headersTimeout: 120_000, bodyTimeout: 120_000 });

/** A user's login as scripts keep it; plain data, so that it outlives the server that gave it. */
export interface Session {
  userId: string;
  deviceId: string;
  accessToken: string;
  refreshToken?: string;
}

/**
 * A tiny Matrix client: one method for any request, and short names for what the scripts do often. Methods throw
 * `MatrixFailure` on an error answer; `request` does not.
 */
export class MatrixClient {
  /** Called with each finished exchange. */
  onExchange: ((exchange: Exchange) => void) | undefined;
  userId = "";
  deviceId = "";
  private txn = 0;

  constructor(
    readonly baseUrl: string,
    public accessToken?: string,
  ) {}

  static of(baseUrl: string, session: Session): MatrixClient {
    const client = new MatrixClient(baseUrl, session.accessToken);
    client.userId = session.userId;
    client.deviceId = session.deviceId;
    return client;
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const url = new URL(this.baseUrl + path);
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value === undefined) continue;
      for (const each of Array.isArray(value) ? value : [value]) url.searchParams.append(key, String(each));
    }
    const headers: Record<string, string> = { ...options.headers };
    if (this.accessToken !== undefined) headers["authorization"] = `Bearer ${this.accessToken}`;
    let body: Buffer | string | undefined;
    if (options.body !== undefined) {
      const plain = typeof options.body === "string" || Buffer.isBuffer(options.body);
      body = plain ? (options.body as Buffer | string) : JSON.stringify(options.body);
      headers["content-type"] ??= "application/json";
    }
    const timeout = options.timeoutMs ?? 120_000;
    const response = await request(url, { method: method as "GET", headers, body, dispatcher: agent, headersTimeout: timeout, bodyTimeout: timeout });
    const raw = Buffer.from(await response.body.arrayBuffer());
    const json = raw.length > 0 && String(response.headers["content-type"] ?? "").startsWith("application/json");
    const parsed: Json = json ? (options.exact ? parseExactly(raw.toString("utf8")) : JSON.parse(raw.toString("utf8"))) : undefined;
    const answer = { status: response.statusCode, headers: response.headers, body: parsed, raw };
    this.onExchange?.({ method, path: url.pathname, request: options.body, status: answer.status, response: parsed });
    return answer;
  }

  /** The body of a successful answer. */
  async call(method: string, path: string, options: RequestOptions = {}): Promise<Json> {
    const answer = await this.request(method, path, options);
    if (answer.status >= 300) throw new MatrixFailure(method, path, answer);
    return answer.body ?? answer.raw;
  }

  get(path: string, query?: RequestOptions["query"]): Promise<Json> {
    return this.call("GET", path, { query });
  }
  post(path: string, body: unknown = {}, query?: RequestOptions["query"]): Promise<Json> {
    return this.call("POST", path, { body, query });
  }
  put(path: string, body: unknown = {}, query?: RequestOptions["query"]): Promise<Json> {
    return this.call("PUT", path, { body, query });
  }
  delete(path: string, body?: unknown): Promise<Json> {
    return this.call("DELETE", path, { body });
  }

  session(): Session {
    return { userId: this.userId, deviceId: this.deviceId, accessToken: this.accessToken! };
  }

  private adopt(body: Json): Json {
    this.accessToken = body.access_token;
    this.userId = body.user_id;
    this.deviceId = body.device_id;
    return body;
  }

  /** Registers an account by the dummy stage and logs in as it. */
  async register(username: string, password: string, more: Record<string, unknown> = {}): Promise<Json> {
    return this.adopt(
      await this.post(`${C}/register`, {
        username,
        password,
        device_id: `${username.toUpperCase()}1`,
        initial_device_display_name: `${username} one`,
        auth: { type: "m.login.dummy" },
        ...more,
      }),
    );
  }

  /** Registers by the shared secret, as `register_new_matrix_user` does. */
  async registerAdmin(secret: string, username: string, password: string, admin = true): Promise<Json> {
    const { nonce } = await this.get("/_synapse/admin/v1/register");
    const mac = createHmac("sha1", secret)
      .update([nonce, username, password, admin ? "admin" : "notadmin"].join("\0"))
      .digest("hex");
    return this.adopt(await this.post("/_synapse/admin/v1/register", { nonce, username, password, admin, mac }));
  }

  async login(username: string, password: string, more: Record<string, unknown> = {}): Promise<Json> {
    return this.adopt(await this.post(`${C}/login`, { type: "m.login.password", identifier: { type: "m.id.user", user: username }, password, ...more }));
  }

  /** Repeats a request with the password stage, where the first answer asks for one. */
  async withPassword(method: string, path: string, body: Record<string, unknown>, password: string): Promise<Json> {
    const first = await this.request(method, path, { body });
    if (first.status === 401 && first.body?.session !== undefined) {
      return this.call(method, path, {
        body: { ...body, auth: { type: "m.login.password", session: first.body.session, identifier: { type: "m.id.user", user: this.userId }, password } },
      });
    }
    if (first.status >= 300) throw new MatrixFailure(method, path, first);
    return first.body;
  }

  async createRoom(options: Record<string, unknown> = {}): Promise<string> {
    return (await this.post(`${C}/createRoom`, options)).room_id;
  }
  join(room: string): Promise<Json> {
    return this.post(`${C}/join/${enc(room)}`);
  }
  leave(room: string, body: unknown = {}): Promise<Json> {
    return this.post(`${C}/rooms/${enc(room)}/leave`, body);
  }
  invite(room: string, userId: string, reason?: string): Promise<Json> {
    return this.post(`${C}/rooms/${enc(room)}/invite`, { user_id: userId, reason });
  }
  kick(room: string, userId: string, reason?: string): Promise<Json> {
    return this.post(`${C}/rooms/${enc(room)}/kick`, { user_id: userId, reason });
  }
  ban(room: string, userId: string, reason?: string): Promise<Json> {
    return this.post(`${C}/rooms/${enc(room)}/ban`, { user_id: userId, reason });
  }
  /** Sends an event; a JSON text is sent as it stands. Returns the event id. */
  async send(room: string, type: string, content: unknown, txnId?: string): Promise<string> {
    return (await this.put(`${C}/rooms/${enc(room)}/send/${enc(type)}/${enc(txnId ?? `t${++this.txn}`)}`, content)).event_id;
  }
  text(room: string, body: string, more: Record<string, unknown> = {}): Promise<string> {
    return this.send(room, "m.room.message", { msgtype: "m.text", body, ...more });
  }
  async state(room: string, type: string, content: unknown, stateKey = ""): Promise<string> {
    return (await this.put(`${C}/rooms/${enc(room)}/state/${enc(type)}/${enc(stateKey)}`, content)).event_id;
  }
  async redact(room: string, eventId: string, reason?: string): Promise<string> {
    return (await this.put(`${C}/rooms/${enc(room)}/redact/${enc(eventId)}/t${++this.txn}`, { reason })).event_id;
  }
  sync(query: RequestOptions["query"] = {}, timeoutMs?: number): Promise<Json> {
    return this.call("GET", `${C}/sync`, { query: { set_presence: "offline", ...query }, timeoutMs });
  }
}

export const C = "/_matrix/client/v3";
export const V1 = "/_matrix/client/v1";
export const U = "/_matrix/client/unstable";
export const A = "/_synapse/admin";

export function enc(text: string): string {
  return encodeURIComponent(text);
}

/**
 * JSON as it was written: a number that JavaScript would not write back the same way (`1.0`, `1e3`, integers over 2^53)
 * becomes the string "number:<text>", so that comparing two answers compares the texts.
 */
export function parseExactly(text: string): Json {
  return JSON.parse(
    text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
      token[0] === '"' || String(Number(token)) === token ? token : `"number:${token}"`,
    ),
  );
}
