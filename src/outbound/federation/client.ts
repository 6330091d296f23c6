import { rootCertificates } from "node:tls";
import { Agent, type Dispatcher } from "undici";
import type { Clock } from "../../lib/clock.ts";
import { readText } from "../read-text.ts";
import { signals } from "../../lib/signals.ts";
import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import type { Logger } from "../../lib/log.ts";
import type { Turns } from "../../lib/turns.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { signBytes, type SigningKey } from "../../protocol/event/sign.ts";
import { BlockedAddress, IpFilter } from "../ip-filter.ts";
import { type ConnectionOptions, isAddress, ServerConnections } from "./connections.ts";
import { ServerDiscovery, type Target } from "./discovery.ts";
import { exchange } from "./exchange.ts";

export interface FederationClientOptions extends ConnectionOptions {
  readonly serverName: string;
  readonly signingKey: SigningKey;
  readonly userAgent: string;
  readonly blockedRanges: readonly string[];
  readonly allowedRanges: readonly string[];
  /** undefined: all servers may be talked to. */
  readonly domainWhitelist: readonly string[] | undefined;
  readonly timeoutMs: number;
  readonly maxLongRetries: number;
  readonly maxShortRetries: number;
  readonly maxLongRetryDelayMs: number;
  readonly maxShortRetryDelayMs: number;
}

/** Remembers which servers do not answer (`destinations`); kept by the caller, who has the database. */
export interface Backoff {
  /** False while the server is left in peace. Told at once where it is known. */
  mayTry(destination: string): boolean | Promise<boolean>;
  succeeded(destination: string): void;
  failed(destination: string): void;
}

export interface FederationRequestOptions {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly destination: string;
  /** Path with its parameters encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Bytes must be JSON in canonical form. */
  readonly content?: JsonObject | Buffer;
  /** Largest answer in bytes; default 100 MiB (state of a large room). */
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
  /** More tries with longer pauses: for what runs in the background. */
  readonly longRetries?: boolean;
  /** Also to a server that is left in peace. */
  readonly ignoreBackoff?: boolean;
  /** Every error answer counts as a sign that the server is down: for what each Matrix server answers with success. */
  readonly everyErrorCounts?: boolean;
  /** Each try waits for its turn (limits of what goes on at once). Pauses between tries are outside. */
  readonly turns?: Turns;
  readonly signal?: AbortSignal;
}

/** The other server answered with an error. `errcode` and `error` are its words: never show them to a client as they are. */
export class RemoteError extends Error {
  constructor(
    readonly destination: string,
    readonly status: number,
    readonly errcode: string,
    readonly remoteMessage: string,
    readonly body: JsonObject,
  ) {
    super(`${destination} answered ${status} ${errcode}`);
    this.name = "RemoteError";
  }
}

/** The server does not know the endpoint: an older version may do (as Synapse tells it from other errors). */
export function isUnknownEndpoint(error: unknown): boolean {
  if (!(error instanceof RemoteError)) return false;
  const { status, errcode, body } = error;
  return (status === 404 && Object.keys(body).length === 0) || ([400, 404, 405].includes(status) && errcode === "M_UNRECOGNIZED");
}

/** The other server could not be asked: no connection, no answer in time, nonsense, or it is left in peace. */
export class DestinationUnavailable extends Error {
  constructor(
    readonly destination: string,
    reason: string,
    cause?: unknown,
  ) {
    super(`${destination} cannot be asked: ${reason}`, { cause });
    this.name = "DestinationUnavailable";
  }
}

/** The configuration forbids talking to that server. */
export class DestinationDenied extends Error {
  constructor(readonly destination: string) {
    super(`Federation denied with ${destination}.`);
    this.name = "DestinationDenied";
  }
}

const MAX_ANSWER = 100 * 1024 * 1024;
const MAX_ERROR = 256 * 1024;
/** Values in one answer: events have fewer in as many bytes. */
const MAX_VALUES = 8_000_000;
const WELL_KNOWN_BYTES = 50 * 1024;
const WELL_KNOWN_TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 5;

/** Signed requests to other servers (server-server API, "Request Authentication"). */
export class FederationClient {
  readonly discovery: ServerDiscovery;
  private readonly filter: IpFilter;
  private readonly connections: ServerConnections;
  /** For well-known files. */
  private readonly plainAgent: Agent;
  /** For files at URLs that other servers name. */
  private readonly fileAgent: Agent;

