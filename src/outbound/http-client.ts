import { isIP } from "node:net";
import { rootCertificates } from "node:tls";
import { Agent, type Dispatcher, H2CClient, Pool, ProxyAgent } from "undici";
import { readText } from "./read-text.ts";
import { signals } from "../lib/signals.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { BlockedAddress, type IpFilter } from "./ip-filter.ts";

export interface HttpClientOptions {
  readonly userAgent: string;
  /** Which addresses may be connected to; undefined: all, for addresses that the admin configured. */
  readonly filter?: IpFilter | undefined;
  /** A forward proxy for `https:` and `http:` requests, but for these hosts; never together with a filter, which would not see the address. */
  readonly proxy?: HttpProxies | undefined;
  /** The proxy is used although there is a filter: then it decides which names lead where; addresses in the URL are checked all the same. */
  readonly proxyDespiteFilter?: boolean;
  readonly timeoutMs?: number;
  /** Speak HTTP/2 where it can be agreed on, and in any case without TLS. */
  readonly http2?: boolean;
  /** PEM texts of authorities that are trusted beside the usual ones. */
  readonly trusted?: readonly string[] | undefined;
}

export interface HttpProxies {
  readonly http: string | undefined;
  readonly https: string | undefined;
  readonly noProxyHosts: readonly string[];
}

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT";
  readonly url: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: JsonObject;
  /** Sent as a form. */
  readonly form?: Readonly<Record<string, string>>;
  /** Sent as it is. */
  readonly text?: { readonly body: string; readonly contentType: string };
  /** Largest answer in bytes; default 1 MiB. */
  readonly maxBytes?: number;
}

/** The answer was no success. */
export class HttpError extends Error {
  readonly errcode: string;
  readonly remoteMessage: string;
  constructor(
    readonly status: number,
    /** The body, where it is an object. */
    readonly body: JsonObject,
  ) {
    super(`The server answered ${status}`);
    this.name = "HttpError";
    this.errcode = typeof body.errcode === "string" ? body.errcode : "M_UNKNOWN";
    this.remoteMessage = typeof body.error === "string" ? body.error : "";
  }
}

/** There was no answer: no connection, an address that is not permitted, no end in time, too long, no JSON. */
export class HttpUnavailable extends Error {
  constructor(reason: string, cause?: unknown) {
    super(`The server cannot be asked: ${reason}`, { cause });
    this.name = "HttpUnavailable";
  }
}

const TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

/** Plain requests to web services: identity servers, captcha and SMS providers. Redirects are not followed. */
export class HttpClient {
  private readonly direct: Agent;
  private readonly proxies = new Map<string, ProxyAgent>();

  constructor(private readonly options: HttpClientOptions) {
    const { http2 = false } = options;
    this.direct = new Agent({
      allowH2: http2,
      ...(http2 ? { factory: (origin: string | URL, pool: Pool.Options) => (isPlain(origin) ? new H2CClient(origin) : new Pool(origin, pool)) } : {}),
      connect: {
        timeout: CONNECT_TIMEOUT_MS,
        ...(options.filter === undefined ? {} : { lookup: options.filter.lookup as never }),
        ...(options.trusted === undefined ? {} : { ca: [...rootCertificates, ...options.trusted] }),
      },
    });
  }

  /** The JSON object of a successful answer (`{}` for an empty one). @throws HttpError, HttpUnavailable */
  async object(request: HttpRequest): Promise<JsonObject> {
    const text = await this.text(request);
    let json: unknown;
    try {
      json = text === "" ? {} : JSON.parse(text);
    } catch (error) {
      throw new HttpUnavailable("the answer is not JSON", error);
    }
    if (!isJsonObject(json)) throw new HttpUnavailable("the answer is not an object");
    return json;
  }

  /** The text of a successful answer. @throws HttpError, HttpUnavailable */
  async text(request: HttpRequest): Promise<string> {
    try {
      return await this.send(request);
    } catch (error) {
      if (error instanceof HttpError || error instanceof HttpUnavailable) throw error;
      throw new HttpUnavailable(reasonOf(error), error);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.direct, ...this.proxies.values()].map((agent) => agent.destroy()));
  }

  private async send(request: HttpRequest): Promise<string> {
    const url = new URL(request.url);
    if (url.protocol !== "https:" && url.protocol !== "http:") throw new HttpUnavailable("it is no http address");
    for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.append(name, value);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const { filter } = this.options;
    if (filter !== undefined && isIP(host) !== 0 && !filter.permits(host)) throw new BlockedAddress(host);
    const body = bodyOf(request);
    const timeoutMs = this.options.timeoutMs ?? TIMEOUT_MS;
    signals.requestSent.emit({ to: "service", method: request.method });
    const answer = await this.agentFor(url, host).request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: request.method,
      headers: { "user-agent": this.options.userAgent, ...(body === undefined ? {} : { "content-type": body.contentType }), ...request.headers },
      body: body?.body ?? null,
      signal: AbortSignal.timeout(timeoutMs),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    signals.requestAnswered.emit({ to: "service", method: request.method, code: answer.statusCode });
    answer.body.on("error", () => {}); // said by readText; an event that nobody hears would end the process
    const text = await readText(answer.body, request.maxBytes ?? MAX_BYTES, (reason) => new HttpUnavailable(reason));
    if (answer.statusCode >= 200 && answer.statusCode < 300) return text;
    throw new HttpError(answer.statusCode, objectOf(text));
  }

  private agentFor(url: URL, host: string): Dispatcher {
    const { proxy, filter, proxyDespiteFilter } = this.options;
    const address = url.protocol === "https:" ? proxy?.https : proxy?.http;
    if ((filter !== undefined && proxyDespiteFilter !== true) || !address || proxy!.noProxyHosts.some((entry) => matchesHost(entry, host))) return this.direct;
    let agent = this.proxies.get(address);
    if (agent === undefined) this.proxies.set(address, (agent = new ProxyAgent(address.includes("://") ? address : `http://${address}`)));
    return agent;
  }
}

const isPlain = (origin: string | URL): boolean => new URL(origin).protocol === "http:";

function bodyOf({ json, form, text }: HttpRequest): { body: string; contentType: string } | undefined {
  if (json !== undefined) return { body: JSON.stringify(json), contentType: "application/json" };
  if (form !== undefined) return { body: new URLSearchParams(form).toString(), contentType: "application/x-www-form-urlencoded" };
  return text;
}

function objectOf(text: string): JsonObject {
  try {
    const json: unknown = JSON.parse(text);
    return isJsonObject(json) ? json : {};
  } catch {
    return {};
  }
}

/** `example.org` stands for itself and what is below it, `*` for all. */
export function matchesHost(entry: string, host: string): boolean {
  const name = entry.replace(/^\*?\./, "").toLowerCase();
  return entry === "*" || (name !== "" && (host.toLowerCase() === name || host.toLowerCase().endsWith(`.${name}`)));
}

function reasonOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: string };
  return error instanceof BlockedAddress ? error.message : typeof code === "string" ? code : (name ?? "no answer");
}
