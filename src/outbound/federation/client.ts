import { checkServerIdentity, createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { Agent, type Dispatcher } from "undici";
import type { Clock } from "../../lib/clock.ts";
import { readText } from "../read-text.ts";
import { signals } from "../../lib/signals.ts";
import { isJsonObject, type Json, type JsonObject, JsonText } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import type { Logger } from "../../lib/log.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { type SigningKey, signText } from "../../protocol/event/sign.ts";
import { BlockedAddress, IpFilter } from "../ip-filter.ts";
import { ServerDiscovery, type Target } from "./discovery.ts";

export interface FederationClientOptions {
  readonly serverName: string;
  readonly signingKey: SigningKey;
  readonly userAgent: string;
  readonly blockedRanges: readonly string[];
  readonly allowedRanges: readonly string[];
  readonly verifyCertificates: boolean;
  /** Globs of server names whose certificates are not checked. */
  readonly verificationWhitelist: readonly string[];
  /** PEM texts in place of the system's authorities. */
  readonly customCa: readonly string[] | undefined;
  readonly minimumTlsVersion: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
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
  /** False while the server is left in peace. */
  mayTry(destination: string): Promise<boolean>;
  succeeded(destination: string): void;
  failed(destination: string): void;
}

export interface FederationRequestOptions {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly destination: string;
  /** Path with its parameters encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** A `JsonText` must be in canonical form. */
  readonly content?: JsonObject | JsonText;
  /** Largest answer in bytes; default 100 MiB (state of a large room). */
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
  /** More tries with longer pauses: for what runs in the background. */
  readonly longRetries?: boolean;
  /** Also to a server that is left in peace. */
  readonly ignoreBackoff?: boolean;
  /** Every error answer counts as a sign that the server is down: for what each Matrix server answers with success. */
  readonly everyErrorCounts?: boolean;
  /** Runs each try, and so decides when it may start (limits of what goes on at once). Pauses between tries are outside. */
  readonly inTurn?: <T>(attempt: () => Promise<T>) => Promise<T>;
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
/** Values in one answer: events have fewer in as many bytes. */
const MAX_VALUES = 8_000_000;
const WELL_KNOWN_BYTES = 50 * 1024;
const WELL_KNOWN_TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 5;

/** Signed requests to other servers (server-server API, "Request Authentication"). */
export class FederationClient {
  readonly discovery: ServerDiscovery;
  private readonly filter: IpFilter;
  private readonly agents = new Map<string, Agent>();
  private knownAuthorities: SecureContext | undefined;
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
  async request(request: FederationRequestOptions): Promise<Json> {
    return await this.withAnswer(request, async (answer) => {
      const text = await readText(answer.body, request.maxBytes ?? MAX_ANSWER, (reason) => new Error(reason));
      try {
        return parseJson(text, { maxValues: MAX_VALUES });
      } catch (error) {
        throw new DestinationUnavailable(request.destination, "the answer is not JSON, or no reasonable one", error);
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
    const { destination } = request;
    const { domainWhitelist } = this.options;
    if (domainWhitelist !== undefined && !domainWhitelist.includes(destination)) throw new DestinationDenied(destination);
    if (destination === this.options.serverName) throw new DestinationUnavailable(destination, "it is this server");
    if (!request.ignoreBackoff && !(await this.backoff.mayTry(destination))) throw new DestinationUnavailable(destination, "it did not answer lately");
    const tries = 1 + (request.longRetries ? this.options.maxLongRetries : this.options.maxShortRetries);
    const longest = request.longRetries ? this.options.maxLongRetryDelayMs : this.options.maxShortRetryDelayMs;
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await (request.inTurn === undefined ? this.once(request, read) : request.inTurn(() => this.once(request, read)));
        this.backoff.succeeded(destination);
        return result;
      } catch (error) {
        if (error instanceof RemoteError && !isTransient(error)) {
          if (request.everyErrorCounts) this.backoff.failed(destination);
          else this.backoff.succeeded(destination);
          throw error;
        }
        if (attempt >= tries || request.signal?.aborted || !isRepeatable(request, error)) {
          const counts = !(error instanceof RemoteError) || error.status >= 500 || error.status === 401 || request.everyErrorCounts === true;
          // Who stops the request says nothing about the server.
          if (counts && !request.signal?.aborted) this.backoff.failed(destination);
          if (error instanceof RemoteError || error instanceof DestinationUnavailable) throw error;
          throw new DestinationUnavailable(destination, reasonOf(error), error);
        }
        this.log.debug(`Request to ${destination} failed, attempt ${attempt}`, { error });
        await this.clock.sleep(Math.min(longest, 250 * 4 ** (attempt - 1)), request.signal);
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
        throw await remoteError(new URL(target).host, answer);
      }
      await answer.body.dump();
      target = new URL(location, target).toString();
    }
    throw new DestinationUnavailable(url.slice(0, 200), "the address leads nowhere");
  }

  async close(): Promise<void> {
    await Promise.all([this.plainAgent, this.fileAgent, ...this.agents.values()].map((agent) => agent.destroy()));
  }

  /** undefined for addresses that are not permitted, and URLs of other kinds. */
  private async getPlain(agent: Agent, url: string, signal: AbortSignal): Promise<Dispatcher.ResponseData | undefined> {
    if (!URL.canParse(url)) return undefined;
    const parsed = new URL(url);
    if (parsed.protocol !== "https:" && parsed.protocol !== "http:") return undefined;
    const host = parsed.hostname.replace(/^\[|\]$/g, "");
    if (isAddress(host) && !this.filter.permits(host)) return undefined;
    return await this.ask(agent, {
      origin: parsed.origin,
      path: parsed.pathname + parsed.search,
      method: "GET",
      headers: { "user-agent": this.options.userAgent },
      signal,
    });
  }

  private async once<T>(request: FederationRequestOptions, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    const { destination } = request;
    const targets = await this.discovery.resolve(destination);
    if (targets.length === 0) throw new DestinationUnavailable(destination, "it is not a server name");
    let failure: unknown;
    for (const target of targets) {
      try {
        return await this.send(request, target, read);
      } catch (error) {
        if (error instanceof RemoteError || error instanceof DestinationUnavailable) throw error;
        failure = error; // the next address may do better
      }
    }
    throw failure;
  }

  private async send<T>(request: FederationRequestOptions, target: Target, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    if (isAddress(target.host) && !this.filter.permits(target.host)) throw new BlockedAddress(target.host);
    const uri = request.path + queryString(request.query);
    // The body is the text that is signed: it is made once, and nothing can read it in two ways.
    const content = request.content instanceof JsonText ? request.content.text : request.content === undefined ? undefined : canonicalJson(request.content);
    const timeout = AbortSignal.timeout(request.timeoutMs ?? this.options.timeoutMs);
    const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]);
    const host = target.host.includes(":") ? `[${target.host}]` : target.host;
    const answer = await this.ask(this.agentFor(request.destination, target), {
      origin: `https://${host}:${target.port}`,
      path: uri,
      method: request.method,
      headers: {
        host: target.hostHeader,
        "user-agent": this.options.userAgent,
        authorization: authorizationHeader(this.options, request, uri, content),
        ...(content === undefined ? {} : { "content-type": "application/json" }),
      },
      body: content ?? null,
      signal,
      headersTimeout: request.timeoutMs ?? this.options.timeoutMs,
      bodyTimeout: request.timeoutMs ?? this.options.timeoutMs,
    });
    if (answer.statusCode >= 200 && answer.statusCode < 300) return await read(answer);
    throw await remoteError(request.destination, answer);
  }

  private async ask(agent: Agent, options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    // The well-known files and files elsewhere are asked of web servers.
    const to = agent === this.plainAgent || agent === this.fileAgent ? "service" : "server";
    signals.requestSent.emit({ to, method: options.method });
    const answer = await agent.request(options);
    signals.requestAnswered.emit({ to, method: options.method, code: answer.statusCode });
    // A body that is given up halfway says so by an event; unheard, it would end the process. Readers see the error all the same.
    answer.body.on("error", () => {});
    return answer;
  }

  /** Connections are kept by server and by the name its certificate must have. */
  private agentFor(destination: string, target: Target): Agent {
    const verify = this.options.verifyCertificates && !this.options.verificationWhitelist.some((glob) => matchesGlob(glob, destination));
    const key = `${target.certificateName} ${verify}`;
    let agent = this.agents.get(key);
    if (agent === undefined) {
      const { certificateName } = target;
      agent = new Agent({
        connections: 6,
        keepAliveTimeout: 30_000,
        connect: {
          timeout: 10_000,
          lookup: this.filter.lookup as never,
          secureContext: this.authorities,
          rejectUnauthorized: verify,
          ...(isAddress(certificateName) ? {} : { servername: certificateName }),
          checkServerIdentity: (_host: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
            verify ? checkServerIdentity(certificateName, certificate) : undefined,
        },
      });
      this.agents.set(key, agent);
    }
    return agent;
  }

  /** Made once: to read some hundred certificates takes many times as long as to make a connection. */
  private get authorities(): SecureContext {
    return (this.knownAuthorities ??= createSecureContext({
      minVersion: this.options.minimumTlsVersion,
      ca: this.options.customCa === undefined ? [...rootCertificates] : [...this.options.customCa],
    }));
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

/** The X-Matrix header of a request: who asks, whom, signed with the method, the URI and the content (canonical JSON). */
export function authorizationHeader(
  own: { serverName: string; signingKey: SigningKey },
  request: Pick<FederationRequestOptions, "method" | "destination">,
  uri: string,
  content: string | undefined,
): string {
  // "content" comes first among the keys.
  const rest = canonicalJson({ method: request.method, uri, origin: own.serverName, destination: request.destination }).slice(1);
  const signature = signText(content === undefined ? `{${rest}` : `{"content":${content},${rest}`, own.signingKey);
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

async function remoteError(destination: string, answer: Dispatcher.ResponseData): Promise<RemoteError> {
  let json: unknown;
  try {
    json = JSON.parse(await readText(answer.body, 256 * 1024, (reason) => new Error(reason)));
  } catch {
    json = undefined;
  }
  const body = isJsonObject(json) ? json : {};
  const errcode = typeof body.errcode === "string" ? body.errcode : "M_UNKNOWN";
  return new RemoteError(destination, answer.statusCode, errcode, typeof body.error === "string" ? body.error : "", body);
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

const isAddress = (host: string): boolean => host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);

/** `*` and `?` in server names; linear. */
function matchesGlob(glob: string, text: string): boolean {
  const pattern = glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", "[^]*")
    .replaceAll("?", "[^]");
  return new RegExp(`^${pattern}$`, "i").test(text);
}