  constructor(
    private readonly options: FederationClientOptions,
    private readonly clock: Clock,
    private readonly log: Logger,
    private readonly backoff: Backoff,
  ) {
    this.filter = new IpFilter(options.blockedRanges, options.allowedRanges);
    this.connections = new ServerConnections(options, this.filter);
    this.plainAgent = new Agent({
      connect: { lookup: this.filter.lookup as never, timeout: 10_000 },
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
      maxResponseSize: WELL_KNOWN_BYTES,
    });
    const ca = options.customCa === undefined ? {} : { ca: [...rootCertificates, ...options.customCa] };
    this.fileAgent = new Agent({ connect: { lookup: this.filter.lookup as never, timeout: 10_000, ...ca }, headersTimeout: 60_000, bodyTimeout: 60_000 });
    this.discovery = new ServerDiscovery(
      (url) => this.fetchWellKnown(url),
      () => clock.now(),
    );
  }

  /**
   * The JSON answer of a request.
   * @throws RemoteError for error answers, DestinationUnavailable, DestinationDenied
   */
  request(request: FederationRequestOptions): Promise<Json> {
    const { destination, method, signal, maxBytes = MAX_ANSWER, timeoutMs = this.options.timeoutMs } = request;
    const bounds = { maxBytes, maxErrorBytes: MAX_ERROR, timeoutMs, signal };
    return this.tried(request, async (target) => {
      signals.requestSent.emit({ to: "server", method });
      const { status, body } = await exchange(this.connections.to(destination, target), this.signed(request, target), bounds, (code) =>
        signals.requestAnswered.emit({ to: "server", method, code }),
      );
      if (status >= 300) throw remoteError(destination, status, body);
      try {
        return parseJson(body!.toString("utf8"), { maxValues: MAX_VALUES });
      } catch (error) {
        throw new DestinationUnavailable(destination, "the answer is not JSON, or no reasonable one", error);
      }
    });
  }

  /** As `request`, for answers that must be an object. */
  async requestObject(request: FederationRequestOptions): Promise<JsonObject> {
    const json = await this.request(request);
    if (!isJsonObject(json)) throw new DestinationUnavailable(request.destination, "the answer is not an object");
    return json;
  }

  /** As `request`, giving the raw answer (media). `read` must consume or destroy the body. */
  async withAnswer<T>(request: FederationRequestOptions, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    const { destination, timeoutMs = this.options.timeoutMs } = request;
    return await this.tried(request, async (target) => {
      const timeout = AbortSignal.timeout(timeoutMs);
      const answer = await ask(this.connections.to(destination, target), "server", {
        ...this.signed(request, target),
        signal: request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]),
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      if (answer.statusCode >= 200 && answer.statusCode < 300) return await read(answer);
      throw await errorAnswer(destination, answer);
    });
  }

  /** Has `attempt` make the request at each address of the server until it is answered, and again where that makes sense. */
  private async tried<T>(request: FederationRequestOptions, attempt: (target: Target) => Promise<T>): Promise<T> {
    const { destination } = request;
    const { domainWhitelist } = this.options;
    if (domainWhitelist !== undefined && !domainWhitelist.includes(destination)) throw new DestinationDenied(destination);
    if (destination === this.options.serverName) throw new DestinationUnavailable(destination, "it is this server");
    const mayTry = request.ignoreBackoff || this.backoff.mayTry(destination);
    if (!(typeof mayTry === "boolean" ? mayTry : await mayTry)) throw new DestinationUnavailable(destination, "it did not answer lately");
    const tries = 1 + (request.longRetries ? this.options.maxLongRetries : this.options.maxShortRetries);
    const longest = request.longRetries ? this.options.maxLongRetryDelayMs : this.options.maxShortRetryDelayMs;
    for (let count = 1; ; count++) {
      try {
        const result = await this.once(request, attempt);
        this.backoff.succeeded(destination);
        return result;
      } catch (error) {
        if (error instanceof RemoteError && !isTransient(error)) {
          if (request.everyErrorCounts) this.backoff.failed(destination);
          else this.backoff.succeeded(destination);
          throw error;
        }
        if (count >= tries || request.signal?.aborted || !isRepeatable(request, error)) {
          const counts = !(error instanceof RemoteError) || error.status >= 500 || error.status === 401 || request.everyErrorCounts === true;
          // Who stops the request says nothing about the server.
          if (counts && !request.signal?.aborted) this.backoff.failed(destination);
          if (error instanceof RemoteError || error instanceof DestinationUnavailable) throw error;
          throw new DestinationUnavailable(destination, reasonOf(error), error);
        }
        this.log.debug(`Request to ${destination} failed, attempt ${count}`, { error });
        await this.clock.sleep(Math.min(longest, 250 * 4 ** (count - 1)), request.signal);
      }
    }
  }

