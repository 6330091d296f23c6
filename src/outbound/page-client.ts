import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { Agent, type Dispatcher, ProxyAgent } from "undici";
import { signals } from "../lib/signals.ts";
import { type HttpProxies, matchesHost } from "./http-client.ts";
import { BlockedAddress, type IpFilter } from "./ip-filter.ts";

export interface PageClientOptions {
  readonly userAgent: string;
  readonly acceptLanguage: readonly string[];
  readonly filter: IpFilter;
  /** Through a proxy, names are resolved there: the filter sees addresses that are written out only (as Synapse). */
  readonly proxy: HttpProxies | undefined;
  /** PEM texts of authorities that are trusted beside the usual ones. */
  readonly trusted?: readonly string[] | undefined;
  /** How long a page may take, from the request to its last byte. */
  readonly timeoutMs?: number;
}

/** A page or file as it comes; the body is decompressed, and must be read or destroyed. */
export interface Page {
  readonly status: number;
  /** Where it was found, after redirects. */
  readonly url: string;
  readonly body: Readable;
  /** The first value of a header. */
  header(name: string): string | undefined;
}

/** Why there is no page: `blocked` an address written out that is out of reach, `unresolved` a name without permitted addresses, `address` no http address, `failed` anything else. */
export class PageUnavailable extends Error {
  constructor(
    readonly reason: "blocked" | "unresolved" | "address" | "timeout" | "failed",
    message: string,
    cause?: unknown,
  ) {
    super(message, { cause });
    this.name = "PageUnavailable";
  }
}

const MAX_REDIRECTS = 20;
const HEADERS_TIMEOUT_MS = 60_000;
/** For a body to come in whole. */
const BODY_TIMEOUT_MS = 30_000;

/** Fetches pages that users name, following redirects as browsers do; addresses are checked at each hop. */
export class PageClient {
  private readonly direct: Agent;
  private readonly proxies = new Map<string, ProxyAgent>();

  constructor(private readonly options: PageClientOptions) {
    this.direct = new Agent({
      connect: {
        timeout: 10_000,
        lookup: options.filter.lookup as never,
        ...(options.trusted === undefined ? {} : { ca: [...rootCertificates, ...options.trusted] }),
      },
    });
  }

  /** @param mayFetch asked for each address, those of redirects too; what it throws is thrown. @throws PageUnavailable */
  async get(url: string, mayFetch: (url: string) => void): Promise<Page> {
    let target = url;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      mayFetch(target);
      const answer = await this.request(target);
      const location = answer.headers.location;
      if (answer.statusCode < 300 || answer.statusCode > 399 || typeof location !== "string") return pageOf(target, answer);
      answer.body.on("error", () => {}).destroy();
      if (!URL.canParse(location, target)) throw new PageUnavailable("failed", "the page leads nowhere");
      target = new URL(location, target).toString();
    }
    throw new PageUnavailable("failed", "too many redirects");
  }

  async close(): Promise<void> {
    await Promise.all([this.direct, ...this.proxies.values()].map((agent) => agent.destroy()));
  }

  private async request(target: string): Promise<Dispatcher.ResponseData> {
    const url = URL.canParse(target) ? new URL(target) : undefined;
    if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) throw new PageUnavailable("address", "it is no http address");
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) !== 0 && !this.options.filter.permits(host)) throw new PageUnavailable("blocked", "IP address blocked");
    const { acceptLanguage, userAgent } = this.options;
    signals.requestSent.emit({ to: "service", method: "GET" });
    try {
      const answer = await this.agentFor(url, host).request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: "GET",
        headers: { "user-agent": userAgent, "accept-language": [...acceptLanguage], "accept-encoding": "gzip, deflate, br" },
        signal: AbortSignal.timeout(this.options.timeoutMs ?? HEADERS_TIMEOUT_MS + BODY_TIMEOUT_MS),
        headersTimeout: HEADERS_TIMEOUT_MS,
        bodyTimeout: BODY_TIMEOUT_MS,
      });
      signals.requestAnswered.emit({ to: "service", method: "GET", code: answer.statusCode });
      return answer;
    } catch (error) {
      throw unavailable(error);
    }
  }

  private agentFor(url: URL, host: string): Dispatcher {
    const { proxy } = this.options;
    const address = url.protocol === "https:" ? proxy?.https : proxy?.http;
    if (!address || proxy!.noProxyHosts.some((entry) => matchesHost(entry, host))) return this.direct;
    let agent = this.proxies.get(address);
    if (agent === undefined) this.proxies.set(address, (agent = new ProxyAgent(address.includes("://") ? address : `http://${address}`)));
    return agent;
  }
}

function pageOf(url: string, answer: Dispatcher.ResponseData): Page {
  const header = (name: string): string | undefined => {
    const value = answer.headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const body = decompressed(answer.body, header("content-encoding"));
  // Readers see errors all the same; an event that nobody hears, of a page given up halfway, would end the process.
  body.on("error", () => {});
  return { status: answer.statusCode, url, body, header };
}

/** Sizes are measured after decompression, so that a small answer cannot become a large file. */
function decompressed(body: Readable, encoding: string | undefined): Readable {
  const kind = encoding?.trim().toLowerCase();
  const decoder =
    kind === "gzip" || kind === "x-gzip" ? createGunzip() : kind === "deflate" ? createInflate() : kind === "br" ? createBrotliDecompress() : undefined;
  if (decoder === undefined) return body;
  body.on("error", (error) => decoder.destroy(error));
  decoder.on("close", () => body.destroy());
  return body.pipe(decoder);
}

function unavailable(error: unknown): PageUnavailable {
  const { code, name } = error as { code?: unknown; name?: string };
  if (error instanceof BlockedAddress || code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "ENODATA")
    return new PageUnavailable("unresolved", "the name cannot be resolved", error);
  if (name === "TimeoutError" || code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_CONNECT_TIMEOUT")
    return new PageUnavailable("timeout", "no answer in time", error);
  return new PageUnavailable("failed", typeof code === "string" ? code : (name ?? "no answer"), error);
}