  /** Keys are fetched without signing: the answer is signed. */
  async fetchServerKeys(destination: string): Promise<JsonObject> {
    return await this.requestObject({
      method: "GET",
      destination,
      path: "/_matrix/key/v2/server",
      timeoutMs: 10_000,
      maxBytes: 1024 * 1024,
      ignoreBackoff: true,
    });
  }

  /**
   * A file at a URL that another server named (its storage, a CDN): unsigned, from permitted addresses only, over few redirects. `read` must
   * consume or destroy the body.
   * @throws RemoteError for error answers, DestinationUnavailable
   */
  async fetchUrl<T>(url: string, timeoutMs: number, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (let target = url, redirects = 0; redirects < MAX_REDIRECTS; redirects++) {
      const answer = await this.getPlain(this.fileAgent, target, signal);
      if (answer === undefined) break;
      const location = redirectOf(answer);
      if (location === undefined) {
        if (answer.statusCode >= 200 && answer.statusCode < 300) return await read(answer);
        throw await errorAnswer(new URL(target).host, answer);
      }
      await answer.body.dump();
      target = new URL(location, target).toString();
    }
    throw new DestinationUnavailable(url.slice(0, 200), "the address leads nowhere");
  }

  async close(): Promise<void> {
    await Promise.all([this.plainAgent.destroy(), this.fileAgent.destroy(), this.connections.close()]);
  }

  /** undefined for addresses that are not permitted, and URLs of other kinds. */
  private async getPlain(agent: Agent, url: string, signal: AbortSignal): Promise<Dispatcher.ResponseData | undefined> {
    if (!URL.canParse(url)) return undefined;
    const parsed = new URL(url);
    if (parsed.protocol !== "https:" && parsed.protocol !== "http:") return undefined;
    const host = parsed.hostname.replace(/^\[|\]$/g, "");
    if (isAddress(host) && !this.filter.permits(host)) return undefined;
    return await ask(agent, "service", {
      origin: parsed.origin,
      path: parsed.pathname + parsed.search,
      method: "GET",
      headers: { "user-agent": this.options.userAgent },
      signal,
    });
  }

  private async once<T>({ destination, turns }: FederationRequestOptions, attempt: (target: Target) => Promise<T>): Promise<T> {
    if (turns !== undefined && !turns.enter()) await turns.wait();
    try {
      const found = this.discovery.resolve(destination);
      const targets = found instanceof Promise ? await found : found;
      if (targets.length === 0) throw new DestinationUnavailable(destination, "it is not a server name");
      let failure: unknown;
      for (const target of targets) {
        try {
          if (isAddress(target.host) && !this.filter.permits(target.host)) throw new BlockedAddress(target.host);
          return await attempt(target);
        } catch (error) {
          if (error instanceof RemoteError || error instanceof DestinationUnavailable) throw error;
          failure = error; // the next address may do better
        }
      }
      this.discovery.forget(destination);
      throw failure;
    } finally {
      turns?.leave();
    }
  }

  private signed(request: FederationRequestOptions, target: Target): Dispatcher.DispatchOptions {
    const uri = request.path + queryString(request.query);
    // The body is the text that is signed: it is made once, and nothing can read it in two ways.
    const content = request.content === undefined || Buffer.isBuffer(request.content) ? request.content : Buffer.from(canonicalJson(request.content), "utf8");
    const headers = [
      "host",
      target.hostHeader,
      "user-agent",
      this.options.userAgent,
      "authorization",
      authorizationHeader(this.options, request, uri, content),
    ];
    if (content !== undefined) headers.push("content-type", "application/json");
    return { path: uri, method: request.method, headers, body: content ?? null };
  }

  private async fetchWellKnown(
    url: string,
  ): Promise<{ status: number; body: string; cacheControl: string | undefined; expires: string | undefined } | undefined> {
    const signal = AbortSignal.timeout(WELL_KNOWN_TIMEOUT_MS);
    for (let target = url, redirects = 0; redirects < MAX_REDIRECTS; redirects++) {
      const answer = await this.getPlain(this.plainAgent, target, signal);
      if (answer === undefined) return undefined;
      const location = redirectOf(answer);
      if (location !== undefined) {
        await answer.body.dump();
        target = new URL(location, target).toString();
        continue;
      }
      const header = (name: string): string | undefined => {
        const value = answer.headers[name];
        return typeof value === "string" ? value : undefined;
      };
      return {
        status: answer.statusCode,
        body: await readText(answer.body, WELL_KNOWN_BYTES, (reason) => new Error(reason)),
        cacheControl: header("cache-control"),
        expires: header("expires"),
      };
    }
    return undefined;
  }
}

async function ask(dispatcher: Dispatcher, to: "server" | "service", options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
  signals.requestSent.emit({ to, method: options.method });
  const answer = await dispatcher.request(options);
  signals.requestAnswered.emit({ to, method: options.method, code: answer.statusCode });
  // A body that is given up halfway says so by an event; unheard, it would end the process. Readers see the error all the same.
  answer.body.on("error", () => {});
  return answer;
}

const CONTENT_KEY = Buffer.from('{"content":');

/** The X-Matrix header of a request: who asks, whom, signed with the method, the URI and the content (canonical JSON). */
export function authorizationHeader(
  own: { serverName: string; signingKey: SigningKey },
  request: Pick<FederationRequestOptions, "method" | "destination">,
  uri: string,
  content: Buffer | string | undefined,
): string {
  // In canonical form: the keys in order, and what they hold as JSON.stringify has it.
  const { destination, method } = request;
  const rest = `"destination":${JSON.stringify(destination)},"method":"${method}","origin":${JSON.stringify(own.serverName)},"uri":${JSON.stringify(uri)}}`;
  const signed =
    content === undefined
      ? Buffer.from(`{${rest}`)
      : Buffer.concat([CONTENT_KEY, Buffer.isBuffer(content) ? content : Buffer.from(content), Buffer.from(`,${rest}`)]);
  const signature = signBytes(signed, own.signingKey);
  return `X-Matrix origin="${own.serverName}",key="${own.signingKey.keyId}",sig="${signature}",destination="${request.destination}"`;
}

function redirectOf(answer: Dispatcher.ResponseData): string | undefined {
  const { location } = answer.headers;
  return answer.statusCode >= 300 && answer.statusCode < 400 && typeof location === "string" ? location : undefined;
}

function queryString(query: FederationRequestOptions["query"]): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const item of typeof value === "string" ? [value] : value) params.append(name, item);
  }
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}

async function errorAnswer(destination: string, answer: Dispatcher.ResponseData): Promise<RemoteError> {
  const text = await readText(answer.body, MAX_ERROR, (reason) => new Error(reason)).catch(() => undefined);
  return remoteError(destination, answer.statusCode, text);
}

function remoteError(destination: string, status: number, text: Buffer | string | undefined): RemoteError {
  let json: unknown;
  try {
    json = JSON.parse(String(text));
  } catch {
    json = undefined;
  }
  const body = isJsonObject(json) ? json : {};
  const errcode = typeof body.errcode === "string" ? body.errcode : "M_UNKNOWN";
  return new RemoteError(destination, status, errcode, typeof body.error === "string" ? body.error : "", body);
}

/** Answers that may be different a moment later. */
const isTransient = (error: RemoteError): boolean => error.status >= 500 || error.status === 429 || error.status === 401;

/** Another try makes sense: connections that broke, servers that stumbled. */
function isRepeatable(request: FederationRequestOptions, error: unknown): boolean {
  if (error instanceof DestinationUnavailable || error instanceof BlockedAddress || (error as { cause?: unknown }).cause instanceof BlockedAddress)
    return false;
  if (error instanceof RemoteError) return error.status === 429 || error.status === 502 || error.status === 503 || error.status === 504;
  return (error as { name?: string }).name !== "TimeoutError" || request.longRetries === true;
}

function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : error instanceof Error ? error.name : "no answer";
}
